package quantity_test

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/quantity"
)

func TestParseDuration(t *testing.T) {
	const h = time.Hour
	tests := map[string]time.Duration{
		"2h": 2 * h, "0.5h": 30 * time.Minute, "0.25h": 15 * time.Minute, "0.02h": 72 * time.Second,
		"24h": 24 * h, "1d": 24 * h, "7d": 168 * h, "0.5d": 12 * h, "1w": 168 * h,
		"30m": 30 * time.Minute, "90m": 90 * time.Minute, "60s": time.Minute,
		"2H": 2 * h, "1 h": h, "0s": 0, "1d 1h": 25 * h, "1h30m": 90 * time.Minute, " 5m ": 5 * time.Minute,
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := quantity.ParseDuration(text)
			if err != nil || got != want {
				t.Errorf("got %v, %v; want %v", got, err, want)
			}
		})
	}
}

func TestParseDurationRefuses(t *testing.T) {
	tests := map[string]struct{ text, says string }{
		"a bare number, for its unit is a guess":    {"48", "needs a unit (s, m, h, d or w), such as 48h"},
		"a bare zero":                               {"0", "needs a unit"},
		"an empty text":                             {"", "is not a duration"},
		"letters":                                   {"abc", "is not a duration"},
		"null, which is the caller's word":          {"null", "is not a duration"},
		"never, which is the caller's word":         {"never", "is not a duration"},
		"a negative duration":                       {"-5m", "is not a duration"},
		"an exponent":                               {"1e3s", "is not a duration"},
		"milliseconds":                              {"5ms", "is not a duration"},
		"two points":                                {"1.2.3h", "is not a number"},
		"a unit twice":                              {"1h 2h", "each unit once"},
		"units in the wrong order":                  {"30m 1h", "the longest first"},
		"more than 64 bits of nanoseconds":          {"999999999w", "too large"},
		"a sum of more than 64 bits of nanoseconds": {"15250w 106751d", "too long"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			refused(t, tt.says, func() error { _, err := quantity.ParseDuration(tt.text); return err })
		})
	}
}

func TestFormatDuration(t *testing.T) {
	tests := map[int]string{3600: "1h", 7200: "2h", 90000: "1d 1h", 86400: "1d", 1800: "30m", 60: "1m", 30: "30s", 0: "0s", -1: "unlimited", 604800: "7d"}
	for seconds, want := range tests {
		if got := quantity.FormatDuration(time.Duration(seconds) * time.Second); got != want {
			t.Errorf("%d s: got %q, want %q", seconds, got, want)
		}
	}
	if got := quantity.FormatDuration(1500 * time.Millisecond); got != "1.5s" {
		t.Errorf("got %q, want 1.5s", got)
	}
}

func TestParseByteSize(t *testing.T) {
	tests := map[string]struct {
		bytes quantity.ByteSize
		text  string
	}{
		"32g": {32 << 30, "32GiB"}, "500M": {500 << 20, "500MiB"}, "1.5GiB": {3 << 29, "1.5GiB"}, "80mb": {80 << 20, "80MiB"},
		"5T": {5 << 40, "5TiB"}, "64k": {64 << 10, "64KiB"}, "1 gb": {1 << 30, "1GiB"}, "1p": {1 << 50, "1PiB"},
		"1000b": {1000, "1000B"}, "0b": {0, "0B"}, "0.3b": {0, "0B"}, "1025b": {1025, "1025B"}, "1280b": {1280, "1.25KiB"},
	}
	for text, want := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := quantity.ParseByteSize(text)
			if err != nil || got != want.bytes || got.String() != want.text {
				t.Errorf("got %d, %v, %q; want %d, %q", got, err, got, want.bytes, want.text)
			}
		})
	}
}

func TestParseByteSizeRefuses(t *testing.T) {
	tests := map[string]struct{ text, says string }{
		"a bare number":         {"32", "needs a unit (b, k, m, g, t or p), such as 32g"},
		"a bare zero":           {"0", "needs a unit"},
		"a negative size":       {"-1g", "is not a size"},
		"an unknown unit":       {"3x", "is not a size"},
		"a unit with no number": {"g", "is not a size"},
		"more than 63 bits":     {"9000p", "too large"},
		"a lone point":          {".g", "is not a number"},
		"a very long number":    {strings.Repeat("9", 1000) + "g", "is not a number"},
		"the word i":            {"3gi", "is not a size"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			refused(t, tt.says, func() error { _, err := quantity.ParseByteSize(tt.text); return err })
		})
	}
}

