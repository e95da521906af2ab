package gpu_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

var noon = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)

// ticket is uid's wish for n devices, made so long before noon.
func ticket(id string, uid, n int, ago time.Duration) gpu.Ticket {
	return gpu.Ticket{ID: id, UID: uid, Login: fmt.Sprint("u", uid), Request: gpu.Request{Count: n}, JoinedAt: noon.Add(-ago)}
}

// everybody may have up to n devices.
func everybody(n int) map[int]gpu.Standing {
	all := map[int]gpu.Standing{}
	for uid := range 10 {
		all[uid] = gpu.Standing{Quota: quota(n, n, true), Priority: 10}
	}
	return all
}

// said writes places as "a:0,1.2 b:" with the slots each is granted.
func said(places []gpu.Place) string {
	words := make([]string, len(places))
	for i, p := range places {
		words[i] = p.Ticket.ID + ":" + strings.ReplaceAll(slots(p.Granted), " ", ",")
	}
	return strings.Join(words, " ")
}

func TestOrder(t *testing.T) {
	people := everybody(1)
	people[2] = gpu.Standing{Quota: quota(1, 1, true), Priority: 50}
	people[3] = gpu.Standing{Quota: quota(1, 1, true), Priority: 10, Hours: 3.5}
	people[4] = gpu.Standing{Quota: quota(1, 1, true), Priority: 10, Hours: 0.9}
	holds := gpu.Reservation{UID: 3, Login: "u3", Devices: []string{"0"}, From: noon, Until: noon.Add(time.Hour)}
	for name, c := range map[string]struct {
		waiting      []gpu.Ticket
		reservations []gpu.Reservation
		want         string
		reason       string // of the first
	}{
		"who joined first goes first": {
			[]gpu.Ticket{ticket("b", 1, 1, time.Minute), ticket("a", 5, 1, time.Hour)},
			nil,
			"a: b:", "priority 10, 0 GPU-hours used lately, since 2030-05-17T11:00:00Z",
		},
		"a higher priority goes before age": {
			[]gpu.Ticket{ticket("a", 1, 1, time.Hour), ticket("b", 2, 1, time.Minute)}, nil, "b: a:", "priority 50, 0 GPU-hours",
		},
		"who used less goes before age": {
			[]gpu.Ticket{ticket("a", 3, 1, time.Hour), ticket("b", 1, 1, time.Minute)}, nil, "b: a:", "0 GPU-hours",
		},
		"less than an hour's difference counts for nothing": {
			[]gpu.Ticket{ticket("a", 4, 1, time.Hour), ticket("b", 1, 1, time.Minute)}, nil, "a: b:", "",
		},
		"who has waited a day goes before priority": {
			[]gpu.Ticket{ticket("a", 3, 1, gpu.Patience), ticket("b", 2, 1, time.Minute)}, nil, "a: b:", "has waited for 1d, since 2030-05-16",
		},
		"a reservation that holds goes before everything": {
			[]gpu.Ticket{ticket("a", 1, 1, gpu.Patience), ticket("b", 3, 1, 0)}, []gpu.Reservation{holds}, "b: a:", "has a reservation until 2030-05-17T13",
		},
		"one that begins later doesn't": {
			[]gpu.Ticket{ticket("a", 1, 1, time.Hour), ticket("b", 3, 1, 0)},
			[]gpu.Reservation{{UID: 3, Devices: []string{"0"}, From: noon.Add(1), Until: noon.Add(time.Hour)}},
			"a: b:", "",
		},
		"nor does one of what the host hasn't got": {
			[]gpu.Ticket{ticket("a", 1, 1, time.Hour), ticket("b", 3, 1, 0)},
			[]gpu.Reservation{{UID: 3, Devices: []string{"7"}, From: noon, Until: noon.Add(time.Hour)}},
			"a: b:", "",
		},
		"of equals the id decides": {
			[]gpu.Ticket{ticket("b", 1, 1, 0), ticket("a", 1, 1, 0)}, nil, "a: b:", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := gpu.Order(gpu.Queue{Pool: gpu.Pool{Devices: whole(1)}, Waiting: c.waiting, People: people, Reservations: c.reservations}, noon)
			if said(got) != c.want || !strings.Contains(got[0].Reason, c.reason) {
				t.Errorf("got %s, the first for: %s", said(got), got[0].Reason)
			}
		})
	}
}

