package container_test

import (
	"slices"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
)

func TestRecord(t *testing.T) {
	r := container.Record{
		Claim:  gpu.Claim{Devices: []gpu.Grant{{Slot: "1.0"}, {Slot: "0"}}},
		Mounts: []container.Mount{{Source: "/home/a/data", Target: "/data"}, {Source: "/home/a/w", Target: "/workspace"}},
	}
	if r.Workspace() != "/home/a/w" || !slices.Equal(r.Slots(), []string{"1.0", "0"}) {
		t.Errorf("workspace %s, slots %v", r.Workspace(), r.Slots())
	}
	if none := (container.Record{}); none.Workspace() != "" || len(none.Slots()) != 0 {
		t.Error("nothing has no workspace and no slots")
	}
}

func TestObserved(t *testing.T) {
	for state, want := range map[string]bool{
		"running": true, "paused": true, "restarting": true, "created": false, "exited": false, "dead": false, "removing": false, "": false,
	} {
		if got := (container.Observed{State: state}).Running(); got != want {
			t.Errorf("%s: %t", state, got)
		}
	}
	o := container.Observed{Labels: map[string]string{label.Claim: "x"}}
	if o.ClaimID() != "x" || (container.Observed{}).ClaimID() != "" {
		t.Error("claim")
	}
}