func TestRoundedByteSize(t *testing.T) {
	for size, want := range map[quantity.ByteSize]string{67430821888: "62.7GiB", 32 << 30: "32GiB", 1023: "1023B", 0: "0B"} {
		if got := size.Rounded(); got != want {
			t.Errorf("%d: got %q, want %q", size, got, want)
		}
	}
}

func TestParseCPUs(t *testing.T) {
	for text, want := range map[string]quantity.CPUs{"16": 16e9, "0.5": 5e8, "0.0000000019": 1, "0": 0, "96.25": 96250000000} {
		if got, err := quantity.ParseCPUs(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "abc", "9600%", "1e3", "99999999999999999999", "0x10", "inf", "1_000"} {
		refused(t, "is not a number of CPUs", func() error { _, err := quantity.ParseCPUs(text); return err })
	}
}

func TestParseGPUShare(t *testing.T) {
	tests := map[string]struct {
		share quantity.GPUShare
		text  string
	}{
		"1.5": {1260, "1 1/2"}, "2.0": {1680, "2"}, "0": {0, "0"}, "1": {840, "1"}, "1/7": {120, "1/7"}, "2 3/7": {2040, "2 3/7"},
	}
	for text, want := range tests {
		if got, err := quantity.ParseGPUShare(text); err != nil || got != want.share || got.String() != want.text {
			t.Errorf("%q: got %d %q, %v; want %d %q", text, got, got, err, want.share, want.text)
		}
	}
	for _, text := range []string{"", "-1", "1/0", "a/b", "1//2", "1 2"} {
		refused(t, "is not a number of GPUs", func() error { _, err := quantity.ParseGPUShare(text); return err })
	}
}

func TestShareOf(t *testing.T) {
	tests := map[string]struct {
		slices, of int
		want       string
	}{
		"1g on an A100 is a seventh":                 {1, 7, "1/7"},
		"3g on an A100":                              {3, 7, "3/7"},
		"7g is the whole card":                       {7, 7, "1"},
		"1g on an A30 is a quarter":                  {1, 4, "1/4"},
		"no slices are nothing":                      {0, 7, "0"},
		"on an unknown card it counts as whole card": {1, 0, "1"},
		"never more than the card":                   {8, 7, "1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := quantity.ShareOf(tt.slices, tt.of).String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if got := (quantity.FullGPU + quantity.ShareOf(1, 7)).String(); got != "1 1/7" {
		t.Errorf("a card and a slice: got %s", got)
	}
	if got := quantity.ShareOf(1, 4).Float(); got != 0.25 {
		t.Errorf("a quarter: got %v", got)
	}
	if got := quantity.GPUShare(-120).String(); got != "-1/7" {
		t.Errorf("a negative share: got %s", got)
	}
}

func TestLimit(t *testing.T) {
	if l := quantity.To(3); l.Unlimited || l.Value != 3 {
		t.Errorf("To(3) = %+v", l)
	}
	if l := quantity.None[int](); !l.Unlimited {
		t.Errorf("None = %+v", l)
	}
}

func TestEveryAmountReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "n")
		readsBack(t, quantity.ByteSize(n), quantity.ByteSize.String, quantity.ParseByteSize)
		readsBack(t, quantity.CPUs(n), quantity.CPUs.String, quantity.ParseCPUs)
		readsBack(t, quantity.GPUShare(n%(1e9*840)), quantity.GPUShare.String, quantity.ParseGPUShare)
		readsBack(t, time.Duration(n), quantity.FormatDuration, quantity.ParseDuration)
	})
}

func readsBack[T comparable](t *rapid.T, v T, format func(T) string, parse func(string) (T, error)) {
	if got, err := parse(format(v)); err != nil || got != v {
		t.Fatalf("%v reads %q, and back %v, %v", v, format(v), got, err)
	}
}

func refused(t *testing.T, says string, parse func() error) {
	t.Helper()
	if err := parse(); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got error %v; want one that says %q", err, says)
	}
}
