package limits_test

import (
	"math/big"
	"os"
	"regexp"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
)

// FuzzDecode: no file makes Decode panic, and one that it accepts resolves for
// everybody to limits that fit together.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"production-2025-11.yaml", "production-2026-07.yaml", "fixture-2025-11.yaml"} {
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, []byte("alice\n# bob\n"))
	}
	f.Add([]byte(sample), []byte{})
	f.Add([]byte("a: &a [*a]"), []byte("\xff"))
	f.Add([]byte("? {}\n: !!set\n---"), []byte{})
	f.Fuzz(func(t *testing.T, data, members []byte) {
		d, _, err := limits.Decode(limits.File{Name: "f", Data: data}, map[string]limits.File{"student": {Name: "m", Data: members}})
		if err != nil {
			return
		}
		for _, user := range append(d.KnownUsers(), "somebody") {
			l := d.Resolve(account.Account{Name: user}, noon)
			if !l.MemorySwap.Unlimited && (l.Memory.Unlimited || l.Memory.Value > l.MemorySwap.Value) {
				t.Errorf("%s: memory %+v above memory_swap %+v", user, l.Memory, l.MemorySwap)
			}
			for _, v := range l.Values() {
				if v.Text == "" || v.Source.Rule == "" || strings.HasPrefix(v.Text, "-") {
					t.Errorf("%s: %+v", user, v)
				}
			}
			l.ClampTo(limits.Host{CPUs: 1e9, Memory: 1 << 30, Nofile: 1024})
		}
	})
}

var amount = regexp.MustCompile(`^"?([0-9.]+) ?(([a-zA-Z])[iI]?[bB]?)?"?$`)

// FuzzValue: what is written for a limit is never read as more.
func FuzzValue(f *testing.F) {
	for _, v := range []string{"32g", "0.5", "16", "1.99999999999999999999", "9007199254740993b", "8191p", "null", "'3g'"} {
		f.Add(v)
	}
	units := map[string]int64{"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40, "p": 1 << 50}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.ContainsAny(value, ",{}[]:#\n\r") {
			return
		}
		m := amount.FindStringSubmatch(value)
		written, ok := new(big.Rat), false
		if m != nil {
			written, ok = written.SetString(m[1])
		}
		for _, key := range []string{"memory", "max_cpus", "pids_limit"} {
			d, _, err := limits.Decode(limits.File{Name: "f", Data: []byte("defaults: {" + key + ": " + value + "}")}, nil)
			if err != nil || !ok {
				continue
			}
			l := d.Resolve(account.Account{Name: "x"}, noon)
			got := map[string]int64{"memory": int64(l.Memory.Value), "max_cpus": int64(l.MaxCPUs.Value), "pids_limit": l.PidsLimit.Value}[key]
			unit := map[string]int64{"memory": units[strings.ToLower(m[3])], "max_cpus": 1e9, "pids_limit": 1}[key]
			most := new(big.Rat).Mul(written, new(big.Rat).SetInt64(unit))
			if new(big.Rat).SetInt64(got).Cmp(most) > 0 {
				t.Errorf("%s: %q is read as %d", key, value, got)
			}
		}
	})
}
