package wizard_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/wizard"
)

func TestDeployFormAsksForWhatIsOpen(t *testing.T) {
	open := wizard.DeployForm{DefaultImage: "alpine:3", AskGPUs: true}
	for name, c := range map[string]struct {
		start wizard.DeployForm
		typed string
		want  wizard.Deploy
		says  string
	}{
		"empty lines take the defaults": {open, "web\n\n\n", wizard.Deploy{Name: "web", Image: "alpine:3", GPUs: "1"}, "Image [alpine:3]"},
		"the second option is CPU only": {open, "web\n\n2\n", wizard.Deploy{Name: "web", Image: "alpine:3"}, "2) none, CPU only"},
		"a bad name is asked again":     {open, "my web\nnotes\npytorch\n1\n", wizard.Deploy{Name: "notes", Image: "pytorch", GPUs: "1"}, `"my web" can't be a name`},
		"a missing name is asked again": {open, "\nweb\n\n\n", wizard.Deploy{Name: "web", Image: "alpine:3", GPUs: "1"}, "an answer is needed"},
		"a bad number is asked again":   {open, "web\n\n3\n0\n\n", wizard.Deploy{Name: "web", Image: "alpine:3", GPUs: "1"}, "a number from 1 to 2"},
		"an image is needed where none is configured": {
			wizard.DeployForm{AskGPUs: true}, "web\n\nalpine\n\n", wizard.Deploy{Name: "web", Image: "alpine", GPUs: "1"}, "Image: ",
		},
		"what is set is not asked": {
			wizard.DeployForm{Image: "alpine"}, "web\n", wizard.Deploy{Name: "web", Image: "alpine"}, "Name",
		},
		"a last line without an end counts": {wizard.DeployForm{Image: "alpine"}, "web", wizard.Deploy{Name: "web", Image: "alpine"}, "Name"},
	} {
		t.Run(name, func(t *testing.T) {
			var shown strings.Builder
			got, err := wizard.AskDeploy(wizard.NewForm(strings.NewReader(c.typed), &shown), c.start)
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
			if !strings.Contains(shown.String(), c.says) {
				t.Errorf("%q does not say %q", shown.String(), c.says)
			}
		})
	}
}

func TestThePageOfGPUs(t *testing.T) {
	page := wizard.GPUPage{Most: 2, Usage: "you hold 1 of 4 devices", Kinds: []wizard.GPUKind{
		{Name: "1g.10gb", Memory: "9.6GiB", Share: "1/7", Free: 3, Total: 4, Most: 2},
		{Name: "full", Memory: "80GiB", Share: "1", Free: 1, Total: 1, Blocked: "allow_full_gpu is false"},
	}}
	for name, c := range map[string]struct{ typed, want, says string }{
		"one is the default":               {"\n", "1", "GPU (you hold 1 of 4 devices)"},
		"none":                             {"2\n", "", "2) none, CPU only"},
		"of any kind":                      {"3\n\n\n", "1", "1) any, the smallest first"},
		"two of any kind":                  {"3\n1\n2\n", "2", "How many (any) [1]: "},
		"more of any kind than can be had": {"3\n1\n3\n2\n", "2", "a number from 1 to 2"},
		"one of a kind":                    {"3\n2\n\n", "1x1g.10gb", "2) 1g.10gb: 9.6GiB each, 1/7 of your share; 3 of 4 free, up to 2 for you now"},
		"two of a kind":                    {"3\n2\n2\n", "2x1g.10gb", "How many (1g.10gb) [1]: "},
		"more than can be had":             {"3\n2\n3\n1\n", "1x1g.10gb", "a number from 1 to 2"},
		"less than one":                    {"3\n2\n0\nx\n1\n", "1x1g.10gb", "a number from 1 to 2"},
		"a kind that can't be had":         {"3\n3\n2\n\n", "1x1g.10gb", "You can't have one now: allow_full_gpu is false"},
		"what can't be had is told of":     {"3\n1\n1\n", "1", "3) full: 80GiB each, 1 of your share; 1 of 1 free, none for you now"},
	} {
		t.Run(name, func(t *testing.T) {
			var shown strings.Builder
			explained := false
			got, err := wizard.AskDeploy(wizard.NewForm(strings.NewReader("web\n"+c.typed), &shown), wizard.DeployForm{
				Image: "alpine", AskGPUs: true, GPUs: page, Explain: func() error { explained = true; return nil },
			})
			if err != nil || got.GPUs != c.want || !strings.Contains(shown.String(), c.says) || !explained {
				t.Errorf("got %+v, %v, shown %q", got, err, shown.String())
			}
		})
	}
}

func TestTheEndOfInputIsAProblemThatNamesTheFlag(t *testing.T) {
	for typed, flag := range map[string]string{"": "deploy NAME", "web\n": "--image", "web\nx\n": "--cpu-only"} {
		_, err := wizard.AskDeploy(wizard.NewForm(strings.NewReader(typed), io.Discard), wizard.DeployForm{AskGPUs: true})
		if !errors.Is(err, problem.ErrInvalid) || !strings.Contains(strings.Join(problem.Lines(err), "\n"), flag) {
			t.Errorf("after %q: %v, want an invalid request that names %s", typed, err, flag)
		}
	}
}

func TestConfirmTakesOnlyYesOrNo(t *testing.T) {
	for typed, want := range map[string]bool{"y\n": true, "YES\n": true, "\n": false, "n\n": false, "No\n": false, "sure\nyes\n": true} {
		got, err := wizard.NewForm(strings.NewReader(typed), io.Discard).Confirm("Remove web?", "--yes")
		if err != nil || got != want {
			t.Errorf("%q: got %t, %v, want %t", typed, got, err, want)
		}
	}
}

func TestAFormLeavesWhatFollowsItsLine(t *testing.T) {
	in := strings.NewReader("\nrest")
	if err := wizard.NewForm(in, io.Discard).Pause("Press Enter"); err != nil {
		t.Fatal(err)
	}
	if rest, _ := io.ReadAll(in); string(rest) != "rest" {
		t.Errorf("left %q", rest)
	}
	if err := wizard.NewForm(in, io.Discard).Pause("Press Enter"); err != nil {
		t.Errorf("at the end of the input: %v, want nothing", err)
	}
}

func TestABrokenInputIsReportedAsItIs(t *testing.T) {
	broken := errors.New("unplugged")
	reader, writer := io.Pipe()
	writer.CloseWithError(broken)
	if _, err := wizard.NewForm(reader, io.Discard).Confirm("x", "y"); !errors.Is(err, broken) {
		t.Errorf("got %v, want %v", err, broken)
	}
}
