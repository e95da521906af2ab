package sim_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/nvml/sim"
	"ds01.dev/ds01/internal/quantity"
)

// crowded are the hosts that people wait before.
func crowded() map[string]sim.Config {
	return map[string]sim.Config{
		"A100":                 {GPUs: []string{"a100-80gb", "a100-80gb"}, MIG: map[int][]string{0: nil, 1: {"3g.40gb", "1g.10gb"}}},
		"a 3g of three slices": {GPUs: []string{"h100-80gb", "h100-80gb"}, MIG: map[int][]string{0: nil}},
		"A30":                  {GPUs: []string{"a30", "a30"}, MIG: map[int][]string{0: nil, 1: nil}},
		"mixed":                {GPUs: []string{"a30", "a100-40gb", "h100-80gb"}, MIG: map[int][]string{0: nil, 1: {"2g.10gb"}}},
	}
}

// Whoever joins, leaves, holds, gives back, has something reserved or runs
// something nobody knows of, on cards that are drained and used: what a look at
// the queue grants can be made, touches nothing in use, has one owner, is what
// was asked for and within all limits, isn't reserved for others, and is the same
// for the same queue.
func TestTheQueueKeepsItsPromises(t *testing.T) {
	for name, cfg := range crowded() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tables := tablesOf(t, cfg)
			total := tryPlans(t, func(rt *rapid.T, steps *int) {
				c := newCrowd(rt, driver(t, cfg), tables, steps)
				rt.Repeat(map[string]func(*rapid.T){
					"": c.check, "join": c.join, "join, too": c.join, "leave": c.leave, "look": c.look, "give back": c.giveBack,
					"stray": c.stray, "drain": c.drain, "reserve": c.reserve, "wait": c.wait, "tidy": c.tidyUp,
				})
			})
			t.Logf("%d steps", total)
		})
	}
}

// A crowd is people before a simulated host, whose cards are cut for them.
type crowd struct {
	site
	policy   gpu.Policy
	people   map[int]gpu.Standing
	waiting  []gpu.Ticket
	reserved []gpu.Reservation
	drained  map[string]bool // cards, by UUID
	next     int             // ticket
}

func newCrowd(rt *rapid.T, d *sim.Driver, tables gpu.Tables, steps *int) *crowd {
	c := &crowd{
		site:   site{driver: d, tables: tables, steps: steps, freed: map[string]time.Time{}, now: time.Unix(0, 0)},
		people: map[int]gpu.Standing{}, drained: map[string]bool{},
	}
	c.policy = gpu.Policy{
		Mode: rapid.SampledFrom([]gpu.MIGMode{gpu.MIGDynamic, gpu.MIGDynamic, gpu.MIGDynamic, gpu.MIGStatic}).Draw(rt, "mode"), Tables: tables, KeepFull: rapid.IntRange(0, 2).Draw(rt, "keep full"),
		Hysteresis: time.Duration(rapid.IntRange(0, 2).Draw(rt, "hysteresis")) * time.Minute,
	}
	for uid := 1; uid <= 4; uid++ {
		c.people[uid] = gpu.Standing{
			Quota: drawQuota(rt), Priority: 10 * rapid.IntRange(0, 2).Draw(rt, "priority"),
			Hours:   float64(rapid.IntRange(0, 3).Draw(rt, "hours")),
			Runtime: rapid.SampledFrom([]time.Duration{0, 2 * time.Hour, 30 * time.Hour}).Draw(rt, "runtime"),
		}
		if rapid.Bool().Draw(rt, "as much as the first") {
			c.people[uid] = c.people[1]
		}
	}
	return c
}