func TestPass(t *testing.T) {
	all := ticket("a", 1, 0, time.Hour)
	all.Request = gpu.Request{All: true}
	exact := ticket("a", 1, 1, time.Hour)
	exact.Exact = []string{whole(2)[1].UUID}
	soon := map[string]time.Time{"x": noon.Add(2 * time.Hour)}
	mixed := gpu.Devices([]gpu.Card{card(0), card(1, "1g.10gb", "1g.10gb")})
	for name, c := range map[string]struct {
		devices []gpu.Device
		held    []string // slots of bob's, who is nobody here
		waiting []gpu.Ticket
		change  func(q *gpu.Queue)
		want    string
		limited string // who waits for their own limit
	}{
		"in turn, as long as there are devices": {
			whole(2), nil, []gpu.Ticket{ticket("a", 1, 1, 3), ticket("b", 2, 1, 2), ticket("c", 3, 1, 1)}, nil, "a:0 b:1 c:", "",
		},
		"who waits for two keeps the free one back": {
			whole(2), []string{"1"}, []gpu.Ticket{ticket("a", 1, 2, 2), ticket("b", 2, 1, 1)}, nil, "a: b:", "",
		},
		"what the one ahead can't use goes to the next": {
			mixed,
			[]string{"1.0", "1.1"},
			[]gpu.Ticket{ticket("a", 1, 1, 2), ticket("b", 2, 1, 1)},
			func(q *gpu.Queue) { q.People[1] = gpu.Standing{Quota: quota(2, 2, false)} }, "b:0 a:", "",
		},
		"who is at a limit keeps nobody up": {
			whole(2), nil, []gpu.Ticket{ticket("a", 1, 3, 2), ticket("b", 2, 1, 1)}, nil, "a: b:0", "a",
		},
		"who is done in time goes first": {
			whole(2),
			[]string{"1"},
			[]gpu.Ticket{ticket("a", 1, 2, 2), ticket("b", 2, 1, 1)},
			func(q *gpu.Queue) {
				q.Ends, q.People[2] = soon, gpu.Standing{Quota: quota(2, 2, true), Priority: 10, Runtime: 2 * time.Hour}
			}, "a: b:0", "",
		},
		"who declares to be done in time goes first": {
			whole(2),
			[]string{"1"},
			[]gpu.Ticket{ticket("a", 1, 2, 2), declared(ticket("b", 2, 1, 1), 2*time.Hour+1), declared(ticket("c", 3, 1, 0), 2*time.Hour)},
			func(q *gpu.Queue) { q.Ends = soon }, "a: b: c:0", "",
		},
		"and who declares more than they may have has what they may": {
			whole(2),
			[]string{"1"},
			[]gpu.Ticket{ticket("a", 1, 2, 2), declared(ticket("b", 2, 1, 1), 20*time.Hour)},
			func(q *gpu.Queue) {
				q.Ends, q.People[2] = soon, gpu.Standing{Quota: quota(2, 2, true), Priority: 10, Runtime: 2 * time.Hour}
			}, "a: b:0", "",
		},
		"who may not be done in time doesn't": {
			whole(2),
			[]string{"1"},
			[]gpu.Ticket{ticket("a", 1, 2, 2), ticket("b", 2, 1, 1)},
			func(q *gpu.Queue) {
				q.Ends, q.People[2] = soon, gpu.Standing{Quota: quota(2, 2, true), Priority: 10, Runtime: 2*time.Hour + 1}
			}, "a: b:", "",
		},
		"nor who is done after what the one before got is back": {
			whole(3),
			[]string{"2"},
			[]gpu.Ticket{ticket("a", 1, 1, 3), ticket("b", 2, 2, 2), ticket("c", 3, 1, 1)},
			func(q *gpu.Queue) {
				q.Ends = soon
				q.People[1] = gpu.Standing{Quota: quota(2, 2, true), Priority: 10, Runtime: time.Hour}
				q.People[3] = gpu.Standing{Quota: quota(2, 2, true), Priority: 10, Runtime: 2 * time.Hour}
			}, "a:0 b: c:", "",
		},
		"nor does anybody while nobody knows when the one ahead begins": {
			whole(2),
			[]string{"1"},
			[]gpu.Ticket{ticket("a", 1, 2, 2), ticket("b", 2, 1, 1)},
			func(q *gpu.Queue) {
				q.People[2] = gpu.Standing{Quota: quota(2, 2, true), Priority: 10, Runtime: time.Minute}
			}, "a: b:", "",
		},
		"all isn't shrunk": {
			whole(2), []string{"1"}, []gpu.Ticket{all, ticket("b", 2, 1, 1)}, nil, "a: b:", "",
		},
		"all of what is free is all": {
			whole(2), nil, []gpu.Ticket{all, ticket("b", 2, 1, 1)}, nil, "a:0,1 b:", "",
		},
		"who wants one device keeps only that back": {
			whole(2), []string{"1"}, []gpu.Ticket{exact, ticket("b", 2, 1, 1)}, nil, "a: b:0", "",
		},
		"two tickets of one person come to their limit": {
			whole(4), nil, []gpu.Ticket{ticket("a", 1, 2, 3), ticket("b", 1, 1, 2), ticket("c", 2, 1, 1)}, nil, "a:0,1 b: c:2", "b",
		},
		"what is reserved for another isn't given": {
			whole(2), nil, []gpu.Ticket{ticket("a", 1, 1, 1)}, func(q *gpu.Queue) {
				q.Reservations = []gpu.Reservation{{UID: 5, Devices: []string{"0"}, From: noon.Add(-1), Until: noon.Add(1)}}
			}, "a:1", "",
		},
		"who has a reservation gets what it is for": {
			whole(2), nil, []gpu.Ticket{ticket("a", 1, 1, 1)}, func(q *gpu.Queue) {
				q.Reservations = []gpu.Reservation{{UID: 1, Devices: []string{"1"}, From: noon.Add(-1), Until: noon.Add(time.Hour)}}
			}, "a:1", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := gpu.Queue{Pool: gpu.Pool{Devices: c.devices}, Waiting: c.waiting, People: everybody(2)}
			if c.held != nil {
				h := hold(c.devices, 9, gpu.Running, c.held...)
				h.ID = "x"
				q.Pool.Claims = []gpu.Claim{h}
			}
			if c.change != nil {
				c.change(&q)
			}
			got := gpu.Pass(q, noon)
			if said(got) != c.want {
				t.Errorf("got  %s\nwant %s", said(got), c.want)
			}
			for _, p := range got {
				if p.Limited != (p.Ticket.ID == c.limited) || (p.Why == "") != (p.Granted != nil) || p.Reason == "" {
					t.Errorf("got %+v", p)
				}
			}
		})
	}
}

