package bench_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker/scratch"
	"ds01.dev/ds01/internal/e2e/lab"
)

// results are the rows measured so far, printed at the end.
var results table

func TestMain(m *testing.M) {
	if os.Args[0] == hopName {
		fmt.Fprintln(os.Stderr, serveHop(os.Args[1], os.Args[2]))
		os.Exit(1)
	}
	code := m.Run()
	results.print(os.Stdout)
	for _, line := range growth {
		fmt.Println(line)
	}
	os.Exit(code)
}

// Each benchmark is meant to run once, -benchtime 1x, and adds its rows to
// the table. It fails where something can't be measured, never because it
// was slow.

func BenchmarkDecisions(b *testing.B) { decisions(b) }

func BenchmarkEmptyList(b *testing.B) {
	l, _ := start(b, lab.Options{Admins: []string{"dora"}})
	all := newClient(l.Engine.Host(), 0)
	lists(b, "`GET /containers/json`, a person, no containers", 3, 1000, newClient(gateway(l), l.UID("alice")), all, nil, 0, 0)
	lists(b, "`GET /containers/json`, an administrator, no containers", 3, 1000, newClient(gateway(l), l.UID("dora")), all, hop(b, l.Engine), 0, 0)
}

// BenchmarkRun compares the whole life of a container with that at an engine
// of its own, where no ds01 watches: one without networks, where the rest is
// ds01's own doing, and one with them, as on a host, where ds01 gives each
// person a network and the engine's own people share one.
func BenchmarkRun(b *testing.B) {
	b.Run("no networks", func(b *testing.B) { runs(b, ", no networks", 320, false) })
	b.Run("networks", func(b *testing.B) { runs(b, ", networks", 60, true) })
}

func runs(b *testing.B, on string, n int, networks bool) {
	b.Helper()
	l, _ := start(b, lab.Options{NetNS: networks})
	alone := engine(b, networks)
	plain, device := []string{"run", "--rm", "busybox", "true"}, []string{"run", "--rm", "--gpus", "1", "busybox", "true"}
	alice := func(args []string) *exec.Cmd { return l.Command("alice", append([]string{"docker"}, args...)...) }
	programs(b, "`docker run --rm`, true(1)"+on, 1.05, n, alice(plain), direct(alone, plain...))
	programs(b, "`docker run --rm --gpus 1`, true(1)"+on, 1.05, n, alice(device), direct(alone, sameDevice(b, l)...))
	if !networks {
		return
	}
	if out, err := direct(alone, "network", "create", "own").CombinedOutput(); err != nil {
		b.Fatalf("network create: %v\n%s", err, out)
	}
	programs(b, "the same without a GPU, and at the engine `--network own`", 1.05, n, alice(plain), direct(alone, "run", "--rm", "--network", "own", "busybox", "true"))
}

// BenchmarkCalls times single calls. A container is created at an engine of
// its own for comparison, where no ds01 watches.
func BenchmarkCalls(b *testing.B) {
	l, _ := start(b, lab.Options{})
	other := engine(b, false)
	alice, root, alone := newClient(gateway(l), l.UID("alice")), newClient(l.Engine.Host(), 0), newClient(other.Host(), 0)
	crowd(b, alice, "a", 1)
	there := fmt.Sprintf("a0._.%d", l.UID("alice"))
	bare, bareAlone := hop(b, l.Engine), hop(b, other)
	calls(b, "`GET /containers/{id}/json`", 500, inspect(alice, "a0"), inspect(root, there), inspect(bare, there))
	calls(b, "`POST /containers/create`", 60, create(alice), create(alone), create(bareAlone))
	calls(b, "exec of true(1), made and started", 60, execute(alice, "a0"), execute(root, there), execute(bare, there))
	copies(b, "1 GiB copied into a container", copyIn(alice, "a0"), copyIn(root, there))
	copies(b, "1 GiB copied out of a container", copyOut(alice, "a0"), copyOut(root, there))
}

func BenchmarkFifty(b *testing.B) {
	l, binary := start(b, lab.Options{})
	crowd(b, newClient(gateway(l), l.UID("alice")), "a", 50)
	programs(b, "`container list`, 50 containers", 1, 25, l.Command("alice", binary, "container", "list"), direct(l.Engine, "ps"))
	programs(b, "`container stats`, 50 containers", 0.05, 5, l.Command("alice", binary, "container", "stats"), direct(l.Engine, "stats", "--no-stream"))
}

// BenchmarkCrowd runs 200 containers. Its engine isn't remapped: there, one
// user owns all containers' session keys, and the kernel gives each user but
// root 200 of them (kernel.keys.maxkeys).
func BenchmarkCrowd(b *testing.B) {
	l, _ := start(b, lab.Options{Plain: true, Admins: []string{"dora"}})
	own, admin := newClient(gateway(l), l.UID("alice")), newClient(gateway(l), l.UID("dora"))
	all := newClient(l.Engine.Host(), 0)
	crowd(b, own, "a", 10)
	crowd(b, newClient(gateway(l), l.UID("bob")), "b", 190)
	lists(b, "`GET /containers/json`, a person with 10 of 200", 0.5, 1500, own, all, nil, 10, 200)
	lists(b, "`GET /containers/json`, an administrator, all 200", 1.2, 1500, admin, all, hop(b, l.Engine), 200, 200)
	idle(b, l.PID(), time.Minute)
}

// start sets up a lab with the shipped limits, but any number of containers,
// and returns the binary it runs.
func start(b *testing.B, o lab.Options) (l *lab.Lab, binary string) {
	b.Helper()
	built, err := lab.Build(folder(b))
	if err != nil {
		b.Fatal(err)
	}
	// Installed, as people have it: what the linker has just written lies in huge
	// pages of the page cache, which count as resident as a whole.
	binary = filepath.Join(folder(b), "ds01")
	if out, err := exec.Command("install", built, binary).CombinedOutput(); err != nil {
		b.Fatalf("install: %v\n%s", err, out)
	}
	o.Binary, o.Limits = binary, "defaults:\n  max_containers_per_user: null\n"
	return lab.Start(b, o), binary
}

// engine starts an engine without a ds01.
func engine(b *testing.B, networks bool) *scratch.Engine {
	b.Helper()
	e, err := scratch.Start(context.Background(), scratch.Options{Dir: filepath.Join(folder(b), "e"), Remap: true, LiveRestore: true, NetNS: networks})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	if err := e.LoadBusybox(context.Background()); err != nil {
		b.Fatal(err)
	}
	return e
}

// folder returns a folder that people may enter; its path is short, for the
// sockets in it.
func folder(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp("/tmp", "ds01t-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		b.Fatal(err)
	}
	return dir
}
