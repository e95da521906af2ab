package tenants_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/e2e/lab"
)

// cutsOf returns what the first card is cut into, in words.
func cutsOf(t *testing.T, l *lab.Lab) string {
	t.Helper()
	var mig apitype.MIG
	if err := json.Unmarshal([]byte(l.OK("root", l.Binary(), "gpu", "mig", "export", "--json")), &mig); err != nil {
		t.Fatal(err)
	}
	c := mig.Cards[0]
	var all []string
	if c.Drained {
		all = append(all, "drained")
	}
	for _, in := range c.Instances {
		all = append(all, in.Profile)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// Root tries a drained card while bob works on the other: nobody is granted
// anything on it, the kernel keeps each container to its own, a killed daemon
// finishes what it began, and all is as it was at the end, also after the command
// itself was interrupted or killed.
func TestADrainedCardIsVerified(t *testing.T) {
	l := start(t, lab.Options{GPU: "{provider: sim, sim: {gpus: [h100-80gb, h100-80gb], mig: {0: [3g.40gb, 1g.10gb]}}}", Users: []string{"alice", "bob"}})
	dir := t.TempDir()
	verify := func(more ...string) lab.Result {
		return l.DS01("root", append([]string{"gpu", "verify", "0", "--dir", dir}, more...)...)
	}
	if r := verify(); r.Code != 6 || !strings.Contains(r.Err, "isn't drained") || !strings.Contains(r.Err, "ds01 gpu drain 0") {
		t.Errorf("a card in use is tried: %+v", r)
	}
	if r := l.DS01("bob", "gpu", "verify", "0"); r.Code != 5 {
		t.Errorf("bob tries a card: %+v", r)
	}
	l.OK("alice", "docker", "run", "-d", "--name", "a", "--gpus", "1", "busybox", "sleep", "1000")
	l.OK("root", l.Binary(), "gpu", "drain", "0")
	if r := verify(); r.Code != 6 || !strings.Contains(r.Err, l.Login("alice")) {
		t.Errorf("alice's card is tried: %+v", r)
	}
	l.OK("alice", "docker", "rm", "-f", "a")
	before := cutsOf(t, l)

	if r := l.Docker("alice", "run", "--rm", "--gpus", "device=0.0", "busybox", "true"); r.Code == 0 {
		t.Error("alice may name what is on a drained card")
	}

	over := make(chan struct{})
	var systemd sync.WaitGroup
	systemd.Go(func() { // in its place
		for {
			select {
			case <-over:
				return
			case <-time.After(50 * time.Millisecond):
			}
			if l.Ended() {
				l.Spawn()
			}
		}
	})
	r := verify("--crash")
	close(over)
	systemd.Wait()
	record := keptRecord(t, dir)
	if r.Code != 0 || cutsOf(t, l) != before {
		t.Fatalf("the card is %q and was %q: %+v\n%s", cutsOf(t, l), before, r, record)
	}
	lab.Contains(t, record, "NVIDIA H100", "simulated (sim)", "as it was: 1×1g.10gb, 1×3g.40gb", ", 0 failed, ",
		"| cut: mixed instances (1×3g.40gb, 1×4g.40gb) | ok |", "| separation: two containers, instances alike (2×3g.40gb), container 2 | ok |",
		"| separation: whole card, container 1 | ok |", "drained as it was")
	if !regexp.MustCompile(`killed after [1-7] of 7 steps; finished`).MatchString(record) { // it may do some more before it is
		t.Errorf("no crash:\n%s", record)
	}
	if all := l.Containers(); len(all) != 0 {
		t.Errorf("left: %+v", all)
	}

	cutShort := func(end syscall.Signal) int {
		cmd := l.Command("root", l.Binary(), "gpu", "verify", "0", "--dir", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		l.Eventually("a container runs on the card", time.Minute, func() bool { return len(l.Containers()) > 0 })
		if err := cmd.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // how it ended shows in its state
		return cmd.ProcessState.ExitCode()
	}
	if code := cutShort(syscall.SIGINT); code != 130 || cutsOf(t, l) != before || len(l.Containers()) != 0 {
		t.Errorf("interrupted, it ends with %d and leaves %q and %+v", code, cutsOf(t, l), l.Containers())
	}
	if cutShort(syscall.SIGKILL); cutsOf(t, l) == before {
		t.Fatal("it was killed before it cut the card")
	}
	l.OK("root", l.Binary(), "gpu", "undrain", "0")
	if r := verify(); r.Code != 6 || !strings.Contains(r.Out, "An earlier run was cut short") || cutsOf(t, l)+" drained" != before || len(l.Containers()) != 0 {
		t.Errorf("run again it leaves %q and %+v: %+v", cutsOf(t, l), l.Containers(), r)
	}
}

// keptRecord returns the only record of a folder.
func keptRecord(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "verify-*-0-*.md"))
	if err != nil || len(found) != 1 {
		t.Fatalf("records: %v, %v", found, err)
	}
	text, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A drained card is tried as well where devices come to containers at their start.
func TestADrainedCardIsVerifiedWhereDevicesComeAtStart(t *testing.T) {
	l := start(t, lab.Options{GPU: "{provider: sim, sim: {gpus: [h100-80gb]}}", AtStart: true, Users: []string{"alice"}})
	l.OK("root", l.Binary(), "gpu", "drain", "0")
	r := l.DS01("root", "gpu", "verify", "0", "--dir", t.TempDir(), "--json")
	var record struct {
		Passed, Restored bool
		Checks           []struct{ Name, Result, Saw string }
	}
	if err := json.Unmarshal([]byte(r.Out), &record); err != nil || r.Code != 0 || !record.Passed || !record.Restored || len(record.Checks) < 10 {
		t.Errorf("%v: %+v", err, r)
	}
}