func declared(t gpu.Ticket, lasts time.Duration) gpu.Ticket {
	t.Lasts = lasts
	return t
}

func TestHowLongSomethingLasts(t *testing.T) {
	const hour = time.Hour
	for _, c := range []struct{ runtime, extension, declared, within, usually time.Duration }{
		{0, 0, 0, 0, 0},
		{0, 0, hour, hour, hour},
		{3 * hour, hour, 0, 3 * hour, 2 * hour},
		{3 * hour, hour, hour, hour, hour},
		{3 * hour, hour, 5 * hour, 3 * hour, 2 * hour},
	} {
		s := gpu.Standing{Runtime: c.runtime, Extension: c.extension}
		if within, usually := s.Within(c.declared), s.Usually(c.declared); within != c.within || usually != c.usually {
			t.Errorf("%+v: %s, %s", c, within, usually)
		}
	}
}

func drawQueue(t *rapid.T) gpu.Queue {
	q := gpu.Queue{Pool: drawPool(t), People: map[int]gpu.Standing{}, Ends: map[string]time.Time{}}
	for uid := range 5 {
		q.People[uid] = gpu.Standing{
			Quota: drawQuota(t), Priority: rapid.IntRange(0, 1).Draw(t, "priority"), Hours: rapid.Float64Range(0, 2).Draw(t, "hours"),
			Runtime: time.Duration(rapid.IntRange(0, 3).Draw(t, "runtime")) * time.Hour,
		}
	}
	for i := range q.Pool.Claims {
		id := fmt.Sprint("x", i)
		q.Pool.Claims[i].ID = id
		if rapid.IntRange(0, 4).Draw(t, "unknown") > 0 {
			q.Ends[id] = noon.Add(time.Duration(rapid.IntRange(1, 5).Draw(t, "end")) * time.Hour)
		}
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "tickets") {
		w := ticket(fmt.Sprint("t", i), rapid.IntRange(0, 4).Draw(t, "uid"), 0, time.Duration(rapid.IntRange(0, 30).Draw(t, "ago"))*time.Hour)
		w.Request, w.Lasts = drawRequest(t), time.Duration(rapid.IntRange(0, 3).Draw(t, "lasts"))*time.Hour
		q.Waiting = append(q.Waiting, w)
	}
	if len(q.Pool.Devices) > 0 && rapid.Bool().Draw(t, "reserved") {
		d := rapid.SampledFrom(q.Pool.Devices).Draw(t, "device")
		from := noon.Add(time.Duration(rapid.IntRange(-2, 40).Draw(t, "from")) * time.Hour)
		q.Reservations = []gpu.Reservation{{UID: 1, Login: "u1", Devices: []string{d.UUID}, From: from, Until: from.Add(3 * time.Hour)}}
	}
	return q
}

