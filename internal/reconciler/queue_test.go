package reconciler_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/gpu"
)

// words are what people were told, from within the reconciler.
type words struct {
	mu   sync.Mutex
	said []string
}

func (w *words) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *words) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.said)
}

func TestWhoseTurnItIsIsToldAndKeptForAWhile(t *testing.T) {
	var said, mailed words
	var terminals, hook atomic.Int32
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
				said.add(text)
			}
			return int(terminals.Load()), nil
		}
		s.Mail = func(login, subject, text string) bool {
			if login != "bob" || !strings.HasPrefix(subject, "GPU 0 is kept for you until") || !strings.Contains(text, "ds01 container deploy") {
				t.Errorf("mail to %s: %s: %s", login, subject, text)
			}
			if hook.Load() > 0 {
				mailed.add(text)
			}
			return hook.Load() > 0
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
		bubble.Wait()
		if got, err := s.ledger.Ticket(1002, w.ID); err != nil || !got.Granted() {
			t.Fatalf("got %+v, %v", got, err)
		}
		hook.Store(1)
		time.Sleep(time.Minute)
		bubble.Wait()
		if len(mailed.all()) != 1 {
			t.Errorf("mailed %q", mailed.all())
		}
		terminals.Store(2)
		time.Sleep(time.Minute)
		bubble.Wait()
		if len(said.all()) != 1 || len(mailed.all()) != 1 || strings.Contains(said.all()[0], "still") {
			t.Errorf("told %q, mailed %q", said.all(), mailed.all())
		}
		time.Sleep(6*time.Minute + 10*time.Second)
		bubble.Wait()
		if len(said.all()) != 2 || len(mailed.all()) != 2 || !strings.Contains(said.all()[1], "still your turn") || !strings.Contains(mailed.all()[1], "goes to who is next") {
			t.Errorf("before it is lost: told %q, mailed %q", said.all(), mailed.all())
		}
		time.Sleep(3 * time.Minute)
		bubble.Wait()
		if len(s.ledger.Queue()) > 0 {
			t.Error("kept for longer than the hold")
		}
	})
}

func TestWhoHoldsWhatIsReservedForAnotherIsTold(t *testing.T) {
	var said, mailed words
	prepare := func(t *testing.T, s *scene) {
		t.Helper()
		exam := gpu.Reservation{UID: 1003, Login: "carol", Devices: []string{"0"}, From: time.Now().Add(49 * time.Hour), Reason: "exam", Source: "resource-limits.yaml:7"}
		s.ledger.Govern(allocator.Site{
			Standing: func(int) (gpu.Standing, error) { return allocator.StandingOf(bound()), nil },
			Reserved: func() []gpu.Reservation { return []gpu.Reservation{exam} }, Hold: func() time.Duration { return time.Minute },
		})
		s.Tell = func(uid int, text string) (int, error) {
			said.add(fmt.Sprint(uid, " ", text))
			return 1, nil
		}
		s.Mail = func(login, subject, text string) bool {
			mailed.add(login + " " + subject + "/" + text)
			return true
		}
	}
	inBubble(t, prepare, func(t *testing.T, s *scene) {
		r, err := s.create(1001, "train")
		if err == nil {
			err = s.launcher.Start(t.Context(), r.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Minute)
		bubble.Wait()
		if len(said.all())+len(mailed.all()) > 0 {
			t.Errorf("told %q, mailed %q", said.all(), mailed.all())
		}
		time.Sleep(time.Hour)
		bubble.Wait()
		if len(said.all()) != 1 || len(mailed.all()) != 1 || !strings.Contains(said.all()[0], "1001 ds01: GPU 0 of your container train is reserved for carol from") ||
			!strings.Contains(mailed.all()[0], "(exam)") || !strings.Contains(mailed.all()[0], "nothing ends your work") {
			t.Errorf("told %q, mailed %q", said.all(), mailed.all())
		}
	})
}
