package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client/clienttest"
)

func TestAShellOnATerminalIsRawResizesAndIsLeftAsItWas(t *testing.T) {
	s := newScreen(t)
	before := s.settings(t)
	f := world(t.TempDir())
	inside := make(chan unix.Termios, 1)
	f.Run = func(p *clienttest.Process) int {
		if size := <-p.Sizes; size != [2]int{24, 80} {
			t.Errorf("the terminal begins with %v", size)
		}
		inside <- s.settings(t)
		s.resize(t, 50, 120)
		if err := unix.Kill(os.Getpid(), unix.SIGWINCH); err != nil {
			t.Error(err)
		}
		if size := <-p.Sizes; size != [2]int{50, 120} {
			t.Errorf("the terminal is resized to %v", size)
		}
		p.Sizes <- [2]int{50, 120} // for the shell
		return shell(p)
	}
	ended := s.begin(t.Context(), t, f, nil, "ds01", "container", "open", "train")
	s.typing(t, "50x120$ ", "\x03ls\r") // Ctrl-C is the container's, too
	s.shows(t, `you said "\x03ls"`)
	s.typing(t, "", "exit 7\r")
	if code := ended(); code != 7 {
		t.Errorf("ended with %d, want the shell's 7", code)
	}
	if now := <-inside; now.Lflag&(unix.ICANON|unix.ECHO) != 0 {
		t.Error("the terminal wasn't raw inside")
	}
	if s.settings(t) != before {
		t.Error("the terminal isn't as it was")
	}
}

func TestDeployAsksWhatIsOpenThenOpensAShellThenAsksWhatBecomesOfIt(t *testing.T) {
	for name, c := range map[string]struct{ answer, says, state string }{
		"keeping it is the default": {"\r", "web goes on", apitype.StateRunning},
		"it can be stopped":         {"2\r", "web is stopped", apitype.StateExited},
	} {
		t.Run(name, func(t *testing.T) {
			s, f := newScreen(t), world(t.TempDir())
			ended := s.begin(t.Context(), t, f, nil, "ds01", "container", "deploy")
			s.typing(t, "Name of the new container: ", "web\r")
			s.typing(t, "Image [alpine:3]: ", "\r")
			s.typing(t, "Choose [1]: ", "2\r")
			s.shows(t, "web is running.")
			s.typing(t, "24x80$ ", "exit 3\r")
			s.typing(t, "Choose [1]: ", c.answer)
			s.shows(t, c.says)
			if code := ended(); code != 3 {
				t.Errorf("ended with %d, want the shell's 3", code)
			}
			made := f.Containers()[2]
			if made.Image != "alpine:3" || len(made.GPUs) != 0 || made.State != c.state {
				t.Errorf("made %+v", made)
			}
		})
	}
}

func TestThePageOfGPUsShowsWhatIsFreeAndAsksForWhatIsChosen(t *testing.T) {
	s, f := newScreen(t), world(t.TempDir())
	ended := s.begin(t.Context(), t, f, nil, "ds01", "container", "create", "--guided")
	s.typing(t, "Press Enter to go on.", "\r")
	s.typing(t, "Name of the new container: ", "web\r")
	s.typing(t, "Image [alpine:3]: ", "\r")
	if shown := s.shows(t, "Press Enter to go on."); !strings.Contains(shown, "A GPU makes training fast") {
		t.Errorf("explained: %q", shown)
	}
	s.typing(t, "", "\r")
	s.shows(t, "GPU (you hold 1 of 2 devices)")
	s.typing(t, "Choose [1]: ", "3\r")
	s.shows(t, "2) 1g.10gb: 10GiB each, 1/7 of your share; 2 of 2 free, up to 1 for you now")
	s.typing(t, "Choose [1]: ", "3\r")
	s.shows(t, "You can't have one now: allow_full_gpu is false")
	s.typing(t, "Choose [1]: ", "2\r")
	s.typing(t, "How many (1g.10gb) [1]: ", "\r")
	s.shows(t, "web is created and holds GPU 2.0 (1g.10gb")
	if code := ended(); code != 0 {
		t.Errorf("ended with %d", code)
	}
}

func TestADeletionIsAskedAbout(t *testing.T) {
	for answer, want := range map[string]int{"yes\r": 0, "\r": 1} {
		s, f := newScreen(t), world(t.TempDir())
		ended := s.begin(t.Context(), t, f, nil, "ds01", "container", "remove", "old")
		s.typing(t, "Delete old? (yes or no) [no]: ", answer)
		if code := ended(); code != want {
			t.Errorf("%q: ended with %d, want %d", answer, code, want)
		}
		there := slices.ContainsFunc(f.Containers(), func(c apitype.Container) bool { return c.Name == "old" })
		if there == (want == 0) {
			t.Errorf("%q: the container is there: %t", answer, there)
		}
	}
}

func TestOneOfSeveralContainersIsChosen(t *testing.T) {
	s, f := newScreen(t), world(t.TempDir())
	ended := s.begin(t.Context(), t, f, nil, "container", "open")
	s.shows(t, "2) old, exited (137)")
	s.typing(t, "Choose [1]: ", "2\r")
	s.typing(t, "24x80$ ", "exit 0\r")
	if code := ended(); code != 0 || f.Containers()[1].State != apitype.StateRunning {
		t.Errorf("ended with %d, %+v", code, f.Containers()[1])
	}
}