// What a pass grants breaks no promise: no device twice, no limit, nothing
// that is reserved; and nobody behind somebody who waits gets anything that
// one could use, unless it is back before that one begins.
func TestAPassBreaksNoPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQueue(t)
		keep := gpu.Keep(q.Pool.Devices, q.Reservations, noon)
		pool := gpu.Pool{Devices: q.Pool.Devices, Claims: slices.Clone(q.Pool.Claims)}
		var ahead []gpu.Place
		for _, p := range gpu.Pass(q, noon) {
			s := q.People[p.Ticket.UID]
			if p.Granted == nil {
				if !p.Limited {
					ahead = append(ahead, p)
				}
				continue
			}
			mustHold(t, pool, p.Ticket.UID, p.Ticket.Request, s.Quota, p.Granted)
			until := time.Time{}
			if within := s.Within(p.Ticket.Lasts); within > 0 {
				until = noon.Add(within)
			}
			for _, d := range p.Granted {
				if r := keep.From(d.UUID, p.Ticket.UID, noon, until); r != nil {
					t.Fatalf("%s is reserved from %s", d.Slot, r.From)
				}
				for _, w := range ahead {
					if until.IsZero() && couldUse(q, pool, keep, w, d) {
						t.Fatalf("%s got %s, which %s ahead waits for", p.Ticket.ID, d.Slot, w.Ticket.ID)
					}
				}
			}
			granted := claim(p.Ticket.UID, gpu.Pending, p.Granted)
			pool.Claims = append(pool.Claims, granted)
		}
	})
}

// couldUse asks Allocate itself.
func couldUse(q gpu.Queue, pool gpu.Pool, keep gpu.Keeping, w gpu.Place, d gpu.Device) bool {
	s := q.People[w.Ticket.UID]
	until := time.Time{}
	if within := s.Within(w.Ticket.Lasts); within > 0 {
		until = noon.Add(within)
	}
	if keep.From(d.UUID, w.Ticket.UID, noon, until) != nil {
		return false
	}
	own := slices.DeleteFunc(slices.Clone(pool.Claims), func(c gpu.Claim) bool { return c.UID != w.Ticket.UID })
	_, err := gpu.Allocate(gpu.Pool{Devices: []gpu.Device{d}, Claims: own}, w.Ticket.UID, gpu.Request{Count: 1}, s.Quota)
	return err == nil
}

// The order in which anything is listed changes no answer.
func TestTheOrderOfTheQueuesPartsDoesntMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQueue(t)
		other := q
		other.Waiting = rapid.Permutation(q.Waiting).Draw(t, "waiting")
		other.Pool.Devices = rapid.Permutation(q.Pool.Devices).Draw(t, "devices")
		other.Pool.Claims = rapid.Permutation(q.Pool.Claims).Draw(t, "claims")
		if a, b := said(gpu.Pass(q, noon)), said(gpu.Pass(other, noon)); a != b {
			t.Fatalf("%s, in another order %s", a, b)
		}
	})
}

