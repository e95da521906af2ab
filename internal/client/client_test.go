package client_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/client/clienttest"
	"ds01.dev/ds01/internal/problem"
)

func connect(t *testing.T, f *clienttest.Fake) *client.Client {
	t.Helper()
	c, err := client.New(clienttest.Start(t, f))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestNewRefusesWhatIsNotAUnixSocket(t *testing.T) {
	for _, host := range []string{"", "tcp://10.0.0.1:80", "unix://relative.sock", "/run/ds01/ds01.sock"} {
		if _, err := client.New(host); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("New(%q): %v, want an invalid request", host, err)
		}
	}
}

func TestADaemonThatIsDownIsUnavailable(t *testing.T) {
	dir := t.TempDir()
	abandoned := filepath.Join(dir, "a.sock")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: abandoned})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	listener.Close()
	for name, socket := range map[string]string{
		"there is no socket":           filepath.Join(dir, "missing.sock"),
		"nobody listens at the socket": abandoned,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := client.New("unix://" + socket)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Containers(t.Context(), false)
			if !errors.Is(err, problem.ErrUnavailable) {
				t.Fatalf("list: %v, want unavailable", err)
			}
			text := strings.Join(problem.Lines(err), "\n")
			for _, want := range []string{socket, "is the daemon running", "systemctl start ds01"} {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not say %q", text, want)
				}
			}
			_, err = c.Exec(t.Context(), "x", client.ExecOptions{Command: []string{"true"}})
			if !errors.Is(err, problem.ErrUnavailable) {
				t.Errorf("exec: %v, want unavailable", err)
			}
		})
	}
}

func TestEveryKindOfProblemSurvivesTheSocket(t *testing.T) {
	for _, kind := range []error{
		problem.ErrInvalid, problem.ErrNotFound, problem.ErrExhausted, problem.ErrDenied,
		problem.ErrLimit, problem.ErrConflict, problem.ErrUnavailable,
	} {
		sent := &problem.Error{What: "web not started", Why: problem.Because(kind, "that's why"), Next: "Do this.", Code: "X"}
		c := connect(t, &clienttest.Fake{Fail: map[string]error{"POST /v1/containers/web/start": sent}})
		_, err := c.Start(t.Context(), "web")
		if !errors.Is(err, kind) {
			t.Errorf("%v arrives as %v", kind, err)
		}
		if diff := cmp.Diff(problem.Lines(sent), problem.Lines(err)); diff != "" {
			t.Errorf("%v: lines differ (-sent +received):\n%s", kind, diff)
		}
	}
}

func TestDockerShapedErrorsGetTheirKindByStatus(t *testing.T) {
	for name, kind := range map[string]error{
		"denied": problem.ErrDenied, "not found": problem.ErrNotFound, "conflict": problem.ErrConflict,
		"limit": problem.ErrLimit, "unavailable": problem.ErrUnavailable, "invalid": problem.ErrInvalid,
	} {
		t.Run(name, func(t *testing.T) {
			sent := &problem.Error{What: "command not run", Why: problem.Because(kind, "that's why"), Next: "Do this. And that."}
			c := connect(t, &clienttest.Fake{Fail: map[string]error{"POST /docker/v1.41/containers/web/exec": sent}})
			_, err := c.Exec(t.Context(), "web", client.ExecOptions{Command: []string{"true"}})
			if !errors.Is(err, kind) {
				t.Errorf("%v arrives as %v", kind, err)
			}
			if diff := cmp.Diff(problem.Lines(sent), problem.Lines(err)); diff != "" {
				t.Errorf("lines differ (-sent +received):\n%s", diff)
			}
		})
	}
}

func TestAnAnswerThatIsNotJSONIsStillAnError(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "boom", http.StatusInternalServerError)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	c, err := client.New("unix://" + socket)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Me(t.Context())
	if err == nil || problem.ExitCode(err) != 1 || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v (exit %d), want an internal failure that says boom", err, problem.ExitCode(err))
	}
}

