package bench_test

import (
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"
)

// A row is one line of the table.
type row struct {
	what, ours, against, ratio, target string
	met                                bool
}

type table []row

func (t table) print(w io.Writer) {
	if len(t) == 0 {
		return
	}
	fmt.Fprintln(w, "| what | ds01 | engine | ratio | target | met |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, r := range t {
		met := "yes"
		if !r.met {
			met = "**no**"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", r.what, r.ours, r.against, r.ratio, r.target, met)
	}
}

// quantile returns the value below which the share q of the values lies.
func quantile[T float64 | time.Duration](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// interval returns the bounds within which the median of all possible values
// lies with 95 % confidence, by the ranks of these: no distribution is
// assumed.
func interval(values []float64) (low, high float64) {
	sorted := slices.Sorted(slices.Values(values))
	n := float64(len(sorted))
	k := max(int(math.Floor(n/2-0.98*math.Sqrt(n))), 0)
	return sorted[k], sorted[len(sorted)-1-k]
}

// paired returns the ratio of each pair of times.
func paired(ours, theirs []time.Duration) []float64 {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = float64(ours[i]) / float64(theirs[i])
	}
	return ratios
}

func p50(values []time.Duration) string { return short(quantile(values, 0.5)) }

func p50p99(values []time.Duration) string {
	return fmt.Sprintf("p50 %s, p99 %s", short(quantile(values, 0.5)), short(quantile(values, 0.99)))
}

// short writes a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.3g µs", float64(d)/1e3)
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/1e6)
	}
	return fmt.Sprintf("%.3g s", d.Seconds())
}

// say tells on stderr how far the measurement is.
func say(what string) { fmt.Fprintln(os.Stderr, "measuring:", what) }