func drawQuota(t *rapid.T) gpu.Quota {
	count := func(most int, label string) quantity.Limit[int] {
		return quantity.Limit[int]{Unlimited: rapid.Bool().Draw(t, label+" unlimited"), Value: rapid.IntRange(0, most).Draw(t, label)}
	}
	share := rapid.Int64Range(0, int64(2*quantity.FullGPU)).Draw(t, "share")
	return gpu.Quota{
		MaxDevices: count(5, "devices"), MaxPerContainer: count(3, "per container"),
		MaxShare:  quantity.Limit[quantity.GPUShare]{Unlimited: rapid.Bool().Draw(t, "any share"), Value: quantity.GPUShare(share)},
		AllowFull: rapid.Bool().Draw(t, "full"),
	}
}

// host is the site's with the drained cards said.
func (c *crowd) host(t *rapid.T) gpu.Host {
	h := c.site.host(t)
	for i := range h.Cards {
		if c.drained[h.Cards[i].UUID] {
			h.Cards[i].Drained = "a fan"
		}
	}
	return h
}

func (c *crowd) queue(t *rapid.T) gpu.Queue {
	h := c.host(t)
	q := gpu.Queue{
		Pool: gpu.Pool{
			Devices: gpu.Devices(h.Cards), Claims: h.Claims, Taken: h.Taken,
			Cutting: &gpu.Cutting{Cards: h.Cards, Policy: c.policy, FreedAt: h.FreedAt},
		},
		Waiting: slices.Clone(c.waiting), People: c.people, Reservations: c.reserved, Ends: map[string]time.Time{},
	}
	for _, cl := range c.claims {
		if s := c.people[cl.UID]; s.Runtime > 0 {
			q.Ends[cl.ID] = cl.Since.Add(s.Runtime)
		}
	}
	return q
}

// words are what a person may ask for on these cards.
func words(h gpu.Host) []string {
	all := []string{"1", "2", "mig", "full", "20GiB", "70GiB"}
	for _, c := range h.Cards {
		for _, p := range c.Profiles {
			all = append(all, p.Name, p.Name)
		}
	}
	return all
}

