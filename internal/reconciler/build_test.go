package reconciler_test

import (
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
)

func TestAStepOfABuildIsLeftAloneAndNothingElseIs(t *testing.T) {
	inBubble(t, nil, func(t *testing.T, s *scene) {
		const step = `{"Image":"busybox","Labels":{"aime.mlc.DS01_UID":"1","aime.mlc.DS01_CLAIM":""},"HostConfig":{"CgroupParent":"/ds01/u1"}}`
		who, _ := silent{}.Lookup(1)
		_, done, err := s.launcher.Build(t.Context(), who, admission.NetworkAsk{None: true})
		if err != nil {
			t.Fatal(err)
		}
		runs := s.past(t, "step", step)
		bare := s.past(t, "trigger", `{"Image":"busybox","HostConfig":{"CgroupParent":"/ds01/u1"}}`)
		strange := map[string]string{
			"device":   s.past(t, "device", `{"Image":"busybox","HostConfig":{"CgroupParent":"/ds01/u1"}}`),
			"claimed":  s.past(t, "claimed", `{"Image":"busybox","Labels":{"aime.mlc.DS01_CLAIM":"0000000000000000"},"HostConfig":{"CgroupParent":"/ds01/u1"}}`),
			"nowhere":  s.past(t, "nowhere", `{"Image":"busybox"}`),
			"another":  s.past(t, "another", `{"Image":"busybox","HostConfig":{"CgroupParent":"/ds01/u2"}}`),
			"shielded": s.past(t, "shielded", `{"Image":"busybox","HostConfig":{"CgroupParent":"/"}}`),
		}
		s.engine.Hint(strange["device"], gpu.Hints{Rules: []string{"c 120:* rw"}})
		s.engine.Hint(runs, gpu.Hints{Visible: []string{"all"}}) // a variable of its image, which means nothing to runc
		quarantined := func(when string, more ...string) {
			t.Helper()
			bubble.Wait()
			got := map[string]bool{}
			for _, o := range s.Quarantined() {
				got[o.ID] = true
			}
			for name, id := range strange {
				if !got[id] {
					t.Errorf("%s: %s isn't quarantined", when, name)
				}
			}
			if len(got) != len(strange)+len(more) {
				t.Errorf("%s: %d in quarantine: %v", when, len(got), got)
			}
		}
		time.Sleep(time.Minute) // what was hinted is seen at a glance
		quarantined("while it runs")

		done()
		time.Sleep(5 * time.Second)
		if _, err := s.engine.Inspect(t.Context(), runs); err != nil {
			t.Errorf("it was removed while the engine may still be at it: %v", err)
		}
		time.Sleep(time.Minute)
		quarantined("after its end", bare)
		if _, err := s.engine.Inspect(t.Context(), runs); err == nil {
			t.Error("what a build left is still there")
		}
		if !slices.ContainsFunc(s.recorded, func(e event.Event) bool { return e.Action == "discard" && e.Container == runs }) {
			t.Errorf("written down: %+v", s.recorded)
		}
	})
}
