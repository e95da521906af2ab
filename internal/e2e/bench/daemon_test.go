package bench_test

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// decisions times one allocation, by the benchmarks beside it.
func decisions(b *testing.B) {
	b.Helper()
	say("allocation decisions")
	out, err := exec.Command("go", "test", "-vet=off", "-run", "^$", "-bench", "^Benchmark(Allocate|Pass)", "-count", "5", "ds01.dev/ds01/internal/gpu").Output()
	if err != nil {
		b.Fatalf("benchmarks of internal/gpu: %v\n%s", err, out)
	}
	decision(b, string(out), "BenchmarkAllocate8-", "one allocation decision, 8 GPUs", 20*time.Microsecond)
	decision(b, string(out), "BenchmarkAllocate448-", "one allocation decision, 64 GPUs × 7 MIG, 300 claims", 100*time.Microsecond)
	decision(b, string(out), "BenchmarkPass-", "one look at a queue of 300, 500 people, 449 devices", 5*time.Millisecond)
}

func decision(b *testing.B, out, name, what string, target time.Duration) {
	b.Helper()
	var times []time.Duration
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[0], name) {
			ns, err := strconv.ParseFloat(f[2], 64)
			if err != nil {
				b.Fatal(err)
			}
			times = append(times, time.Duration(ns))
		}
	}
	if len(times) == 0 {
		b.Fatalf("no %s in:\n%s", name, out)
	}
	results = append(results, row{what, p50(times), "–", "–", "≤ " + short(target), quantile(times, 0.5) <= target})
}

// ticks is the kernel's unit of processor time in /proc, per second: the same
// on every Linux that Go runs on.
const ticks = 100

// idle watches what the daemon uses while nothing is asked of it. The time
// spans two of its sweeps.
func idle(b *testing.B, pid int, watch time.Duration) {
	b.Helper()
	say("the daemon, left alone")
	time.Sleep(35 * time.Second) // what the last requests set off is over, and the first look at what they made
	before := processorTime(b, pid)
	time.Sleep(watch)
	percent := 100 * float64(processorTime(b, pid)-before) / float64(watch)
	mib := float64(resident(b, pid)) / (1 << 20)
	results = append(results,
		row{"daemon, 200 idle containers: memory", fmt.Sprintf("%.0f MiB resident", mib), "–", "–", "≤ 64 MiB", mib <= 64},
		row{"daemon, 200 idle containers: processor", fmt.Sprintf("%.2f %% of a core", percent), "–", "–", "≤ 0.5 %", percent <= 0.5})
}

func processorTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	user, uerr := strconv.Atoi(f[11])
	system, serr := strconv.Atoi(f[12])
	if uerr != nil || serr != nil {
		b.Fatalf("read /proc/%d/stat: %s", pid, data)
	}
	return time.Duration(user+system) * time.Second / ticks
}

func resident(b *testing.B, pid int) int {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), "VmRSS:")
	var kib int
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib << 10
}