func drawAsk(t *rapid.T, words []string) gpu.Request {
	text := rapid.SampledFrom(words).Draw(t, "ask")
	if !strings.HasPrefix(text, "all") && rapid.IntRange(0, 2).Draw(t, "mix") == 0 {
		text += "," + rapid.SampledFrom(words[:6]).Draw(t, "and")
	}
	r, err := gpu.ParseRequest(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (c *crowd) join(t *rapid.T) {
	h := c.host(t)
	all := append(words(h), "all")
	for _, d := range gpu.Devices(h.Cards) {
		all = append(all, d.UUID)
	}
	c.next++
	want := drawAsk(t, all)
	if len(c.waiting) > 0 && rapid.Bool().Draw(t, "the same as another") {
		want = rapid.SampledFrom(c.waiting).Draw(t, "another").Request
	}
	c.waiting = append(c.waiting, gpu.Ticket{
		ID: fmt.Sprintf("t%03d", c.next), UID: rapid.IntRange(1, len(c.people)).Draw(t, "uid"), Request: want, JoinedAt: c.now,
	})
}

func (c *crowd) leave(t *rapid.T) {
	if len(c.waiting) > 0 {
		i := rapid.IntRange(0, len(c.waiting)-1).Draw(t, "place")
		c.waiting = slices.Delete(c.waiting, i, i+1)
	}
}

func (c *crowd) drain(t *rapid.T) {
	all := c.host(t).Cards
	uuid := all[rapid.IntRange(0, len(all)-1).Draw(t, "card")].UUID
	c.drained[uuid] = !c.drained[uuid]
}

func (c *crowd) reserve(t *rapid.T) {
	c.reserved = nil
	if rapid.IntRange(0, 2).Draw(t, "nothing") == 0 {
		return
	}
	names := []string{"0", "1"}
	for _, d := range gpu.Devices(c.host(t).Cards) {
		names = append(names, d.UUID)
	}
	from := c.now.Add(time.Duration(rapid.IntRange(-2, 40).Draw(t, "from")) * time.Hour)
	c.reserved = []gpu.Reservation{{
		UID: 1, Login: "u1", Devices: []string{rapid.SampledFrom(names).Draw(t, "device")}, From: from, Until: from.Add(3 * time.Hour),
	}}
}

func (c *crowd) tidyUp(t *rapid.T) {
	h := c.host(t)
	c.carry(t, h, gpu.Tidy(h, gpu.Keep(gpu.Devices(h.Cards), c.reserved, c.now), c.policy, c.now))
}

// carry carries a plan out as it may be here.
func (c *crowd) carry(t *rapid.T, h gpu.Host, plan gpu.Plan) map[int]string {
	for _, s := range plan.Steps {
		if c.drained[s.CardUUID] {
			t.Fatalf("%s, and it is drained", s)
		}
	}
	return c.carryOut(t, h, c.policy, plan)
}

// look has the queue go on: who is granted something gets it.
func (c *crowd) look(t *rapid.T) {
	q := c.queue(t)
	places := gpu.Pass(q, c.now)
	other := q
	other.Waiting = rapid.Permutation(q.Waiting).Draw(t, "waiting")
	other.Pool.Claims = rapid.Permutation(q.Pool.Claims).Draw(t, "claims")
	cut := *q.Pool.Cutting
	cut.Cards = rapid.Permutation(cut.Cards).Draw(t, "cards")
	other.Pool.Cutting = &cut
	if again := gpu.Pass(other, c.now); !reflect.DeepEqual(places, again) {
		t.Fatalf("%+v, in another order %+v", places, again)
	}
	mustBeEachOnesOwn(t, q, places, c.now)
	for _, p := range places {
		if p.Granted != nil {
			c.grant(t, q, p)
		}
	}
}

// mustBeEachOnesOwn fails where what one is told depends on who else may have as
// much: limits that come from elsewhere are the same limits.
func mustBeEachOnesOwn(t *rapid.T, q gpu.Queue, places []gpu.Place, now time.Time) {
	people := map[int]gpu.Standing{}
	for uid, s := range q.People {
		s.Quota.Source = map[string]string{"max_mig_instances": fmt.Sprint("line ", uid)}
		people[uid] = s
	}
	q.People = people
	for i, p := range gpu.Pass(q, now) {
		if want := places[i]; p.Limited != want.Limited || !reflect.DeepEqual(p.Granted, want.Granted) || !reflect.DeepEqual(p.Plan, want.Plan) {
			t.Fatalf("%+v, where everybody's limits are of their own %+v", want, p)
		}
	}
}

// grant gives a place what it was granted, and fails where that isn't right.
func (c *crowd) grant(t *rapid.T, q gpu.Queue, p gpu.Place) {
	uid := p.Ticket.UID
	claim := gpu.Claim{ID: p.Ticket.ID, UID: uid, State: gpu.Running, Since: c.now}
	made := c.carry(t, c.host(t), p.Plan)
	now := gpu.Devices(c.host(t).Cards)
	for i, d := range p.Granted {
		if len(p.Plan.Steps) > 0 {
			if pick := p.Plan.Picks[i]; pick.Step >= 0 && pick.Profile != gpu.Full {
				d.UUID = made[pick.Step]
			} else {
				d.UUID = pick.UUID
			}
		}
		at := slices.IndexFunc(now, func(o gpu.Device) bool { return o.UUID == d.UUID })
		switch {
		case at < 0 || now[at].Profile != d.Profile || now[at].Share != d.Share:
			t.Fatalf("promised %+v, there is %s", d, describe(now))
		case now[at].Problem != "" || q.Pool.Taken[d.UUID] != "":
			t.Fatalf("%s can't be granted", d.UUID)
		case c.held(d.UUID):
			t.Fatalf("%s has two owners", d.UUID)
		}
		c.mustNotBeReserved(t, q.Pool.Devices, now[at], uid)
		claim.Devices = append(claim.Devices, gpu.Grant{UUID: d.UUID, Slot: now[at].Slot, Share: d.Share})
	}
	mustServe(t, p.Ticket.Request, p.Granted)
	c.claims = append(c.claims, claim)
	c.mustBeWithin(t, claim)
	c.waiting = slices.DeleteFunc(c.waiting, func(w gpu.Ticket) bool { return w.ID == p.Ticket.ID })
}

// mustNotBeReserved fails where somebody else has the device reserved, or its
// card: all are the devices that there were to reserve.
func (c *crowd) mustNotBeReserved(t *rapid.T, all []gpu.Device, d gpu.Device, uid int) {
	until := time.Time{}
	if last := c.people[uid].Runtime; last > 0 {
		until = c.now.Add(last)
	}
	card := gpu.Device{UUID: "a card", Card: d.Card}
	keep := gpu.Keep(append(slices.Clone(all), card), c.reserved, c.now)
	for _, uuid := range []string{d.UUID, card.UUID} {
		if r := keep.From(uuid, uid, c.now, until); r != nil {
			t.Fatalf("%s is reserved from %s", d.Slot, r.From)
		}
	}
}

// mustServe fails where the devices aren't what was asked for, in that order.
func mustServe(t *rapid.T, r gpu.Request, got []gpu.Device) {
	if r.All {
		return
	}
	wants := make([]gpu.Part, r.Count)
	for _, p := range r.Parts {
		for range p.Count {
			wants = append(wants, p)
		}
	}
	if len(wants) != len(got) {
		t.Fatalf("asked for %s, got %s", r, describe(got))
	}
	for i, p := range wants {
		d := got[i]
		if p.Profile == gpu.AnyInstance && d.Profile == gpu.Full ||
			p.Profile != "" && p.Profile != gpu.AnyInstance && d.Profile != p.Profile ||
			d.MemoryBytes < int64(p.MinMemory) || p.Device != "" && p.Device != d.UUID && p.Device != d.Slot {
			t.Fatalf("asked for %s, got %s", r, describe(got))
		}
	}
}

// mustBeWithin fails where somebody has more than they may, now that they have
// this too.
func (c *crowd) mustBeWithin(t *rapid.T, claim gpu.Claim) {
	devices, share := 0, quantity.GPUShare(0)
	for _, cl := range c.claims {
		for _, g := range cl.Devices {
			if cl.UID == claim.UID {
				devices++
				share += g.Share
			}
		}
	}
	q := c.people[claim.UID].Quota
	full := slices.ContainsFunc(gpu.Devices(c.host(t).Cards), func(d gpu.Device) bool {
		return d.Profile == gpu.Full && slices.ContainsFunc(claim.Devices, func(g gpu.Grant) bool { return g.UUID == d.UUID })
	})
	if !q.MaxDevices.Unlimited && devices > q.MaxDevices.Value || !q.MaxShare.Unlimited && share > q.MaxShare.Value ||
		!q.MaxPerContainer.Unlimited && len(claim.Devices) > q.MaxPerContainer.Value || full && !q.AllowFull {
		t.Fatalf("%d devices, share %s, %d in the container, within %+v", devices, share, len(claim.Devices), q)
	}
}

// Whoever comes with whatever priority, on cards that are cut for each: who waits
// has a turn. After gpu.Patience only those who joined before go first, and then
// a card is kept for who waits until there is room on it.
func TestNobodyStarvesWhileCardsAreCut(t *testing.T) {
	for name, cfg := range crowded() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			longest := time.Duration(0)
			tables := tablesOf(t, cfg)
			total := tryPlans(t, func(rt *rapid.T, steps *int) {
				c := newCrowd(rt, driver(t, cfg), tables, steps)
				longest = max(longest, c.rush(rt))
			})
			t.Logf("%d steps; who waited longest had their turn %s after they went first", total, longest)
		})
	}
}

