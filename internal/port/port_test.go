package port_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
)

func policy() port.Policy {
	return port.Policy{Own: port.Range{First: 20000, Last: 20009}, Addresses: []string{"127.0.0.1", "10.0.0.1"}}
}

func only(host int) port.Range { return port.Range{First: host, Last: host} }

func TestParseRange(t *testing.T) {
	for text, want := range map[string]port.Range{
		"20000-59999": {First: 20000, Last: 59999}, "1024-65535": {First: 1024, Last: 65535}, "20000": only(20000),
		"1023-2000": {}, "0": {}, "": {}, "2000-1999": {}, "2000-65536": {}, "-2000": {}, "2000-": {}, "+2000-3000": {}, "a-b": {}, "1-2-3": {},
	} {
		if got, err := port.ParseRange(text); got != want || (err == nil) != (want != port.Range{}) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestAssign(t *testing.T) {
	for name, c := range map[string]struct {
		asks []port.Ask
		want []int // of the host
	}{
		"nothing":                      {},
		"the first that is free":       {[]port.Ask{{Container: 80, Protocol: "tcp"}}, []int{20001}},
		"taken for the other protocol": {[]port.Ask{{Container: 80, Protocol: "udp"}}, []int{20000}},
		"one of the person's choice":   {[]port.Ask{{Container: 80, Protocol: "tcp", Host: only(20005)}}, []int{20005}},
		"what is chosen for a person leaves what they choose": {
			[]port.Ask{{Container: 80, Protocol: "tcp"}, {Container: 81, Protocol: "tcp", Host: only(20001)}}, []int{20002, 20001},
		},
		"one of a range":     {[]port.Ask{{Container: 80, Protocol: "tcp", Host: port.Range{First: 20000, Last: 20003}}}, []int{20001}},
		"at another address": {[]port.Ask{{Container: 80, Protocol: "tcp", Address: "10.0.0.1"}}, []int{20001}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := port.Assign("Container not created", c.asks, policy(), func(protocol string, host int) bool { return protocol == "tcp" && host == 20000 })
			if err != nil {
				t.Fatal(err)
			}
			var hosts []int
			for i, p := range got {
				hosts = append(hosts, p.Host)
				if p.Container != c.asks[i].Container || p.Protocol != c.asks[i].Protocol || c.asks[i].Address == "" && p.Address != "127.0.0.1" {
					t.Errorf("%+v for %+v", p, c.asks[i])
				}
			}
			if !slices.Equal(hosts, c.want) {
				t.Errorf("got %v, want %v", hosts, c.want)
			}
		})
	}
}

func TestAPortThatCantBeIsRefusedWithOnesOwnRange(t *testing.T) {
	for name, c := range map[string]struct {
		ask  port.Ask
		kind error
		says string
	}{
		"a port of the system":             {port.Ask{Protocol: "tcp", Container: 80, Host: only(80)}, problem.ErrDenied, "Yours are 20000-20009"},
		"somebody else's":                  {port.Ask{Protocol: "tcp", Container: 80, Host: only(20010)}, problem.ErrDenied, "20010"},
		"a range that goes beyond":         {port.Ask{Protocol: "tcp", Container: 80, Host: port.Range{First: 20005, Last: 20010}}, problem.ErrDenied, "20000-20009"},
		"a range that begins before":       {port.Ask{Protocol: "tcp", Container: 80, Host: port.Range{First: 19999, Last: 20001}}, problem.ErrDenied, "19999"},
		"every address":                    {port.Ask{Protocol: "tcp", Container: 80, Address: "0.0.0.0"}, problem.ErrDenied, "127.0.0.1 and 10.0.0.1"},
		"one that is taken":                {port.Ask{Protocol: "tcp", Container: 80, Host: only(20000)}, problem.ErrConflict, "20000/tcp"},
		"one of a range that is all taken": {port.Ask{Protocol: "tcp", Container: 80, Host: port.Range{First: 20000, Last: 20001}}, problem.ErrExhausted, "20000-20001"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := port.Assign("Container not created", []port.Ask{c.ask}, policy(), func(_ string, host int) bool { return host < 20002 })
			if !errors.Is(err, c.kind) || !strings.Contains(problem.OneLine(err), c.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestRangesOfSlotsNeverMeet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		whole := port.Range{First: rapid.IntRange(1024, 60000).Draw(t, "first")}
		whole.Last = rapid.IntRange(whole.First, 65535).Draw(t, "last")
		size := rapid.IntRange(1, 500).Draw(t, "size")
		n := whole.Slots(size)
		for slot := range n {
			r := whole.Slot(slot, size)
			if !whole.Has(r.First) || !whole.Has(r.Last) || r.Last-r.First+1 != size {
				t.Fatalf("slot %d of %v: %v", slot, whole, r)
			}
			if slot > 0 && whole.Slot(slot-1, size).Last >= r.First {
				t.Fatalf("slots %d and %d meet", slot-1, slot)
			}
		}
	})
}

func TestAssignedPortsAreOnesOwnAndEachGivenOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		asks := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) port.Ask {
			a := port.Ask{Container: 80, Protocol: rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "protocol")}
			if rapid.Bool().Draw(t, "chosen") {
				a.Host.First = rapid.IntRange(19998, 20011).Draw(t, "first")
				a.Host.Last = rapid.IntRange(a.Host.First, 20012).Draw(t, "last")
			}
			return a
		}), 0, 8).Draw(t, "asks")
		taken := rapid.MapOf(rapid.IntRange(20000, 20009), rapid.Bool()).Draw(t, "taken")
		got, err := port.Assign("x", asks, policy(), func(_ string, host int) bool { return taken[host] })
		if err != nil {
			return
		}
		seen := map[port.Port]bool{}
		for i, p := range got {
			key := port.Port{Protocol: p.Protocol, Host: p.Host}
			if seen[key] || taken[p.Host] || !policy().Own.Has(p.Host) || asks[i].Host != (port.Range{}) && !asks[i].Host.Has(p.Host) {
				t.Fatalf("%+v of %+v", got, asks)
			}
			seen[key] = true
		}
	})
}
