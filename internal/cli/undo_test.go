package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/client/clienttest"
	"ds01.dev/ds01/internal/problem"
)

func TestAFailedDeployLeavesNothingHalfMade(t *testing.T) {
	noCapacity := &problem.Error{What: "web not started", Why: problem.Because(problem.ErrExhausted, "no GPU is free"), Next: "Wait."}
	for name, c := range map[string]struct {
		fails map[string]error
		left  int
		says  string
	}{
		"the create is refused": {map[string]error{"POST /v1/containers": noCapacity}, 2, "no GPU is free"},
		"the start is refused":  {map[string]error{"POST /v1/containers/web/start": noCapacity}, 2, "half-made container web is removed again"},
		"the removal fails, too": {
			map[string]error{"POST /v1/containers/web/start": noCapacity, "DELETE /v1/containers/web": problem.ErrUnavailable},
			3, "ds01 container remove --force web",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := world(t.TempDir())
			f.Fail = c.fails
			code, out, errs := run(t.Context(), t, f, "ds01", "container", "deploy", "web")
			if code != 4 || out != "" || !strings.Contains(errs, "no GPU is free") {
				t.Errorf("ended with %d, %q, %q", code, out, errs)
			}
			if !strings.Contains(errs, c.says) {
				t.Errorf("%q does not say %q", errs, c.says)
			}
			if len(f.Containers()) != c.left {
				t.Errorf("left %v", f.Containers())
			}
		})
	}
}

func TestARefusedCreateTakesItsDirectoryBackAndNoOther(t *testing.T) {
	for name, existed := range map[string]bool{"a fresh one goes": false, "one with files stays": true} {
		t.Run(name, func(t *testing.T) {
			f := world(t.TempDir())
			if existed {
				if err := os.MkdirAll(filepath.Join(f.Me.Home, "workspace", "web"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			f.Fail = map[string]error{"POST /v1/containers": &problem.Error{What: "no", Why: problem.ErrLimit}}
			code, _, _ := run(t.Context(), t, f, "ds01", "container", "create", "web")
			if code != 5 || workspaceOf(f.Me.Home) != existed {
				t.Errorf("ended with %d, the directory is there: %t", code, workspaceOf(f.Me.Home))
			}
		})
	}
}

func TestAnInterruptedDeployIsUndone(t *testing.T) {
	for name, c := range map[string]struct{ route, says string }{
		"while it is created": {"POST /v1/containers", "waiting for the daemon"},
		"while it is started": {"POST /v1/containers/web/start", "removed again"},
	} {
		t.Run(name, func(t *testing.T) {
			f := world(t.TempDir())
			ctx, interrupt := context.WithCancel(t.Context())
			f.Before = func(method, path string) {
				if method+" "+path == c.route {
					interrupt()
				}
			}
			code, _, errs := run(ctx, t, f, "ds01", "container", "deploy", "web")
			if code != 130 || !strings.Contains(errs, c.says) || !strings.HasSuffix(errs, "Interrupted.\n") {
				t.Errorf("ended with %d, %q", code, errs)
			}
			if len(f.Containers()) != 2 {
				t.Errorf("left %v", f.Containers())
			}
		})
	}
}

func TestAFollowedLogAndACommandEndWithCtrlC(t *testing.T) {
	f := world(t.TempDir())
	ctx, interrupt := context.WithCancel(t.Context())
	f.Run = func(p *clienttest.Process) int {
		interrupt()
		one := make([]byte, 1)
		_, _ = p.Stdin.Read(one) // until the client has gone
		return 0
	}
	code, _, errs := run(ctx, t, f, "ds01", "container", "exec", "train", "--", "sleep", "inf")
	if code != 130 || errs != "Interrupted.\n" {
		t.Errorf("ended with %d, %q", code, errs)
	}
}
