package bench_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// growth is the second table, printed after the first.
var growth []string

// BenchmarkGrowth times decisions as the host, what is held, and the queue
// grow, by the benchmark beside them, at real-time priority where that is
// allowed: else other work on the machine is what 99 of 100 are measured by.
func BenchmarkGrowth(b *testing.B) {
	say("decisions, as the load grows")
	program := filepath.Join(folder(b), "gpu.test")
	if out, err := exec.Command("go", "test", "-vet=off", "-c", "-o", program, "ds01.dev/ds01/internal/gpu").CombinedOutput(); err != nil {
		b.Fatalf("benchmarks of internal/gpu: %v\n%s", err, out)
	}
	words := []string{program, "-test.run", "^$", "-test.bench", "^BenchmarkGrowth$", "-test.benchtime", "1x"}
	if exec.Command("chrt", "-r", "10", "true").Run() == nil {
		words = append([]string{"chrt", "-r", "10"}, words...)
	} else {
		say("no real-time priority here")
	}
	out, err := exec.Command(words[0], words[1:]...).Output()
	if err != nil {
		b.Fatalf("benchmarks of internal/gpu: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(line, "BenchmarkGrowth/"); ok {
			growth = append(growth, grown(b, name))
		}
	}
	if len(growth) == 0 {
		b.Fatalf("no row in:\n%s", out)
	}
	growth = slices.Insert(growth, 0,
		"| GPUs × 7 | claims | people | queued | one decision, static | one decision, dynamic | one look at the queue | one, where cards are cut |",
		"|---|---|---|---|---|---|---|---|")
}

// grown makes a row of a line such as "64/300/500/300-2 1 9 ns/op 5 static-p50-ns …".
func grown(b *testing.B, line string) string {
	b.Helper()
	f := strings.Fields(line)
	measured := map[string]time.Duration{}
	for i := 2; i+1 < len(f); i += 2 {
		ns, err := strconv.ParseFloat(f[i], 64)
		if err != nil {
			b.Fatal(line, err)
		}
		measured[f[i+1]] = time.Duration(ns)
	}
	load, _, _ := strings.Cut(f[0], "-")
	row := "| " + strings.ReplaceAll(load, "/", " | ") + " |"
	for _, what := range []string{"static", "dynamic", "look", "cutting"} {
		row += fmt.Sprintf(" p50 %s, p99 %s |", short(measured[what+"-p50-ns"]), short(measured[what+"-p99-ns"]))
	}
	return row
}
