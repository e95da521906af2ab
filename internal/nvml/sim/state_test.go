package sim_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/nvml/sim"
)

func readings(t *testing.T, d *sim.Driver) map[string]gpu.Reading {
	t.Helper()
	all, err := d.Readings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestWhatWasMadeOutlivesTheProgram(t *testing.T) {
	cfg := sim.Config{
		GPUs: []string{"h100-80gb", "a100-80gb"}, MIG: map[int][]string{0: {"1g.10gb", "2g.20gb"}}, File: filepath.Join(t.TempDir(), "cards.json"),
	}
	d := driver(t, cfg)
	before := cards(t, d)
	if err := d.DestroyInstance(t.Context(), before[0].Instances[0].UUID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SetMIGMode(t.Context(), before[1].UUID, true); err != nil { // waits for a reset
		t.Fatal(err)
	}
	want := cards(t, d)
	if diff := cmp.Diff(want, cards(t, driver(t, cfg))); diff != "" {
		t.Errorf("after a restart (-before +after):\n%s", diff)
	}
	d = driver(t, cfg)
	if err := d.Reset(t.Context(), want[1].UUID); err != nil {
		t.Fatal(err)
	}
	if _, err := d.CreateInstance(t.Context(), want[1].UUID, "3g.40gb", 4); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cards(t, d), cards(t, driver(t, cfg))); diff != "" {
		t.Errorf("after another one:\n%s", diff)
	}
	set(t, d.Set(want[1].UUID, sim.Override{Power: new(300.0)}))
	set(t, d.Set(cards(t, d)[1].Instances[0].UUID, sim.Override{Utilization: new(80)}))
	set(t, d.SetHealth(want[1].UUID, func(h *gpu.Health) { h.RemapPending = true }))
	set(t, d.Lose(want[0].UUID))
	after := driver(t, cfg)
	if diff := cmp.Diff(cards(t, d), cards(t, after)); diff != "" {
		t.Errorf("ill cards after a restart:\n%s", diff)
	}
	if diff := cmp.Diff(readings(t, d), readings(t, after)); diff != "" {
		t.Errorf("readings after a restart:\n%s", diff)
	}
	set(t, d.Garble(want[1].UUID, true))
	if diff := cmp.Diff(readings(t, d), readings(t, driver(t, cfg))); diff != "" {
		t.Errorf("what can't be read after a restart:\n%s", diff)
	}
	other := cfg
	other.MIG = nil
	if got := cards(t, driver(t, other)); got[0].MIG || got[1].MIG {
		t.Errorf("another configuration is still as the old one was: %+v", got)
	}
}
