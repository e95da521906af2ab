package allocator_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

func (b *bench) join(t *testing.T, uid, gpus int) gpu.Ticket {
	t.Helper()
	b.now = b.now.Add(time.Second)
	w, err := b.Join(t.Context(), allocator.Wish{Account: person(uid), Limits: b.bounds(uid), Request: gpu.Request{Count: gpus}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// advance returns who is to be told on their terminal, as "u1:1.0", with a
// mark for the last call, or "u1 of u5" for a reservation.
func (b *bench) advance(t *testing.T) string {
	t.Helper()
	if _, err := b.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, n := range b.Notices() {
		switch {
		case n.By(gpu.OnTerminal):
		case n.Ticket == nil:
			words = append(words, n.Login+" of "+n.Warnings[0].Reservation.Login)
		default:
			slots := make([]string, len(n.Ticket.Devices))
			for i, d := range n.Ticket.Devices {
				slots[i] = d.Slot
			}
			words = append(words, n.Login+":"+strings.Join(slots, ",")+strings.Repeat("!", map[bool]int{true: 1}[n.LastCall]))
		}
	}
	return strings.Join(words, " ")
}

// told says that everybody was told by one way.
func (b *bench) told(t T, by gpu.Way) {
	t.Helper()
	for _, n := range b.Notices() {
		if err := b.SetTold(context.Background(), n, by); err != nil {
			t.Fatal(err)
		}
	}
}

// full is a bench on which u9 holds everything, in two containers.
func full(t *testing.T) (b *bench, first, second container.Record) {
	t.Helper()
	b = setup(t)
	b.devices = b.devices[1:3] // two instances
	return b, b.claim(t, 8, "a", 1), b.claim(t, 9, "b", 1)
}

func forget(t *testing.T, b *bench, r container.Record) {
	t.Helper()
	if err := b.Forget(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
}

func TestWhoWaitsIsGrantedInTurn(t *testing.T) {
	b, first, second := full(t)
	one, two := b.join(t, 1, 1), b.join(t, 2, 1)
	if one.Granted() || b.advance(t) != "" {
		t.Fatal("nothing is free")
	}
	b.reopen(t)
	forget(t, b, first)
	if got := b.advance(t); got != "u1:1.0" {
		t.Fatalf("got %q", got)
	}
	if got := b.advance(t); got != "u1:1.0" {
		t.Fatalf("who wasn't told is forgotten: %q", got)
	}
	b.reopen(t)
	if got := b.advance(t); got != "u1:1.0" {
		t.Fatalf("after a crash before the notice: %q", got)
	}
	b.told(t, gpu.ByMail)
	if got := b.advance(t); got != "u1:1.0" {
		t.Fatalf("who was told by mail has no terminal: %q", got)
	}
	b.told(t, gpu.OnTerminal)
	b.reopen(t)
	if n := b.Notices(); len(n) != 1 || !n[0].By(gpu.ByMail) {
		t.Fatalf("mailed twice: %+v", n)
	}
	if got := b.advance(t); got != "" {
		t.Fatalf("told twice: %q", got)
	}
	forget(t, b, second)
	if got := b.advance(t); got != "u2:1.1" {
		t.Fatalf("got %q", got)
	}
	r := b.claim(t, 1, "web", 1)
	if r.Devices[0].Slot != "1.0" {
		t.Errorf("not what was kept: %+v", r.Devices)
	}
	if _, err := b.Ticket(1, one.ID); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("its place is still there: %v", err)
	}
	b.reopen(t)
	b.now = b.now.Add(11 * time.Minute)
	b.advance(t)
	if _, err := b.Ticket(2, two.ID); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("kept for longer than the hold: %v", err)
	}
	b.claim(t, 3, "x", 1)
}

func TestWhatIsKeptForSomebodyIsToldAgainBeforeItIsLost(t *testing.T) {
	b, first, _ := full(t)
	b.join(t, 1, 1)
	forget(t, b, first)
	if got := b.advance(t); got != "u1:1.0" {
		t.Fatalf("got %q", got)
	}
	b.told(t, gpu.OnTerminal|gpu.ByMail)
	granted := b.now
	next, err := b.Advance(t.Context())
	if want := granted.Add(10*time.Minute - allocator.LastCall); err != nil || !next.Equal(want) {
		t.Fatalf("looked at next at %s, want %s, %v", next, want, err)
	}
	b.now = next
	if got := b.advance(t); got != "u1:1.0!" {
		t.Fatalf("before it is lost: %q", got)
	}
	b.told(t, gpu.OnTerminal)
	if got := b.advance(t); got != "" {
		t.Errorf("told twice: %q", got)
	}
	if next, err = b.Advance(t.Context()); err != nil || !next.Equal(granted.Add(10*time.Minute)) {
		t.Errorf("looked at next at %s, %v", next, err)
	}
}

func TestWhoHoldsWhatIsReservedForAnotherIsToldInTime(t *testing.T) {
	b, first, second := full(t)
	soon := gpu.Reservation{UID: 1, Login: "u1", Devices: []string{"1.0"}, From: b.now.Add(49 * time.Hour), Until: b.now.Add(60 * time.Hour), Source: "an admin"}
	if _, err := b.Reserve(t.Context(), soon); err != nil {
		t.Fatal(err)
	}
	if got := b.advance(t); got != "" {
		t.Fatalf("too early: %q", got)
	}
	b.now = b.now.Add(2 * time.Hour)
	if got := b.advance(t); got != "u8 of u1" {
		t.Fatalf("got %q", got)
	}
	if n := b.Notices(); n[0].Name != "a" || n[0].UID != 8 || len(n[0].Warnings) != 1 || n[0].Warnings[0].Device.Slot != "1.0" {
		t.Errorf("got %+v", n)
	}
	b.told(t, gpu.OnTerminal)
	b.reopen(t)
	if got := b.advance(t); got != "" {
		t.Fatalf("told again after a restart: %q", got)
	}
	soon.Devices, soon.From = []string{"1.1"}, soon.From.Add(time.Minute)
	if _, err := b.Reserve(t.Context(), soon); err != nil {
		t.Fatal(err)
	}
	if got := b.advance(t); got != "u9 of u1" {
		t.Fatalf("another reservation: %q", got)
	}
	forget(t, b, second)
	forget(t, b, first)
	if got := b.advance(t); got != "" {
		t.Errorf("nobody holds it any more: %q", got)
	}
}

func TestAPlainClaimOvertakesNobody(t *testing.T) {
	b, first, second := full(t)
	b.join(t, 1, 2)
	forget(t, b, first) // one is free, and u1 waits for two
	_, _, err := b.Claim(t.Context(), order(2, "web", 1))
	if !errors.Is(err, problem.ErrExhausted) || !allocator.Waitable(err) || !strings.Contains(err.Error(), "number 2") {
		t.Fatalf("got %v", err)
	}
	forget(t, b, second)
	if _, _, err = b.Claim(t.Context(), order(2, "web", 1)); !allocator.Waitable(err) {
		t.Fatalf("before anybody looked at the queue: %v", err)
	}
	if got := b.advance(t); got != "u1:1.0,1.1" {
		t.Fatalf("got %q", got)
	}
	if _, _, err = b.Claim(t.Context(), order(2, "web", 1)); !allocator.Waitable(err) {
		t.Fatalf("what is kept for another: %v", err)
	}
	devices, _, _ := b.Used(1)
	if devices != 2 {
		t.Errorf("what is kept counts as %d devices", devices)
	}
	b.claim(t, 2, "cpu", 0)
}

// Who was let go first because they said that they would be done in time is held
// to it, whatever they ask for afterwards.
func TestWhoDeclaresATimeIsHeldToIt(t *testing.T) {
	b := setup(t)
	b.devices = b.devices[1:3]
	first := b.claim(t, 8, "a", 1)
	o := order(9, "b", 1)
	o.Lasts = time.Hour
	second, _, err := b.Claim(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	b.set(t, second.ID, gpu.Running)
	join := func(uid, gpus int, lasts time.Duration) gpu.Ticket {
		w, err := b.Join(t.Context(), allocator.Wish{Account: person(uid), Limits: b.bounds(uid), Request: gpu.Request{Count: gpus}, Lasts: lasts})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	join(1, 2, 0)
	join(2, 1, time.Hour)
	forget(t, b, first)
	b.reopen(t)
	if got := b.advance(t); got != "u2:1.0" {
		t.Fatalf("got %q", got)
	}
	r := b.claim(t, 2, "web", 1)
	if b.reopen(t); r.Lasts != time.Hour {
		t.Errorf("it lasts %s", r.Lasts)
	}
	if again, _ := b.Record(r.ID); again.Lasts != time.Hour {
		t.Errorf("read again it lasts %s", again.Lasts)
	}
}

func TestWhoHasMorePriorityNeedntJoin(t *testing.T) {
	b, first, _ := full(t)
	b.join(t, 1, 1)
	o := order(2, "web", 1)
	o.Limits.Priority = 5
	forget(t, b, first)
	if _, _, err := b.Claim(t.Context(), o); err != nil {
		t.Errorf("their place would be the first: %v", err)
	}
}

func TestAStoppedContainerWaitsForItsDevice(t *testing.T) {
	b, first, _ := full(t)
	b.set(t, first.ID, gpu.Released)
	other := b.claim(t, 2, "x", 1)
	if err := b.Acquire(t.Context(), first.ID, bounds()); !allocator.Waitable(err) {
		t.Fatalf("got %v", err)
	}
	w, err := b.Join(t.Context(), allocator.Wish{Account: person(8), Limits: bounds(), Claim: first.ID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Join(t.Context(), allocator.Wish{Account: person(8), Limits: bounds(), Claim: first.ID}); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("a second place for it: %v", err)
	}
	forget(t, b, other)
	if got := b.advance(t); got != "u8:1.0" {
		t.Fatalf("got %q", got)
	}
	if _, _, err := b.Claim(t.Context(), order(8, "new", 1)); err == nil {
		t.Error("what is kept for one container went to another")
	}
	if err := b.Acquire(t.Context(), first.ID, bounds()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Ticket(8, w.ID); err == nil {
		t.Error("the place is still there")
	}
	b.reopen(t)
}

func TestJoinRefusesWhatNoWaitHelps(t *testing.T) {
	b, first, _ := full(t)
	for name, c := range map[string]struct {
		wish allocator.Wish
		kind error
	}{
		"more than one container may have": {allocator.Wish{Account: person(1), Limits: bounds(), Request: gpu.Request{Count: 3}}, problem.ErrLimit},
		"nothing":                          {allocator.Wish{Account: person(1), Limits: bounds()}, problem.ErrInvalid},
		"for another's container":          {allocator.Wish{Account: person(1), Limits: bounds(), Claim: first.ID}, problem.ErrConflict},
		"for a container that has it":      {allocator.Wish{Account: person(8), Limits: bounds(), Claim: first.ID}, problem.ErrConflict},
	} {
		if _, err := b.Join(t.Context(), c.wish); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 4 {
		b.join(t, 1, 1)
	}
	if _, err := b.Join(t.Context(), allocator.Wish{Account: person(1), Limits: bounds(), Request: gpu.Request{Count: 1}}); !errors.Is(err, problem.ErrLimit) {
		t.Errorf("a fifth place: %v", err)
	}
	if got := len(b.Queue()); got != 4 {
		t.Errorf("%d places", got)
	}
}

func TestTheQueueIsShownInOrderWithTimes(t *testing.T) {
	b, first, second := full(t)
	for i := range 8 { // so many uses of an hour of a seventh
		b.set(t, first.ID, gpu.Released)
		if err := b.Acquire(t.Context(), first.ID, bounds()); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(time.Hour + time.Duration(i))
	}
	b.set(t, first.ID, gpu.Released)
	b.claim(t, 3, "n", 1)
	b.set(t, second.ID, gpu.Held)
	if err := b.Update(t.Context(), second.ID, func(r *container.Record) { r.HeldUntil = b.now.Add(10 * time.Minute) }); err != nil {
		t.Fatal(err)
	}
	b.join(t, 8, 1) // who used hours
	b.join(t, 1, 1)
	b.join(t, 2, 1)
	var got []string
	for _, s := range b.Queue() {
		got = append(got, fmt.Sprintf("%d %s in %s", s.Position, s.Ticket.Login, s.Begins.Sub(b.now).Round(time.Minute)))
	}
	if said := strings.Join(got, "; "); said != "1 u1 in 10m0s; 2 u2 in 1h0m0s; 3 u8 in 1h10m0s" {
		t.Errorf("got %s", said)
	}
}

func TestSomebodyWhoseLimitsAreUnknownIsGrantedNothing(t *testing.T) {
	b, first, _ := full(t)
	b.join(t, 1, 1)
	b.join(t, 2, 1)
	b.Govern(allocator.Site{
		Standing: func(uid int) (gpu.Standing, error) {
			if uid == 1 {
				return gpu.Standing{}, problem.ErrUnavailable
			}
			return allocator.StandingOf(bounds()), nil
		},
		Reserved: func() []gpu.Reservation { return nil }, Hold: func() time.Duration { return time.Hour },
	})
	forget(t, b, first)
	if got := b.advance(t); got != "u2:1.0" {
		t.Errorf("got %q", got)
	}
	if got := b.Queue(); len(got) != 2 || got[1].Ticket.UID != 1 || !got[1].Limited {
		t.Errorf("got %+v", got)
	}
}

func TestReservations(t *testing.T) {
	b, first, second := full(t)
	forget(t, b, second)
	r := gpu.Reservation{UID: 1, Login: "u1", Devices: []string{"1.1"}, From: b.now.Add(time.Hour), Until: b.now.Add(2 * time.Hour), Source: "an admin"}
	r, err := b.Reserve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	b.reopen(t)
	if _, _, err := b.Claim(t.Context(), order(2, "web", 1)); !allocator.Waitable(err) || !strings.Contains(err.Error(), "reserved") {
		t.Errorf("got %v", err)
	}
	clash := gpu.Reservation{UID: 2, Login: "u2", Devices: []string{"1"}, From: b.now, Until: b.now.Add(90 * time.Minute)}
	if _, err = b.Reserve(t.Context(), clash); !errors.Is(err, problem.ErrConflict) || !strings.Contains(problem.OneLine(err), "from "+r.Until.Format(time.RFC3339)) {
		t.Errorf("got %v", err)
	}
	for name, bad := range map[string]gpu.Reservation{
		"no device":      {UID: 2, From: b.now},
		"unknown device": {UID: 2, Devices: []string{"7"}, From: b.now},
		"over":           {UID: 2, Devices: []string{"1.0"}, From: b.now.Add(-2), Until: b.now.Add(-1)},
		"backwards":      {UID: 2, Devices: []string{"1.0"}, From: b.now.Add(2), Until: b.now.Add(1)},
	} {
		if _, err := b.Reserve(t.Context(), bad); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	b.reserved = []gpu.Reservation{{UID: 5, Login: "u5", Devices: []string{"1.0"}, From: b.now.Add(-1), Source: "resource-limits.yaml:3"}}
	if got := b.Reservations(); len(got) != 2 || got[0].UID != 5 {
		t.Errorf("got %+v", got)
	}
	if got := b.Warnings(); len(got) != 1 || got[0].Claim != first.ID || got[0].Reservation.UID != 5 {
		t.Errorf("got %+v", got)
	}
	b.claim(t, 1, "mine", 1)
	if err := b.Unreserve(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if err := b.Unreserve(t.Context(), r.ID); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("a second time: %v", err)
	}
	b.reopen(t)
}

func TestAwaitGrant(t *testing.T) {
	b, first, _ := full(t)
	w := b.join(t, 1, 1)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := b.AwaitGrant(over, 1, w.ID); err != nil || got.Granted() {
		t.Errorf("nothing became free: %+v, %v", got, err)
	}
	if _, err := b.AwaitGrant(t.Context(), 2, w.ID); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("another's: %v", err)
	}
	got := make(chan gpu.Ticket)
	go func() {
		w, _ := b.AwaitGrant(t.Context(), 1, w.ID)
		got <- w
	}()
	forget(t, b, first)
	b.advance(t)
	if w := <-got; !w.Granted() {
		t.Errorf("got %+v", w)
	}
}