func TestACancelledCallSaysSo(t *testing.T) {
	c := connect(t, &clienttest.Fake{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Me(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestRoutesAreWhatTheAPISays(t *testing.T) {
	grace := 3
	for want, call := range map[string]func(ctx context.Context, c *client.Client) error{
		"GET /v1/containers": func(ctx context.Context, c *client.Client) error {
			_, err := c.Containers(ctx, false)
			return err
		},
		"GET /v1/containers?all_users=true": func(ctx context.Context, c *client.Client) error {
			_, err := c.Containers(ctx, true)
			return err
		},
		"GET /v1/containers?user=bob": func(ctx context.Context, c *client.Client) error {
			_, err := c.As("bob").Containers(ctx, false)
			return err
		},
		"POST /v1/containers/web/update?user=bob": func(ctx context.Context, c *client.Client) error {
			_, err := c.As("bob").Update(ctx, "web", apitype.UpdateContainer{Pids: 1})
			return err
		},
		"POST /v1/containers/web/stop?user=bob": func(ctx context.Context, c *client.Client) error {
			_, err := c.As("bob").Stop(ctx, "web", apitype.StopContainer{TimeoutSeconds: &grace})
			return err
		},
		"POST /v1/containers/web/extend": func(ctx context.Context, c *client.Client) error {
			_, err := c.Extend(ctx, "web", time.Hour)
			return err
		},
		"DELETE /v1/containers/web/keep": func(ctx context.Context, c *client.Client) error {
			_, err := c.Keep(ctx, "web", false)
			return err
		},
		"POST /v1/containers/web/protect": func(ctx context.Context, c *client.Client) error {
			_, err := c.Protect(ctx, "web", true)
			return err
		},
		"GET /v1/exemptions": func(ctx context.Context, c *client.Client) error {
			_, err := c.Exemptions(ctx)
			return err
		},
		"POST /v1/exemptions": func(ctx context.Context, c *client.Client) error {
			_, err := c.Exempt(ctx, apitype.Exemption{User: "bob"})
			return err
		},
		"DELETE /v1/exemptions/bob":            func(ctx context.Context, c *client.Client) error { return c.Unexempt(ctx, "bob") },
		"DELETE /v1/containers/web?force=true": func(ctx context.Context, c *client.Client) error { return c.Remove(ctx, "web", true) },
		"POST /v1/containers/web/adopt": func(ctx context.Context, c *client.Client) error {
			_, err := c.Adopt(ctx, "web", apitype.Adopt{User: "bob"})
			return err
		},
		"GET /v1/stats?all_users=true": func(ctx context.Context, c *client.Client) error {
			_, err := c.Stats(ctx, true)
			return err
		},
		"GET /v1/limits?user=bob": func(ctx context.Context, c *client.Client) error {
			_, err := c.Limits(ctx, "bob")
			return err
		},
		"GET /v1/limits?all=true": func(ctx context.Context, c *client.Client) error {
			_, err := c.AllLimits(ctx)
			return err
		},
		"POST /v1/limits/diff": func(ctx context.Context, c *client.Client) error {
			_, err := c.DiffLimits(ctx, apitype.LimitsFile{})
			return err
		},
		"POST /v1/gpus/GPU-1%2F2/sim": func(ctx context.Context, c *client.Client) error {
			return c.SetSim(ctx, "GPU-1/2", apitype.SimReading{})
		},
		"GET /v1/dashboard": func(ctx context.Context, c *client.Client) error {
			_, err := c.Dashboard(ctx)
			return err
		},
		"GET /v1/doctor": func(ctx context.Context, c *client.Client) error {
			_, err := c.Doctor(ctx)
			return err
		},
		"GET /v1/gpus": func(ctx context.Context, c *client.Client) error {
			_, err := c.GPUs(ctx)
			return err
		},
		"GET /v1/gpus/why?gpus=2g.20gb": func(ctx context.Context, c *client.Client) error {
			_, err := c.WhyGPUs(ctx, "2g.20gb")
			return err
		},
		"GET /v1/gpus/why?name=web": func(ctx context.Context, c *client.Client) error {
			_, err := c.WhyHeld(ctx, "web")
			return err
		},
		"GET /v1/version": func(ctx context.Context, c *client.Client) error {
			_, err := c.Version(ctx)
			return err
		},
	} {
		t.Run(want, func(t *testing.T) {
			f := &clienttest.Fake{}
			f.Add(apitype.Container{ID: "1", Name: "web"})
			if err := call(t.Context(), connect(t, f)); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(f.Requests(), []string{want}) {
				t.Errorf("sent %q", f.Requests())
			}
		})
	}
}

func TestAContainerLivesThroughTheAPI(t *testing.T) {
	ctx := t.Context()
	f := &clienttest.Fake{GPUs: []apitype.GPU{{GPUUsage: apitype.GPUUsage{UUID: "GPU-1", Slot: "0"}, Profile: "full"}}}
	c := connect(t, f)
	made, err := c.Create(ctx, apitype.CreateContainer{Name: "web", Image: "alpine", GPUs: 1, Interface: "atomic"})
	if err != nil || made.Image != "alpine" || len(made.GPUs) != 1 || made.GPUs[0].UUID != "GPU-1" {
		t.Fatalf("created %+v, %v", made, err)
	}
	if _, err := c.Create(ctx, apitype.CreateContainer{Name: "web"}); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("a second of the name: %v, want a conflict", err)
	}
	if started, err := c.Start(ctx, "web"); err != nil || started.State != apitype.StateRunning {
		t.Errorf("started %+v, %v", started, err)
	}
	if err := c.Remove(ctx, "web", false); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("removing a running one: %v, want a conflict", err)
	}
	if stopped, err := c.Stop(ctx, "web", apitype.StopContainer{}); err != nil || stopped.HeldUntil == nil {
		t.Errorf("stopped %+v, %v", stopped, err)
	}
	if err := c.Remove(ctx, "web", false); err != nil {
		t.Error(err)
	}
	if _, err := c.Container(ctx, "web"); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("after the removal: %v, want not found", err)
	}
}
