package warden_test

import (
	"errors"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/gpu"
)

func run(pids ...int) gpu.Reading {
	var r gpu.Reading
	for _, pid := range pids {
		r.Processes = append(r.Processes, gpu.Process{PID: pid, MemoryBytes: 5})
	}
	return r
}

func TestADeviceThatSomebodyUsesWithoutAClaimIsTaken(t *testing.T) {
	h := begin(t, empty())
	h.running = map[string]gpu.Reading{"GPU-0": run(10, 77, 4711), "MIG-1": run(10)}
	h.claims = []gpu.Claim{{ID: "a", State: gpu.Running, Devices: []gpu.Grant{{UUID: "GPU-0"}}}}
	for range 3 {
		h.Look(t.Context())
		if len(h.taken) != 2 || h.taken["GPU-0"] != "process 4711 (train) of bob uses it, and no claim explains that" || !strings.HasPrefix(h.taken["MIG-1"], "process 10 (train) of bob") {
			t.Fatalf("taken are %v", h.taken)
		}
	}
	if all := h.Strangers()["GPU-0"]; len(all) != 1 || all[0].PID != 4711 || all[0].User != "bob" || all[0].MemoryBytes != 5 {
		t.Errorf("got %+v", all)
	}
	if len(h.written) != 2 || h.written[0].Action != "gpu stranger" {
		t.Errorf("written down: %+v", h.written)
	}
	h.silent = errors.New("no answer")
	if h.Look(t.Context()); len(h.taken) != 2 {
		t.Errorf("forgotten while the driver was silent: %v", h.taken)
	}
	h.silent, h.running = nil, nil
	if h.Look(t.Context()); len(h.taken)+len(h.Strangers()) != 0 {
		t.Errorf("still taken: %v", h.taken)
	}
}

// A container's last process is gone while its claim is: the driver's answer is
// of a moment before.
func TestAProcessThatIsGoneCountsOnlyIfItStays(t *testing.T) {
	h := begin(t, empty())
	h.running, h.gone = map[string]gpu.Reading{"GPU-0": run(4711)}, map[int]bool{4711: true}
	if h.Look(t.Context()); len(h.taken) > 0 {
		t.Errorf("taken at first sight: %v", h.taken)
	}
	if h.Look(t.Context()); len(h.taken) != 1 {
		t.Errorf("a process that never let go of its memory: %v", h.taken)
	}
}