func TestGuidedWaitsForEnter(t *testing.T) {
	s, f := newScreen(t), world(t.TempDir())
	ended := s.begin(t.Context(), t, f, nil, "ds01", "container", "list", "--guided")
	shown := s.shows(t, "Press Enter to go on.")
	if strings.Contains(shown, "NAME") || len(f.Requests()) > 0 {
		t.Errorf("it didn't wait: %q", shown)
	}
	s.typing(t, "", "\r")
	s.shows(t, "train")
	if code := ended(); code != 0 {
		t.Errorf("ended with %d", code)
	}
}

func TestAnInterruptedQuestionEndsWith130(t *testing.T) {
	s, f := newScreen(t), world(t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	ended := s.begin(ctx, t, f, nil, "ds01", "container", "remove", "old")
	s.shows(t, "Delete old?")
	interrupt()
	if code := ended(); code != 130 || len(f.Containers()) != 2 {
		t.Errorf("ended with %d and left %v", code, f.Containers())
	}
	s.shows(t, "Interrupted.")
}

func TestAWatchedPageComesAgainUntilCtrlC(t *testing.T) {
	s, f := newScreen(t), world(t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	ended := s.begin(ctx, t, f, nil, "ds01", "dashboard", "-w")
	s.shows(t, "\x1b[H\x1b[2J")
	s.shows(t, "\x1b[H\x1b[2J")
	interrupt()
	if code := ended(); code != 130 {
		t.Errorf("ended with %d", code)
	}
}

func TestStatsAreWatchedToo(t *testing.T) {
	s, f := newScreen(t), world(t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	ended := s.begin(ctx, t, f, nil, "ds01", "container", "stats", "--watch")
	s.shows(t, "150.0 %")
	interrupt()
	if code := ended(); code != 130 {
		t.Errorf("ended with %d", code)
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	for name, c := range map[string]struct {
		environment map[string]string
		colours     bool
	}{
		"a terminal has colours": {nil, true},
		"NO_COLOR is honoured":   {map[string]string{"NO_COLOR": "1"}, false},
		"a dumb terminal":        {map[string]string{"TERM": "dumb"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScreen(t)
			ended := s.begin(t.Context(), t, world(t.TempDir()), c.environment, "ds01", "user", "limits")
			if shown := s.shows(t, "LIMIT"); strings.Contains(shown, "\x1b[32m") != c.colours {
				t.Errorf("shown: %q", shown)
			}
			ended()
		})
	}
}

func TestTheMapOfTheGPUsIsColoured(t *testing.T) {
	s := newScreen(t)
	ended := s.begin(t.Context(), t, world(t.TempDir()), nil, "ds01", "gpu", "list")
	shown := s.shows(t, "SLOT")
	for _, want := range []string{"|\x1b[32m2.0 ...\x1b[0m|", "|\x1b[33m1 ###"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q lacks %q", shown, want)
		}
	}
	ended()
}

func TestAnAdminActsForSomebodyElse(t *testing.T) {
	f := world(t.TempDir())
	code, _, errs := run(t.Context(), t, f, "ds01", "container", "--user", "bob", "deploy", "web", "--background")
	if code != 0 {
		t.Fatal(errs)
	}
	want := []string{"POST /v1/containers?user=bob", "POST /v1/containers/web/start?user=bob", "GET /v1/limits?user=bob"}
	if !slices.Equal(f.Requests(), want) {
		t.Errorf("sent %q", f.Requests())
	}
	if made := f.Containers()[2]; made.Workspace != "" {
		t.Errorf("the workspace is %q: an admin makes nothing in another's home", made.Workspace)
	}
}

func TestWhyACommandWasKilledMayComeAMomentLater(t *testing.T) {
	for code, says := range map[string]bool{"137": true, "1": false} { // asked once, nothing is known yet
		f := world(t.TempDir())
		k := &apitype.Killed{Why: "fail was ended, out of memory", Next: "Use less."}
		f.Add(apitype.Container{ID: "id-small", Name: "small", State: apitype.StateRunning, OutOfMemory: k})
		looks := 0
		f.Before = func(_, path string) {
			if path != "/v1/containers/small" {
				return
			}
			if looks++; looks == 3 { // the first is before the command
				k.At = time.Now()
			}
		}
		_, _, errs := run(t.Context(), t, f, "ds01", "container", "exec", "small", "--", "fail", code)
		if got := strings.Contains(errs, "fail was ended, out of memory. Use less."); got != says {
			t.Errorf("a command that ends with %s: %q", code, errs)
		}
	}
}

func TestTheListTakesOneRequest(t *testing.T) {
	f := world(t.TempDir())
	run(t.Context(), t, f, "container-list")
	if want := []string{"GET /v1/containers"}; !slices.Equal(f.Requests(), want) {
		t.Errorf("sent %q", f.Requests())
	}
}

func workspaceOf(home string) bool {
	_, err := os.Stat(filepath.Join(home, "workspace", "web"))
	return err == nil
}
