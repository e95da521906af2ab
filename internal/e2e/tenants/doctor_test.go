package tenants_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestDoctorJudgesTheEnginesSetup is what an administrator is told of an engine
// that is set up as docs/admins has it, and of what is otherwise.
func TestDoctorJudgesTheEnginesSetup(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}, Admins: []string{"dean"}, NetNS: true})
	told := func(who string) string { return strings.Join(strings.Fields(l.DS01(who, "doctor").Out), " ") }
	steps := filepath.Join(filepath.Dir(l.Root), "steps", "runc")
	lab.Contains(t, told("dean"),
		"ok steps of builds ds01 starts them, as "+steps, "ok engine's bridge Nobody reaches anybody on the engine's own bridge. No container is on it.",
		"ok firewall", "ok live restore", "warn build cache")
	lab.Lacks(t, told("alice"), "steps of builds", "engine's bridge", "firewall", "live restore")

	build := aStepRuns(t, l)
	lab.Contains(t, told("dean"), "No container is on it.")
	l.AtEngine("run", "-d", "--name", "old", "busybox", "sleep", "1000")
	lab.Contains(t, told("dean"), "On it, past ds01: old.")
	l.AtEngine("rm", "-f", "old")
	build()

	for _, err := range []error{os.Remove(steps), os.Symlink("/usr/sbin/runc", steps)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	lab.Contains(t, told("dean"), steps+" starts them, and isn't ds01: builds by BuildKit fail")
}

// aStepRuns has alice build, and returns when a step of it runs, with what gives
// the build up.
func aStepRuns(t *testing.T, l *lab.Lab) (giveUp func()) {
	t.Helper()
	const endless = "sleep 54321"
	l.OK("alice", "sh", "-c", `mkdir slow; printf 'FROM busybox\nRUN `+endless+`\n' >slow/Dockerfile`)
	cmd := l.Command("alice", "env", "DOCKER_BUILDKIT=1", lab.Debian, "build", "slow")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	runs := func() bool { return exec.Command("pgrep", "-fx", endless).Run() == nil }
	l.Eventually("the step runs", l.Patience(20*time.Second), runs)
	return func() {
		cmd.Process.Signal(syscall.SIGINT)
		cmd.Wait()
		l.Eventually("the step has ended", l.Patience(20*time.Second), func() bool { return !runs() })
	}
}