// The one who waits first begins no later for those who go before them.
func TestWhoGoesFirstDelaysNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQueue(t)
		q.Reservations = nil
		for i, c := range q.Pool.Claims {
			q.Ends[c.ID] = noon.Add(time.Duration(1+i%4) * time.Hour)
		}
		for uid, s := range q.People {
			s.Runtime = max(s.Runtime, time.Hour)
			q.People[uid] = s
		}
		places := gpu.Pass(q, noon)
		head := slices.IndexFunc(places, func(p gpu.Place) bool { return p.Granted == nil && !p.Limited })
		if head < 0 {
			t.Skip("nobody waits")
		}
		alone := q
		alone.Waiting = nil
		for _, p := range places[:head+1] {
			if !p.Limited {
				alone.Waiting = append(alone.Waiting, p.Ticket)
			}
		}
		id, joined := places[head].Ticket.ID, places[head].Ticket.JoinedAt
		// Who has waited for longer goes first after Patience, and may delay it;
		// and who waits for a limit of their own is themselves delayed.
		for i, p := range places {
			if p.Limited || i > head && !p.Ticket.JoinedAt.After(joined) {
				q.Waiting = slices.DeleteFunc(slices.Clone(q.Waiting), func(w gpu.Ticket) bool { return w.ID == p.Ticket.ID })
			}
		}
		with, without := begins(q, id), begins(alone, id)
		if with.After(without) {
			t.Fatalf("%s begins at %s, and at %s where nobody is behind", id, with, without)
		}
	})
}

// begins plays the queue on, everything lasting as long as it may, until the
// ticket is granted.
func begins(q gpu.Queue, id string) time.Time {
	q.Ends, q.Waiting = maps.Clone(q.Ends), slices.Clone(q.Waiting)
	q.Pool.Claims = slices.Clone(q.Pool.Claims)
	for now := noon; now.Before(noon.Add(100 * time.Hour)); now = now.Add(time.Hour) {
		q.Pool.Claims = slices.DeleteFunc(q.Pool.Claims, func(c gpu.Claim) bool { return !now.Before(q.Ends[c.ID]) })
		for _, p := range gpu.Pass(q, now) {
			if p.Granted == nil {
				continue
			}
			if p.Ticket.ID == id {
				return now
			}
			c := claim(p.Ticket.UID, gpu.Running, p.Granted)
			c.ID = p.Ticket.ID
			q.Pool.Claims, q.Ends[c.ID] = append(q.Pool.Claims, c), now.Add(q.People[c.UID].Within(p.Ticket.Lasts))
			q.Waiting = slices.DeleteFunc(q.Waiting, func(w gpu.Ticket) bool { return w.ID == c.ID })
		}
	}
	return noon.Add(1000 * time.Hour)
}

// However many come with whatever priority, who waits has a turn: after
// Patience only those who joined before go first, and each of them keeps the
// devices for at most as long as somebody may hold them.
func TestNobodyStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		devices := whole(rapid.IntRange(1, 3).Draw(t, "devices"))
		lasts := time.Duration(rapid.IntRange(1, 6).Draw(t, "lasts")) * time.Hour
		q := gpu.Queue{Pool: gpu.Pool{Devices: devices}, People: map[int]gpu.Standing{0: {Quota: quota(3, 3, true)}}}
		older := rapid.IntRange(0, 3).Draw(t, "older")
		for i := range older {
			q.People[1+i] = gpu.Standing{Quota: quota(3, 3, true), Priority: 50}
			q.Waiting = append(q.Waiting, ticket(fmt.Sprint("old", i), 1+i, rapid.IntRange(1, len(devices)).Draw(t, "n"), time.Hour))
		}
		q.Waiting = append(q.Waiting, ticket("me", 0, rapid.IntRange(1, len(devices)).Draw(t, "mine"), 0))
		until := map[string]time.Time{}
		bound := gpu.Patience + time.Duration(older+1)*(lasts+time.Hour)
		for hour := time.Duration(0); hour <= bound; hour += time.Hour {
			now := noon.Add(hour)
			for i := range rapid.IntRange(1, 3).Draw(t, "newcomers") {
				uid := 100 + int(hour/time.Hour)*10 + i
				q.People[uid] = gpu.Standing{Quota: quota(3, 3, true), Priority: 90}
				w := ticket(fmt.Sprint("n", uid), uid, 1, 0)
				w.JoinedAt = now
				q.Waiting = append(q.Waiting, w)
			}
			q.Pool.Claims = slices.DeleteFunc(q.Pool.Claims, func(c gpu.Claim) bool { return !now.Before(until[c.ID]) })
			for _, p := range gpu.Pass(q, now) {
				if p.Granted == nil {
					continue
				}
				if p.Ticket.ID == "me" {
					return
				}
				c := claim(p.Ticket.UID, gpu.Running, p.Granted)
				c.ID = p.Ticket.ID
				q.Pool.Claims, until[c.ID] = append(q.Pool.Claims, c), now.Add(lasts)
				q.Waiting = slices.DeleteFunc(q.Waiting, func(w gpu.Ticket) bool { return w.ID == c.ID })
			}
		}
		t.Fatalf("still waiting after %s: %s", bound, said(gpu.Pass(q, noon.Add(bound))[:1]))
	})
}

