package bench_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// results are the rows measured so far, printed at the end.
var results table

func TestMain(m *testing.M) {
	code := m.Run()
	results.print(os.Stdout)
	os.Exit(code)
}

// BenchmarkTable measures every row. It is meant to run once: -benchtime 1x.
// It fails where something can't be measured, never because it was slow.
func BenchmarkTable(b *testing.B) {
	results = nil
	decisions(b)
	l, binary := start(b)
	engine, person, admin := newClient(l.Engine.Host(), 0), newClient(gateway(l), l.UID("alice")), newClient(gateway(l), l.UID("dora"))

	say("lists of no containers")
	lists(b, "`GET /containers/json`, no containers", 3, person, engine, 1000, 0, 0)
	say("docker run")
	runs(b, l)

	say("50 containers")
	crowd(b, newClient(gateway(l), l.UID("bob")), "b", 50)
	programs(b, "`container list`, 50 containers", 1, 25, l.Command("bob", binary, "container", "list"), direct(l, "ps"))
	programs(b, "`container stats`, 50 containers", 0.05, 5, l.Command("bob", binary, "container", "stats"), direct(l, "stats", "--no-stream"))

	say("200 containers")
	crowd(b, person, "a", 10)
	crowd(b, newClient(gateway(l), l.UID("carol")), "c", 140)
	lists(b, "`GET /containers/json`, a person with 10 of 200", 0.5, person, engine, 200, 10, 200)
	lists(b, "`GET /containers/json`, an administrator, all 200", 1.2, admin, engine, 200, 200, 200)
	say("the daemon left alone")
	idle(b, l.PID(), time.Minute)
}

// start sets up the lab: the shipped limits, but any number of containers.
func start(b *testing.B) (l *lab.Lab, binary string) {
	b.Helper()
	dir, err := os.MkdirTemp("/tmp", "ds01t-bin-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	if binary, err = lab.Build(dir); err != nil {
		b.Fatal(err)
	}
	return lab.Start(b, lab.Options{
		Binary: binary, Admins: []string{"dora"},
		Limits: "defaults:\n  max_containers_per_user: null\n",
	}), binary
}

// say tells on stderr how far the measurement is.
func say(what string) { fmt.Fprintln(os.Stderr, "measuring:", what) }
