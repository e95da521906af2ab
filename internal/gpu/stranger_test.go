package gpu_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/gpu"
)

func TestAClaimExplainsTheProcessesOfItsOwnContainer(t *testing.T) {
	cards := []gpu.Card{
		{UUID: "GPU-0"},
		{UUID: "GPU-1", MIG: true, Instances: []gpu.Instance{{UUID: "MIG-1"}, {UUID: "MIG-2"}}},
	}
	claim := func(id string, state gpu.State, uuids ...string) gpu.Claim {
		c := gpu.Claim{ID: id, State: state}
		for _, uuid := range uuids {
			c.Devices = append(c.Devices, gpu.Grant{UUID: uuid})
		}
		return c
	}
	members := map[string][]int{"a": {10, 11}, "b": {20}} // by claim
	tests := map[string]struct {
		claims  []gpu.Claim
		running map[string][]int // by device
		want    string
	}{
		"nothing runs":                                    {nil, nil, ""},
		"one's own":                                       {[]gpu.Claim{claim("a", gpu.Running, "GPU-0")}, map[string][]int{"GPU-0": {10, 11}}, ""},
		"without a claim":                                 {nil, map[string][]int{"GPU-0": {10}}, "GPU-0:10"},
		"a claim that was given back":                     {[]gpu.Claim{claim("a", gpu.Released, "GPU-0")}, map[string][]int{"GPU-0": {10}}, "GPU-0:10"},
		"somebody else's beside one's own":                {[]gpu.Claim{claim("a", gpu.Running, "GPU-0")}, map[string][]int{"GPU-0": {99, 10, 7}}, "GPU-0:7 GPU-0:99"},
		"another claim's on it":                           {[]gpu.Claim{claim("a", gpu.Running, "GPU-0"), claim("b", gpu.Running, "MIG-1")}, map[string][]int{"GPU-0": {20}}, "GPU-0:20"},
		"on an instance":                                  {[]gpu.Claim{claim("b", gpu.Running, "MIG-1")}, map[string][]int{"MIG-1": {20}, "MIG-2": {20, 5}, "GPU-1": {20, 5}}, "MIG-2:5 MIG-2:20"},
		"on a card with instances, and on none of them":   {nil, map[string][]int{"GPU-1": {5}}, "GPU-1:5 MIG-1:5 MIG-2:5"},
		"one's own, which the driver has on no instance":  {[]gpu.Claim{claim("b", gpu.Running, "MIG-1")}, map[string][]int{"GPU-1": {20}}, ""},
		"both of two containers, on instances of a card":  {[]gpu.Claim{claim("a", gpu.Running, "MIG-1"), claim("b", gpu.Running, "MIG-2")}, map[string][]int{"MIG-1": {10}, "MIG-2": {20}, "GPU-1": {10, 20}}, ""},
		"one's own on the other's instance":               {[]gpu.Claim{claim("a", gpu.Running, "MIG-1"), claim("b", gpu.Running, "MIG-2")}, map[string][]int{"MIG-1": {20}}, "MIG-1:20"},
		"a container that holds several, on each of them": {[]gpu.Claim{claim("a", gpu.Running, "MIG-1", "MIG-2")}, map[string][]int{"MIG-1": {10}, "MIG-2": {11}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			readings := map[string]gpu.Reading{}
			for uuid, pids := range tt.running {
				r := gpu.Reading{}
				for _, pid := range pids {
					r.Processes = append(r.Processes, gpu.Process{PID: pid})
				}
				readings[uuid] = r
			}
			found := gpu.Strangers(cards, tt.claims, readings, func(c gpu.Claim) map[int]bool {
				of := map[int]bool{}
				for _, pid := range members[c.ID] {
					of[pid] = true
				}
				return of
			})
			var words []string
			for _, uuid := range slices.Sorted(maps.Keys(found)) {
				for _, s := range found[uuid] {
					words = append(words, fmt.Sprintf("%s:%d", uuid, s.PID))
				}
			}
			if got := strings.Join(words, " "); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestStrangersAreNamed(t *testing.T) {
	one := gpu.Stranger{Process: gpu.Process{PID: 7}, User: "bob", Command: "python3"}
	if got := gpu.Presence([]gpu.Stranger{one}); got != "process 7 (python3) of bob uses it, and no claim explains that" {
		t.Error(got)
	}
	if got := gpu.Presence([]gpu.Stranger{one, {Process: gpu.Process{PID: 8}}}); got != "process 7 (python3) of bob, process 8 use it, and no claim explains that" {
		t.Error(got)
	}
}
