package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/cli"
	"ds01.dev/ds01/internal/client/clienttest"
	"ds01.dev/ds01/internal/problem"
)

func TestACardIsCutByForm(t *testing.T) {
	for name, c := range map[string]struct {
		typed []string // the card, the layout, perhaps the instances
		want  string
	}{
		"a way to fill it":  {[]string{"1\r", "2\r"}, "devices: [0]\n      mig-enabled: true\n      mig-devices:\n        \"1g.10gb\": 7\n"},
		"whole":             {[]string{"2\r", "\r"}, "devices: [2]\n      mig-enabled: false\n"},
		"of one's own":      {[]string{"1\r", "4\r", "2x1g.10gb,3g.40gb\r"}, "        \"1g.10gb\": 2\n        \"3g.40gb\": 1\n"},
		"MIG with nothing":  {[]string{"2\r", "3\r", "\r"}, "devices: [2]\n      mig-enabled: true\n      mig-devices: {}\n"},
		"a wrong word once": {[]string{"1\r", "4\r", "full\r", "3g.40gb\r"}, "        \"3g.40gb\": 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := newScreen(t), world(t.TempDir())
			ended := s.begin(t.Context(), t, f, nil, "ds01", "gpu", "mig", "apply")
			s.shows(t, "2) GPU 2, A100 80GB: 2 x 1g.10gb")
			for i, text := range c.typed {
				s.typing(t, []string{"Choose [1]: ", "Choose [1]: ", "3g.40gb [none]: ", "or none"}[i], text)
			}
			s.shows(t, "create 3g.40gb at 0")
			s.typing(t, "Do this (2 steps)? (yes or no) [no]: ", "yes\r")
			s.shows(t, "2/2")
			if code := ended(); code != 0 {
				t.Errorf("ended with %d", code)
			}
			if sent := f.Layouts(); len(sent) != 2 || sent[0].YAML != sent[1].YAML || sent[1].Seen != "d1" || !strings.Contains(sent[0].YAML, c.want) {
				t.Errorf("sent %+v", sent)
			}
		})
	}
}

func TestWithoutAYesNothingIsCut(t *testing.T) {
	s, f := newScreen(t), world(t.TempDir())
	ended := s.begin(t.Context(), t, f, nil, "ds01", "gpu", "mig", "apply", layoutFile(t))
	s.typing(t, "Do this (2 steps)? (yes or no) [no]: ", "\r")
	if code := ended(); code != 1 || len(f.Layouts()) != 1 {
		t.Errorf("ended with %d, %+v", code, f.Requests())
	}
}

func layoutFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "layout.yaml")
	if err := os.WriteFile(path, []byte("version: v1\nmig-configs: {a: [{devices: all, mig-enabled: false}]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatIsInTheWayIsARefusal(t *testing.T) {
	f := world(t.TempDir())
	doc := problem.Describe(&problem.Error{
		What: "MIG layout not applied, nothing was touched", Why: problem.Because(problem.ErrConflict, "2.1 (1g.10gb at 5) is held by bob (web)"), Next: "Wait.",
	})
	f.MIGPlan.Refusal, f.MIGPlan.Steps = &doc, 0
	code, out, errs := run(t.Context(), t, f, "ds01", "gpu", "mig", "apply", layoutFile(t), "--yes")
	if code != 6 || !strings.Contains(out, "GPU 2, A100 80GB: 2 steps") || !strings.Contains(errs, "is held by bob (web)") {
		t.Errorf("ended with %d, %s, %s", code, out, errs)
	}
	if len(f.Layouts()) != 1 {
		t.Errorf("it was asked to be applied: %v", f.Requests())
	}
	code, out, _ = run(t.Context(), t, f, "ds01", "gpu", "mig", "plan", layoutFile(t))
	if code != 0 || !strings.Contains(out, "It can't be applied now") {
		t.Errorf("plan ended with %d, %s", code, out)
	}
}

func TestACardThatSomebodyHoldsCanBeDrained(t *testing.T) {
	for answer, drained := range map[string]bool{"yes\r": true, "\r": false} {
		s, f := newScreen(t), world(t.TempDir())
		doc := problem.Describe(&problem.Error{What: "MIG layout not applied", Why: problem.Because(problem.ErrConflict, "2.1 is held by bob (web)")})
		f.MIGPlan.Refusal, f.MIGPlan.Steps = &doc, 0
		f.MIGPlan.Cards[2].UUID = "MIG-2-0"
		f.MIGPlan.Cards[2].InTheWay = []apitype.MIGHindrance{{Slot: "2.1", User: "bob", Container: "web", Why: "2.1 is held by bob (web)", Next: "Wait."}}
		ended := s.begin(t.Context(), t, f, nil, "ds01", "gpu", "mig", "apply", layoutFile(t))
		s.typing(t, "Keep others off GPU 2, so that it becomes free? (yes or no) [no]: ", answer)
		if code := ended(); code != 6 {
			t.Errorf("ended with %d", code)
		}
		if got := slices.Contains(f.Requests(), "POST /v1/gpus/MIG-2-0/drain"); got != drained || len(f.Layouts()) != 1 {
			t.Errorf("%q: %v", answer, f.Requests())
		}
	}
}

func TestACardThatIsDrainedKeepsItsReason(t *testing.T) {
	s, f := newScreen(t), world(t.TempDir())
	doc := problem.Describe(&problem.Error{What: "MIG layout not applied", Why: problem.Because(problem.ErrConflict, "2.1 is held by bob (web)")})
	f.MIGPlan.Refusal, f.MIGPlan.Steps = &doc, 0
	f.MIGPlan.Cards[2].InTheWay = []apitype.MIGHindrance{{Slot: "2.1", User: "bob", Container: "web", Why: "2.1 is held by bob (web)", Next: "Wait."}}
	f.GPUs[3].Problem = "drained: a fan (by root)"
	ended := s.begin(t.Context(), t, f, nil, "ds01", "gpu", "mig", "apply", layoutFile(t))
	if code := ended(); code != 6 || strings.Contains(strings.Join(f.Requests(), " "), "drain") {
		t.Errorf("ended with %d, %v", code, f.Requests())
	}
}

func TestThereMayBeNothingToDo(t *testing.T) {
	f := world(t.TempDir())
	f.MIGPlan = apitype.MIGPlan{Cards: []apitype.MIGCardPlan{{Card: 1, Model: "A100"}}}
	for verb, want := range map[string]string{"plan": "There is nothing to do.", "apply": "The cards are as declared.", "assert": "GPU 1, A100: as declared"} {
		code, out, errs := run(t.Context(), t, f, "ds01", "gpu", "mig", verb, layoutFile(t))
		if code != 0 || !strings.Contains(out, want) || errs != "" {
			t.Errorf("%s ended with %d, %s, %s", verb, code, out, errs)
		}
	}
}

func TestAStepThatFailsTellsWhatStaysDone(t *testing.T) {
	f := world(t.TempDir())
	f.Broken = &problem.Error{What: "Cards not changed: create 3g.40gb at 0 of card 2", Why: problem.Because(problem.ErrConflict, "no room"), Next: "Try again."}
	code, out, errs := run(t.Context(), t, f, "ds01", "gpu", "mig", "apply", layoutFile(t), "--yes")
	if code != 6 || !strings.Contains(out, "1/2") || !strings.Contains(errs, "1 of 2 steps done, and they stay done.") || !strings.Contains(errs, "no room") {
		t.Errorf("ended with %d, %s, %s", code, out, errs)
	}
}

func TestWhoLeavesIsToldThatItGoesOn(t *testing.T) {
	f := world(t.TempDir())
	f.Stalls = make(chan struct{})
	ctx, leave := context.WithCancel(t.Context())
	out := &watched{want: "1/2", seen: leave}
	code, errs := runTo(ctx, t, f, out, "ds01", "gpu", "mig", "apply", layoutFile(t), "--yes")
	close(f.Stalls)
	if code != 130 || !strings.Contains(errs, "ds01 goes on without you: 1 of 2 steps done when you left.") {
		t.Errorf("ended with %d, %s", code, errs)
	}
}

// watched is an output that tells once a text was written.
type watched struct {
	locked
	want string
	seen func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.locked.Write(p)
	if strings.Contains(w.String(), w.want) {
		w.seen()
	}
	return n, err
}

// runTo is run with an output of one's own.
func runTo(ctx context.Context, t *testing.T, f *clienttest.Fake, out *watched, args ...string) (code int, errs string) {
	t.Helper()
	var stderr locked
	environment := map[string]string{"DS01_HOST": clienttest.Start(t, f)}
	code = cli.Run(ctx, args, cli.Streams{In: strings.NewReader(""), Out: out, Err: &stderr},
		func(name string) string { return environment[name] }, entry())
	return code, stderr.String()
}
