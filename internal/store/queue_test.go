package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/store"
)

var joined = time.Date(2030, 5, 17, 12, 0, 0, 123, time.UTC)

func ticket(id string, devices ...string) gpu.Ticket {
	t := gpu.Ticket{ID: id, UID: 1001, Login: "alice", Request: gpu.Request{Count: 2}, JoinedAt: joined, Lasts: 90 * time.Minute}
	if len(devices) > 0 {
		t.Devices, t.Until = record("x", devices...).Devices, joined.Add(time.Minute)
	}
	return t
}

func wantTickets(t *testing.T, s *store.Store, want ...gpu.Ticket) {
	t.Helper()
	got, err := s.Tickets(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("tickets (-want +got): %v\n%s", err, diff)
	}
}

func TestAPlaceInTheQueueOutlivesTheProcess(t *testing.T) {
	path := file(t)
	s := open(t, path)
	waits, granted := ticket("a"), ticket("b", "GPU-0", "GPU-1")
	waits.Exact, waits.Claim = []string{"GPU-0"}, "claim"
	for _, w := range []gpu.Ticket{waits, ticket("b"), granted} {
		if err := s.SaveTicket(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	wantTickets(t, s, waits, granted)
	if err := s.DeleteTicket(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteTicket(t.Context(), "b"); err != nil {
		t.Errorf("what isn't there: %v", err)
	}
	wantTickets(t, s, waits)
	if err := s.SaveTicket(t.Context(), ticket("c", "GPU-0")); err != nil {
		t.Errorf("its devices weren't given back: %v", err)
	}
}

func TestADeviceIsHeldOrKeptNeverBoth(t *testing.T) {
	s := open(t, file(t))
	if err := s.SaveTicket(t.Context(), ticket("kept", "GPU-0")); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(t.Context(), record("held", "GPU-1")); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"a claim of what is kept":              s.Save(t.Context(), record("c", "GPU-0")),
		"a ticket of what is held":             s.SaveTicket(t.Context(), ticket("t", "GPU-1")),
		"a ticket of what is kept for another": s.SaveTicket(t.Context(), ticket("t", "GPU-0")),
	} {
		if !errors.Is(err, problem.ErrConflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantTickets(t, s, ticket("kept", "GPU-0"))
	released := record("r", "GPU-0")
	released.State = gpu.Released
	if err := s.Save(t.Context(), released); err != nil {
		t.Errorf("a claim that only remembers it: %v", err)
	}
}

func TestRedeemTakesWhatWasKeptOrLeavesAllAsItWas(t *testing.T) {
	s := open(t, file(t))
	for id, device := range map[string]string{"mine": "GPU-0", "other": "GPU-1"} {
		if err := s.SaveTicket(t.Context(), ticket(id, device)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Redeem(t.Context(), record("c", "GPU-1"), "mine"); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("what is kept for another: %v", err)
	}
	wantTickets(t, s, ticket("mine", "GPU-0"), ticket("other", "GPU-1"))
	if err := s.Redeem(t.Context(), record("c", "GPU-0"), "mine"); err != nil {
		t.Fatal(err)
	}
	wantTickets(t, s, ticket("other", "GPU-1"))
	wantRecords(t, s, record("c", "GPU-0"))
}

func TestUses(t *testing.T) {
	s := open(t, file(t))
	use := gpu.Use{Claim: "c", UID: 7, Share: quantity.FullGPU, From: joined, Until: joined.Add(time.Hour)}
	old := gpu.Use{Claim: "o", UID: 7, Share: 1, From: joined.Add(-time.Hour), Until: joined}
	early := use
	early.Until = joined.Add(time.Minute)
	for _, u := range []gpu.Use{old, early, use} {
		if err := s.SaveUse(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		got, err := s.Uses(t.Context(), joined)
		if diff := cmp.Diff([]gpu.Use{use}, got); diff != "" || err != nil {
			t.Errorf("uses (-want +got): %v\n%s", err, diff)
		}
	}
	if got, err := s.Uses(t.Context(), joined.Add(-time.Hour)); len(got) != 1 || err != nil {
		t.Errorf("what was too old was kept: %v, %v", got, err)
	}
}

func TestReservations(t *testing.T) {
	path := file(t)
	s := open(t, path)
	r := gpu.Reservation{
		ID: "r", UID: 7, Login: "bob", Devices: []string{"0", "1.2"}, From: joined, Until: joined.Add(time.Hour),
		Reason: "the exam", Source: "admin",
	}
	endless := gpu.Reservation{ID: "s", UID: 7, Login: "bob", Devices: []string{"1"}, From: joined}
	for _, r := range []gpu.Reservation{endless, r} {
		if err := s.SaveReservation(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveReservation(t.Context(), r); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("a second one of its id: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	got, err := s.Reservations(t.Context())
	if diff := cmp.Diff([]gpu.Reservation{r, endless}, got); diff != "" || err != nil {
		t.Errorf("reservations (-want +got): %v\n%s", err, diff)
	}
	if err := s.DeleteReservation(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.Reservations(t.Context()); len(got) != 1 {
		t.Errorf("left: %v", got)
	}
}

func TestWhatPeopleWereToldOutlivesTheProcessWhileItIsNews(t *testing.T) {
	path := file(t)
	s := open(t, path)
	end := joined.Add(time.Hour)
	for _, by := range []gpu.Way{gpu.OnTerminal, gpu.OnTerminal | gpu.ByMail} {
		if err := s.SaveTold(t.Context(), "kept a", gpu.Told{Ways: by, Over: end}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveTold(t.Context(), "kept b", gpu.Told{Ways: gpu.ByMail, Over: end.Add(1)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	want := map[string]gpu.Told{"kept a": {Ways: gpu.OnTerminal | gpu.ByMail, Over: end}, "kept b": {Ways: gpu.ByMail, Over: end.Add(1)}}
	got, err := s.Told(t.Context(), joined)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("told (-want +got): %v\n%s", err, diff)
	}
	if got, err := s.Told(t.Context(), end); err != nil || len(got) != 1 || got["kept b"].Ways != gpu.ByMail {
		t.Errorf("what is over: %v, %v", got, err)
	}
}
