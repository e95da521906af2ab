package network_test

import (
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/network"
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, t := range texts {
		all = append(all, netip.MustParsePrefix(t))
	}
	return all
}

func TestFree(t *testing.T) {
	for name, c := range map[string]struct {
		pool  string
		bits  int
		taken []netip.Prefix
		want  string // "": none
	}{
		"the first of an empty pool":                       {"10.192.0.0/12", 26, nil, "10.192.0.0/26"},
		"the next":                                         {"10.192.0.0/12", 26, prefixes("10.192.0.0/26"), "10.192.0.64/26"},
		"past a route of the host":                         {"10.192.0.0/12", 26, prefixes("10.192.0.0/16"), "10.193.0.0/26"},
		"past a route within one":                          {"10.192.0.0/12", 26, prefixes("10.192.0.17/32"), "10.192.0.64/26"},
		"a gap":                                            {"10.192.0.0/12", 26, prefixes("10.192.0.0/26", "10.192.0.128/26"), "10.192.0.64/26"},
		"none where a route covers the pool":               {"10.192.0.0/12", 26, prefixes("10.0.0.0/8"), ""},
		"none in a full pool":                              {"10.192.0.0/25", 26, prefixes("10.192.0.0/26", "10.192.0.64/26"), ""},
		"a pool that is one subnet":                        {"10.192.0.0/26", 26, nil, "10.192.0.0/26"},
		"a pool written with more than its own bits":       {"10.192.0.9/12", 26, nil, "10.192.0.0/26"},
		"routes of version 6 overlap nothing":              {"10.192.0.0/12", 26, prefixes("fd00::/8"), "10.192.0.0/26"},
		"a pool at the end of all addresses, all of taken": {"255.255.255.128/25", 26, prefixes("255.255.255.128/25"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := network.Free(netip.MustParsePrefix(c.pool), c.bits, c.taken)
			if ok != (c.want != "") || ok && got.String() != c.want {
				t.Errorf("got %v %t, want %q", got, ok, c.want)
			}
		})
	}
}

func TestSubnetsNeverOverlapAndLieInThePool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := netip.MustParsePrefix("10.192.0.0/24")
		var taken []netip.Prefix
		for {
			got, ok := network.Free(pool, rapid.IntRange(26, 29).Draw(t, "bits"), taken)
			if !ok {
				return
			}
			for _, other := range taken {
				if got.Overlaps(other) {
					t.Fatalf("%v overlaps %v", got, other)
				}
			}
			if !pool.Contains(got.Addr()) {
				t.Fatalf("%v isn't in %v", got, pool)
			}
			taken = append(taken, got)
		}
	})
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{"bridge": true, "default": true, "none": true, "host": true, "net": false, "": false} {
		if network.Predefined(name) != want {
			t.Errorf("%q", name)
		}
	}
	if got := network.DefaultOf(1001); got != "default._.1001" {
		t.Error(got)
	}
}
