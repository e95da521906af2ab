package quantity_test

import (
	"testing"

	"ds01.dev/ds01/internal/quantity"
)

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"2h", "1d 1h", "0.25h", "48", "99999999w", "1w1d1h1m1s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := quantity.ParseDuration(s)
		if err != nil {
			return
		}
		if back, err := quantity.ParseDuration(quantity.FormatDuration(d)); d < 0 || err != nil || back != d {
			t.Errorf("%q = %v, and back %v, %v", s, d, back, err)
		}
	})
}

func FuzzParseByteSize(f *testing.F) {
	for _, s := range []string{"32g", "1.5GiB", "0b", "8191.999p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := quantity.ParseByteSize(s)
		if err != nil {
			return
		}
		if back, err := quantity.ParseByteSize(b.String()); b < 0 || err != nil || back != b {
			t.Errorf("%q = %d, and back %d, %v", s, b, back, err)
		}
	})
}

func FuzzParseNumbers(f *testing.F) {
	for _, s := range []string{"16", "0.5", "1/7", "2 3/7", "999999999 999999999/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := quantity.ParseCPUs(s); err == nil {
			if back, err := quantity.ParseCPUs(c.String()); c < 0 || err != nil || back != c {
				t.Errorf("CPUs %q = %d, and back %d, %v", s, c, back, err)
			}
		}
		if g, err := quantity.ParseGPUShare(s); err == nil && g < 0 {
			t.Errorf("GPU share %q = %d", s, g)
		}
	})
}
