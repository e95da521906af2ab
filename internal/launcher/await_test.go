package launcher_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

func TestACreateWaitsForItsTurn(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.Ledger.Govern(allocator.Site{
		Standing: func(int) (gpu.Standing, error) { return allocator.StandingOf(s.bound), nil },
		Reserved: func() []gpu.Reservation { return nil }, Hold: func() time.Duration { return time.Minute },
	})
	first := s.create(t, request())
	r := request()
	r.Account.UID, r.Account.Name, r.Name, r.Body.HostConfig.Binds = 1002, "bob", "b", nil
	s.who[1002] = r.Account
	_, _, refused := s.Create(t.Context(), r)
	if !allocator.Waitable(refused) {
		t.Fatalf("got %v", refused)
	}
	other := errors.New("another failure")
	if err := s.AwaitTurn(t.Context(), r, time.Minute, other); !errors.Is(err, other) {
		t.Errorf("waiting doesn't help against it: %v", err)
	}
	if err := s.AwaitTurn(t.Context(), r, 0, refused); !errors.Is(err, refused) {
		t.Errorf("without a wait: %v", err)
	}
	if err := s.AwaitTurn(t.Context(), r, time.Millisecond, refused); !errors.Is(err, problem.ErrExhausted) || !strings.Contains(err.Error(), "number 1 in the queue") {
		t.Errorf("after the wait: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.AwaitTurn(gone, r, time.Minute, refused); err == nil {
		t.Error("a client that hung up has its turn")
	}
	if left := s.Ledger.Queue(); len(left) > 0 {
		t.Fatalf("left in the queue: %+v", left)
	}
	turn := make(chan error)
	go func() { turn <- s.AwaitTurn(t.Context(), r, time.Minute, refused) }()
	for len(s.Ledger.Queue()) == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := s.Ledger.Forget(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ledger.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-turn; err != nil {
		t.Fatal(err)
	}
	if got := s.create(t, r); len(got.Devices) != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestAStartWaitsForItsTurn(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.Ledger.Govern(allocator.Site{
		Standing: func(int) (gpu.Standing, error) { return allocator.StandingOf(s.bound), nil },
		Reserved: func() []gpu.Reservation { return nil }, Hold: func() time.Duration { return time.Minute },
	})
	stopped := s.create(t, request())
	if err := s.AwaitStart(t.Context(), stopped.ID, time.Minute); err != nil {
		t.Errorf("it has its device: %v", err)
	}
	if err := s.Ledger.Update(t.Context(), stopped.ID, func(c *container.Record) { c.State = gpu.Released }); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitStart(t.Context(), stopped.ID, time.Minute); err != nil {
		t.Errorf("its device is free: %v", err)
	}
	r := request()
	r.Account.UID, r.Account.Name, r.Name, r.Body.HostConfig.Binds = 1002, "bob", "b", nil
	s.who[1002] = r.Account
	holder := s.create(t, r)
	if err := s.AwaitStart(t.Context(), stopped.ID, 0); err != nil {
		t.Errorf("without a wait: %v", err)
	}
	if err := s.AwaitStart(t.Context(), stopped.ID, time.Millisecond); !errors.Is(err, problem.ErrExhausted) || !strings.Contains(err.Error(), "number 1 in the queue") {
		t.Errorf("after the wait: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.AwaitStart(gone, stopped.ID, time.Minute); err == nil {
		t.Error("a client that hung up has its turn")
	}
	if left := s.Ledger.Queue(); len(left) > 0 {
		t.Fatalf("left in the queue: %+v", left)
	}
	w := allocator.Wish{Account: s.who[stopped.UID], Limits: s.bound, Claim: stopped.ID}
	if _, err := s.Ledger.Join(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitStart(t.Context(), stopped.ID, time.Millisecond); !errors.Is(err, problem.ErrExhausted) {
		t.Errorf("after the wait at a place of its owner's: %v", err)
	}
	if left := s.Ledger.Queue(); len(left) != 1 {
		t.Fatalf("its owner's place is given up: %+v", left)
	}
	turn := make(chan error)
	go func() { turn <- s.AwaitStart(t.Context(), stopped.ID, time.Minute) }()
	if err := s.Ledger.Forget(t.Context(), holder.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ledger.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-turn; err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), stopped.ID); err != nil {
		t.Error(err)
	}
	if left := s.Ledger.Queue(); len(left) > 0 {
		t.Errorf("left in the queue: %+v", left)
	}
}
