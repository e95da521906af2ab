package bench_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/procfs"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/sampler"
)

// Containers of the benchmark, and how much processor time a look at all of them
// may take.
const (
	sampled       = 200
	processesEach = 3
	lookTarget    = 20 * time.Millisecond
)

// BenchmarkActivity looks at what is all that a sampler sees of a container: a
// control group with limits below its owner's, processes in it, and a network of
// their own with an interface.
func BenchmarkActivity(b *testing.B) {
	say("looks at 200 containers")
	tree, err := cgroup.Detect("/sys/fs/cgroup")
	if err != nil {
		b.Fatal(err)
	}
	parent := fmt.Sprintf("/ds01t-%d", os.Getpid())
	var all []sampler.Container
	for i := range sampled {
		all = append(all, sampler.Container{Claim: strconv.Itoa(i), UID: i % 20, ID: strconv.Itoa(i), Devices: []string{"GPU-" + strconv.Itoa(i%8)}})
		all[i].PID = like(b, tree, filepath.Join(parent, group(all[i].UID)), all[i].ID)
	}
	var terminals sampler.Terminals
	began := time.Now()
	s := sampler.New(sampler.Parts{
		Running: func() []sampler.Container { return all }, Groups: tree,
		Group:    func(uid int, id string) string { return filepath.Join(parent, group(uid), id) },
		Process:  func(c sampler.Container) (sampler.Process, error) { return procfs.Open(c.PID) },
		Readings: func(context.Context) (map[string]gpu.Reading, error) { return readings(), nil },
		Cards:    func() []gpu.Card { return nil }, Members: func(sampler.Container) map[int]bool { return nil },
		Clock: func() time.Duration { return time.Since(began) }, Terminals: &terminals, Reached: func() bool { return true }, Log: slog.New(slog.DiscardHandler),
	})
	s.Pass(b.Context())
	processes, threads := children(b), count(b, "/proc/self/task")
	var took []time.Duration
	for range 200 {
		before := ownTime(b)
		samples := s.Pass(b.Context())
		took = append(took, ownTime(b)-before)
		whole(b, samples[all[0].Claim].Over > 0 && len(samples) == sampled)
	}
	for _, sample := range s.Pass(b.Context()) {
		whole(b, sample.CPU.Known && sample.Network.Known && sample.Disk.Known && sample.GPU.Known)
	}
	if now := children(b); now != processes {
		b.Errorf("%d processes were started", now-processes)
	}
	if more := count(b, "/proc/self/task") - threads; more > 5 { // Go's own
		b.Errorf("%d threads were started", more)
	}
	results = append(results, row{
		fmt.Sprintf("one look at what %d containers do: processor time", sampled), p50p99(took), "–", "–", "≤ " + short(lookTarget), quantile(took, 0.5) <= lookTarget,
	})
}

func whole(b *testing.B, ok bool) {
	b.Helper()
	if !ok {
		b.Fatal("a container isn't told whole")
	}
}

func group(uid int) string { return "u" + strconv.Itoa(uid) }

func readings() map[string]gpu.Reading {
	all := map[string]gpu.Reading{}
	for i := range 8 {
		all["GPU-"+strconv.Itoa(i)] = gpu.Reading{UtilizationPercent: i}
	}
	return all
}

// like makes what is like a container to a sampler, until the benchmark ends, and
// returns its first process.
func like(b *testing.B, tree *cgroup.Tree, parent, id string) int {
	b.Helper()
	limits := cgroup.Limits{CPUs: quantity.To(quantity.CPUs(2e9)), Memory: quantity.None[quantity.ByteSize](), MemoryHigh: quantity.None[quantity.ByteSize](), Tasks: quantity.To[int64](100)}
	if err := tree.Ensure(parent, id, limits); err != nil {
		b.Fatal(err)
	}
	roots := []string{"/sys/fs/cgroup"}
	if tree.Version() == 1 {
		roots, _ = filepath.Glob("/sys/fs/cgroup/*/" + filepath.Join(parent, id)) // the pattern is right
	} else {
		roots[0] = filepath.Join(roots[0], parent, id)
	}
	script := "for g in " + strings.Join(roots, " ") + "; do echo $$ >$g/cgroup.procs; done; ip link add eth0 type veth; "
	for range processesEach - 1 {
		script += "sleep 3600 & "
	}
	cmd := exec.Command("unshare", "--net", "busybox", "sh", "-euc", script+"echo; exec sleep 3600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended
		_ = cmd.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if _, err := tree.End(ctx, filepath.Join(parent, id)); err != nil {
			b.Error(err)
		}
		_ = tree.Remove(filepath.Dir(parent), filepath.Base(parent)) // the last one can
	})
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		b.Fatal(err)
	}
	return cmd.Process.Pid
}

// ownTime is the processor time that this process has used, in the kernel too.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return time.Duration(t.Nano())
}

// children counts the processes that this one has started and that are there.
func children(b *testing.B) (n int) {
	b.Helper()
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		b.Fatal(err)
	}
	for _, file := range tasks {
		data, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			b.Fatal(err)
		}
		n += len(strings.Fields(string(data)))
	}
	return n
}

func count(b *testing.B, dir string) int {
	b.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	return len(entries)
}