// rush lets people come hour by hour until the one who has waited for
// gpu.Patience has a turn, and returns how long that took.
func (c *crowd) rush(t *rapid.T) time.Duration {
	c.policy.Mode = gpu.MIGDynamic
	lasts := time.Duration(rapid.IntRange(1, 6).Draw(t, "lasts")) * time.Hour
	all := words(c.host(t))
	for range rapid.IntRange(0, 4).Draw(t, "hours before") {
		c.hour(t, all, lasts)
	}
	if rapid.IntRange(0, 2).Draw(t, "strayed") == 0 {
		c.stray(t)
	}
	if rapid.IntRange(0, 3).Draw(t, "drained") == 0 {
		c.drain(t)
	}
	older := rapid.IntRange(0, 2).Draw(t, "older")
	for i := range older + 1 {
		c.people[i] = gpu.Standing{Quota: whoever()}
		c.waiting = append(c.waiting, gpu.Ticket{
			ID: fmt.Sprint("old", i), UID: i, Request: drawAsk(t, all), JoinedAt: c.now.Add(time.Duration(i) - gpu.Patience),
		})
	}
	me := fmt.Sprint("old", older)
	began := c.now
	bound := time.Duration(older+1) * time.Duration(len(c.host(t).Cards)+1) * (lasts + time.Hour)
	for c.now.Before(began.Add(bound)) {
		places := c.hour(t, all, lasts)
		if mine := places[slices.IndexFunc(places, func(p gpu.Place) bool { return p.Ticket.ID == me })]; mine.Granted != nil || mine.Limited {
			return c.now.Sub(began)
		}
	}
	t.Fatalf("still waiting after %s for %s: %s", bound, c.waiting[0].Request, describe(gpu.Devices(c.host(t).Cards)))
	return 0
}

