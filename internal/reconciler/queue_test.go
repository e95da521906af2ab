package reconciler_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/gpu"
)

func TestWhoseTurnItIsIsToldOnceAndKeptForAWhile(t *testing.T) {
	var said []string
	var terminals atomic.Int32
	prepare := func(t *testing.T, s *scene) {
		t.Helper()
		s.ledger.Govern(allocator.Site{
			Standing: func(int) (gpu.Standing, error) { return allocator.StandingOf(bound()), nil },
			Reserved: func() []gpu.Reservation { return nil }, Hold: func() time.Duration { return 10 * time.Minute },
		})
		s.Tell = func(uid int, text string) (int, error) {
			if uid != 1002 || !strings.Contains(text, "GPU 0 is kept for you until") {
				t.Errorf("told %d: %s", uid, text)
			}
			if terminals.Load() > 0 {
				said = append(said, text)
			}
			return int(terminals.Load()), nil
		}
	}
	inBubble(t, prepare, func(t *testing.T, s *scene) {
		r, err := s.create(1001, "a")
		if err != nil {
			t.Fatal(err)
		}
		w, err := s.ledger.Join(context.Background(), allocator.Wish{
			Account: account.Account{UID: 1002, Name: "bob"}, Limits: bound(), Request: gpu.Request{Count: 1},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.engine.Remove(context.Background(), r.ContainerID, true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got, err := s.ledger.Ticket(1002, w.ID); err != nil || !got.Granted() || got.Told {
			t.Fatalf("got %+v, %v", got, err)
		}
		terminals.Store(2)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, _ := s.ledger.Ticket(1002, w.ID); len(said) != 1 || !got.Told {
			t.Errorf("told %q, ticket %+v", said, got)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if len(s.ledger.Queue()) > 0 {
			t.Error("kept for longer than the hold")
		}
	})
}
