package bench_test

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker/scratch"
	"ds01.dev/ds01/internal/e2e/lab"
)

// direct returns docker on an engine's own socket, as root.
func direct(e *scratch.Engine, args ...string) *exec.Cmd {
	return exec.Command("docker", append([]string{"-H", e.Host()}, args...)...)
}

// timed runs a copy of a command to its end.
func timed(b *testing.B, c *exec.Cmd) time.Duration {
	b.Helper()
	cmd := &exec.Cmd{Path: c.Path, Args: c.Args, Env: c.Env, Dir: c.Dir, SysProcAttr: c.SysProcAttr, Err: c.Err}
	began := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(began)
	if err != nil {
		b.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
	return took
}

// programs times two commands as whole processes, in pairs, each going first
// in every other pair.
func programs(b *testing.B, what string, target float64, n int, ours, theirs *exec.Cmd) {
	b.Helper()
	say(what)
	timed(b, ours)
	timed(b, theirs) // the first ones warm up
	var mine, other []time.Duration
	for i := range n {
		if i%2 == 0 {
			mine = append(mine, timed(b, ours))
			other = append(other, timed(b, theirs))
		} else {
			other = append(other, timed(b, theirs))
			mine = append(mine, timed(b, ours))
		}
	}
	ratios := paired(mine, other)
	low, high := interval(ratios)
	median := quantile(ratios, 0.5)
	results = append(results, row{
		what, p50(mine), p50(other), fmt.Sprintf("%.3f (%.3f to %.3f)", median, low, high),
		fmt.Sprintf("≤ %g", target), median <= target,
	})
}

// sameDevice returns a run at the engine with the nodes and rules that ds01
// gives a container with one GPU.
func sameDevice(b *testing.B, l *lab.Lab) []string {
	b.Helper()
	l.OK("alice", "docker", "create", "--name", "model", "--gpus", "1", "busybox", "true")
	defer l.OK("alice", "docker", "rm", "model")
	var host struct {
		Mounts            []struct{ Source, Target string }
		DeviceCgroupRules []string
	}
	text := l.AtEngine("inspect", "--format", "{{json .HostConfig}}", fmt.Sprintf("model._.%d", l.UID("alice")))
	if err := json.Unmarshal([]byte(text), &host); err != nil {
		b.Fatal(err)
	}
	args := []string{"run", "--rm"}
	for _, m := range host.Mounts {
		args = append(args, "--mount", "type=bind,source="+m.Source+",target="+m.Target)
	}
	for _, r := range host.DeviceCgroupRules {
		args = append(args, "--device-cgroup-rule", r)
	}
	return append(args, "busybox", "true")
}
