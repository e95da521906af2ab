package dockertest_test

import (
	"context"
	"os"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker"
	"ds01.dev/ds01/internal/docker/dockertest"
	"ds01.dev/ds01/internal/docker/scratch"
)

func TestTheEngineInMemory(t *testing.T) { dockertest.Run(t, dockertest.New(time.Now)) }

func TestTheRealEngine(t *testing.T) {
	missing := scratch.Missing()
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	if len(missing) > 0 {
		if os.Getenv("CI") == "true" {
			t.Fatalf("missing: %v", missing)
		}
		t.Skipf("missing: %v; 'make deps' installs packages", missing)
	}
	dir, err := os.MkdirTemp("", "ds01t") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	engine, err := scratch.Start(t.Context(), scratch.Options{Dir: dir, NetNS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Stop(context.Background()); err != nil {
			t.Error(err)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := engine.LoadBusybox(t.Context()); err != nil {
		t.Fatal(err)
	}
	e, err := docker.New(engine.Host()[len("unix://"):])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	dockertest.Run(t, e)
}
