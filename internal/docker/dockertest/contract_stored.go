package dockertest

import (
	"encoding/json"
	"slices"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// stored checks that the engine shows what it was given, with its own defaults
// beside it, and that an update changes it, whether the container runs or not.
func stored(t *testing.T, e Subject) {
	t.Helper()
	id := create(t, e, "stored", false)
	type hostConfig struct {
		Runtime, PidMode           string
		Privileged                 bool
		Memory, MemorySwap         int64
		MaskedPaths, ReadonlyPaths []string
		RestartPolicy              struct{ Name string }
	}
	look := func() hostConfig {
		o, raw, err := e.Stored(t.Context(), id)
		must(t, err)
		var doc struct {
			ID         string `json:"Id"`
			HostConfig hostConfig
		}
		must(t, json.Unmarshal(raw, &doc))
		if o.ID != id || doc.ID != id || o.ClaimID() != "claim-stored" {
			t.Errorf("%+v, %s", o, raw)
		}
		return doc.HostConfig
	}
	if h := look(); h.Runtime != "runc" || h.PidMode != "" || h.Privileged || h.Memory != 0 ||
		!slices.Contains(h.MaskedPaths, "/proc/kcore") || !slices.Contains(h.ReadonlyPaths, "/proc/sysrq-trigger") {
		t.Errorf("created: %+v", h)
	}
	_, err := e.Update(t.Context(), id, []byte(`{"Memory":16777216,"MemorySwap":33554432}`))
	must(t, err)
	if h := look(); h.Memory != 16<<20 || h.MemorySwap != 32<<20 {
		t.Errorf("updated: %+v", h)
	}
	must(t, e.Start(t.Context(), id))
	_, err = e.Update(t.Context(), id, []byte(`{"Memory":20971520,"RestartPolicy":{"Name":"no"}}`))
	must(t, err)
	if h := look(); h.Memory != 20<<20 || h.MemorySwap != 32<<20 || h.RestartPolicy.Name != "no" || h.Runtime != "runc" {
		t.Errorf("updated while it runs: %+v", h)
	}
	_, err = e.Update(t.Context(), id, []byte(`{"RestartPolicy":{"Name":"on-failure","MaximumRetryCount":3}}`))
	must(t, err)
	if got := inspect(t, e, id).Restart; got != (container.RestartPolicy{Name: "on-failure", MaxRetries: 3}) {
		t.Errorf("the engine's restart policy: %+v", got)
	}
	_, err = e.Update(t.Context(), id, []byte(`{"RestartPolicy":{"Name":"no"}}`))
	must(t, err)
	if got := inspect(t, e, id).Restart; got.Wanted() {
		t.Errorf("taken back: %+v", got)
	}
	_, err = e.Update(t.Context(), id, []byte(`{"Memory":1000}`))
	wantKind(t, "too little memory", err, problem.ErrInvalid)
}
