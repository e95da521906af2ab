package api_test

import (
	"testing"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

func (l *lab) govern() {
	l.ledger.Govern(allocator.Site{
		Standing: func(uid int) (gpu.Standing, error) { return allocator.StandingOf(l.limits(people()[uid])), nil },
		Reserved: func() []gpu.Reservation { return nil }, Hold: func() time.Duration { return time.Minute },
	})
}

func TestAPlaceInTheQueueIsItsOwners(t *testing.T) {
	l := newLab(t)
	l.govern()
	l.must(t, alice, "POST", "/v1/containers", `{"name": "web", "gpus": 1}`, nil)
	var mine apitype.QueuePlace
	l.must(t, admin, "POST", "/v1/queue?user=bob", `{"gpus": 1}`, &mine)
	if mine.Position != 1 || mine.ID == "" || mine.User != "bob" {
		t.Fatalf("got %+v", mine)
	}
	var seen []apitype.QueuePlace
	l.must(t, alice, "GET", "/v1/queue", "", &seen)
	if len(seen) != 1 || seen[0].ID != "" || seen[0].Own || seen[0].User != "bob" {
		t.Errorf("alice sees %+v", seen)
	}
	wantKind(t, l.ask(t, alice, "GET", "/v1/queue/"+mine.ID, "", nil), problem.ErrNotFound)
	wantKind(t, l.ask(t, alice, "DELETE", "/v1/queue/"+mine.ID, "", nil), problem.ErrNotFound)
	wantKind(t, l.ask(t, alice, "POST", "/v1/queue", `{"gpus": 1}`, nil), problem.ErrLimit)
	wantKind(t, l.ask(t, alice, "POST", "/v1/queue", `{"container": "none"}`, nil), problem.ErrNotFound)
	l.must(t, admin, "DELETE", "/v1/queue/"+mine.ID+"?user=bob", "", nil)
	if l.must(t, alice, "GET", "/v1/queue", "", &seen); len(seen) > 0 {
		t.Errorf("left %+v", seen)
	}
}

func TestReservationsWarnWhoHoldsADevice(t *testing.T) {
	l := newLab(t)
	l.govern()
	l.must(t, alice, "POST", "/v1/containers", `{"name": "web", "gpus": 1}`, nil)
	var made apitype.Reservation
	l.must(t, admin, "POST", "/v1/reservations", `{"user": "bob", "devices": ["0"], "until": "2999-01-01T00:00:00Z", "reason": "exam"}`, &made)
	var all []apitype.Reservation
	l.must(t, alice, "GET", "/v1/reservations", "", &all)
	if len(all) != 1 || all[0].Reason != "exam" || len(all[0].Holders) != 1 || all[0].Holders[0] != "alice on 0" {
		t.Errorf("got %+v", all)
	}
	var containers []apitype.Container
	l.must(t, alice, "GET", "/v1/containers", "", &containers)
	if len(containers) != 1 || containers[0].ReservedFor != "bob" || containers[0].ReservedFrom == nil {
		t.Errorf("got %+v", containers)
	}
	wantKind(t, l.ask(t, admin, "POST", "/v1/reservations", `{"user": "alice", "devices": ["0"]}`, nil), problem.ErrConflict)
	wantKind(t, l.ask(t, admin, "POST", "/v1/reservations", `{"user": "nobody", "devices": ["0"]}`, nil), problem.ErrNotFound)
	l.must(t, admin, "DELETE", "/v1/reservations/"+made.ID, "", nil)
	wantKind(t, l.ask(t, admin, "DELETE", "/v1/reservations/"+made.ID, "", nil), problem.ErrNotFound)
}