// whoever may have anything.
func whoever() gpu.Quota {
	anything := quantity.None[int]()
	return gpu.Quota{MaxDevices: anything, MaxPerContainer: anything, MaxShare: quantity.None[quantity.GPUShare](), AllowFull: true}
}

// hour lets some give back and some come, and has the queue go on.
func (c *crowd) hour(t *rapid.T, all []string, lasts time.Duration) []gpu.Place {
	c.now = c.now.Add(time.Hour)
	for range rapid.IntRange(1, 6).Draw(t, "newcomers") {
		*c.steps++
		c.next++
		some := all
		if rapid.Bool().Draw(t, "small") {
			some = all[:3] // they find room where nobody else does
		}
		uid := 1000 + c.next
		c.people[uid] = gpu.Standing{Quota: whoever(), Priority: 90}
		c.waiting = append(c.waiting, gpu.Ticket{ID: fmt.Sprintf("n%03d", c.next), UID: uid, Request: drawAsk(t, some), JoinedAt: c.now})
	}
	*c.steps += 3
	c.end(lasts)
	if rapid.Bool().Draw(t, "tidy") {
		c.tidyUp(t)
	}
	q := c.queue(t)
	places := gpu.Pass(q, c.now)
	for _, p := range places {
		if p.Granted != nil {
			c.grant(t, q, p)
		}
	}
	c.check(t)
	return places
}

// end lets those give back who have held something for so long, and those leave
// who came and waited in vain.
func (c *crowd) end(after time.Duration) {
	for _, cl := range c.claims {
		if !c.now.Before(cl.Since.Add(after)) {
			for _, g := range cl.Devices {
				c.freed[g.UUID] = c.now
			}
		}
	}
	c.claims = slices.DeleteFunc(c.claims, func(cl gpu.Claim) bool { return !c.now.Before(cl.Since.Add(after)) })
	c.waiting = slices.DeleteFunc(c.waiting, func(w gpu.Ticket) bool { return w.UID >= 1000 && c.now.Sub(w.JoinedAt) > 2*time.Hour })
}
