package reconciler_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/gpu"
)

func TestWhoHoldsADeviceThatIsNotGrantedAnyMoreIsToldOnce(t *testing.T) {
	var said words
	var terminals, mails atomic.Int32
	prepare := func(t *testing.T, s *scene) {
		t.Helper()
		s.Tell = func(uid int, text string) (int, error) {
			if uid != 1 || !strings.HasPrefix(text, "ds01: web holds GPU 0, which isn't granted any more: ") {
				t.Errorf("told %d: %s", uid, text)
			}
			if terminals.Load() > 0 {
				said.add(text)
			}
			return int(terminals.Load()), nil
		}
	}
	inBubble(t, func(t *testing.T, s *scene) {
		t.Helper()
		prepare(t, s)
		s.Mail = func(login, subject, text string) bool {
			if subject != "web holds GPU 0, which isn't granted any more" || !strings.HasPrefix(text, subject+": drained") {
				t.Errorf("mail to %s: %s: %s", login, subject, text)
			}
			mails.Add(1)
			return true
		}
	}, func(t *testing.T, s *scene) {
		r := s.running(t)
		time.Sleep(time.Minute)
		if s.wrote("warn") {
			t.Errorf("warned of a healthy device: %+v", s.recorded)
		}
		s.broken.Store("drained: by root")
		time.Sleep(2 * time.Minute)
		bubble.Wait()
		if len(said.all()) > 0 || !s.wrote("warn") {
			t.Errorf("without a terminal: told %q, written down %+v", said.all(), s.recorded)
		}
		terminals.Store(1)
		time.Sleep(2 * time.Minute)
		bubble.Wait()
		if mails.Load() != 1 {
			t.Errorf("%d mails", mails.Load())
		}
		if len(said.all()) != 1 || !strings.Contains(said.all()[0], "drained: by root") {
			t.Errorf("told %q", said.all())
		}
		s.want(t, r.ID, gpu.Running, time.Time{}) // nothing is ended
		s.broken.Store("")
		time.Sleep(time.Minute)
		s.broken.Store("drained: by root")
		time.Sleep(time.Minute)
		bubble.Wait()
		if len(said.all()) != 2 {
			t.Errorf("drained once more: told %q", said.all())
		}
	})
}