func TestEstimate(t *testing.T) {
	devices := whole(2)
	q := gpu.Queue{
		Pool: gpu.Pool{Devices: devices}, People: everybody(2),
		Waiting: []gpu.Ticket{ticket("a", 1, 2, 4), ticket("b", 2, 1, 3), ticket("c", 3, 1, 2), ticket("d", 4, 1, 1), ticket("e", 5, 3, 0)},
	}
	for i, slot := range []string{"0", "1"} {
		c := hold(devices, 9, gpu.Running, slot)
		c.ID = fmt.Sprint("x", i)
		q.Pool.Claims = append(q.Pool.Claims, c)
	}
	expected := map[string]time.Time{"x0": noon.Add(time.Hour), "x1": noon.Add(3 * time.Hour)}
	got := gpu.Estimate(q, expected, map[string]time.Duration{"a": time.Hour, "b": time.Hour}, noon)
	for id, hours := range map[string]int{"a": 3, "b": 4, "c": 4, "d": 5} {
		if !got[id].Equal(noon.Add(time.Duration(hours) * time.Hour)) {
			t.Errorf("%s begins at %s, want in %d hours", id, got[id], hours)
		}
	}
	if _, ok := got["e"]; ok {
		t.Error("e waits for its own limit, and yet there is a time")
	}
	delete(expected, "x1")
	if got := gpu.Estimate(q, expected, nil, noon); len(got) != 0 {
		t.Errorf("nobody knows when the first begins, and yet %v", got)
	}
	if q.Pool.Claims[0].State != gpu.Running {
		t.Error("the queue was changed")
	}
}

func TestTally(t *testing.T) {
	use := func(from, until time.Duration, share quantity.GPUShare) gpu.Use {
		return gpu.Use{Share: share, From: noon.Add(from), Until: noon.Add(until)}
	}
	near := func(name string, got, want float64) {
		t.Helper()
		if got < want*0.99 || got > want*1.01 {
			t.Errorf("%s: %f hours, want about %f", name, got, want)
		}
	}
	hour := gpu.Tally{}.Add(use(-time.Hour, 0, quantity.FullGPU))
	near("an hour just now", hour.Hours(noon), 1)
	near("a week later", hour.Hours(noon.Add(gpu.HalfLife)), 0.5)
	near("two at once", hour.Add(use(-time.Hour, 0, quantity.FullGPU)).Hours(noon), 2)
	near("half a card", gpu.Tally{}.Add(use(-time.Hour, 0, quantity.FullGPU/2)).Hours(noon), 0.5)
	near("told late", hour.Add(use(-gpu.HalfLife-time.Hour, -gpu.HalfLife, quantity.FullGPU)).Hours(noon), 1.5)
	if got := (gpu.Tally{}).Add(use(0, 0, quantity.FullGPU)).Hours(noon); got != 0 {
		t.Errorf("no time: %f hours", got)
	}
}

func TestExpect(t *testing.T) {
	seen := []time.Duration{time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour}
	if rest, ok := gpu.Expect(0, seen); !ok || rest != 4*time.Hour {
		t.Errorf("at the beginning: %s, %t", rest, ok)
	}
	if rest, ok := gpu.Expect(time.Hour, seen); !ok || rest != 3*time.Hour {
		t.Errorf("after an hour: %s, %t", rest, ok)
	}
	if _, ok := gpu.Expect(2*time.Hour, seen); ok {
		t.Error("two are too few")
	}
}
