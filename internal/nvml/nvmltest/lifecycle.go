package nvmltest

import (
	"context"
	"slices"
	"testing"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
)

// A resetter can reset a card. Without it a MIG mode that waits for a reset
// ends the test of that card.
type resetter interface {
	Reset(ctx context.Context, cardUUID string) error
}

// SuiteMIG turns MIG on and off on every idle card that has it off, fills the
// card with instances and removes them. It must never run on a real card that
// somebody uses.
func SuiteMIG(t *testing.T, newDriver func(t *testing.T) Driver) {
	t.Helper()
	d := newDriver(t)
	tested := 0
	for _, c := range cards(t, d) {
		if c.MIG || c.Problem != "" {
			continue
		}
		tested++
		t.Run(c.Model, func(t *testing.T) { lifecycle(t, d, c) })
	}
	if tested == 0 {
		t.Fatal("the driver has no card with MIG off to test with")
	}
}

func lifecycle(t *testing.T, d Driver, c gpu.Card) {
	table, err := d.Profiles(t.Context(), c.UUID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.CreateInstance(t.Context(), c.UUID, table[0].Name, table[0].Placements[0].Start)
	refused(t, "an instance with MIG off", err, problem.ErrConflict)
	setMode(t, d, c, true)
	if now := find(t, d, c.UUID); !now.MIG || len(gpu.Devices([]gpu.Card{now})) != 0 {
		t.Errorf("MIG on and empty, yet something can be granted: %+v", now)
	}
	for _, p := range table {
		fill(t, d, c, p)
	}
	pair(t, d, c, table)
	setMode(t, d, c, false)
	if now := find(t, d, c.UUID); now.MIG || now.UUID != c.UUID {
		t.Errorf("MIG off again: %+v", now)
	}
}

func setMode(t *testing.T, d Driver, c gpu.Card, on bool) {
	t.Helper()
	resetNeeded, err := d.SetMIGMode(t.Context(), c.UUID, on)
	if err != nil {
		t.Fatal(err)
	}
	if resetNeeded && !c.MIGResets {
		t.Error("the mode waits for a reset that the card didn't foretell")
	}
	if !resetNeeded {
		return
	}
	if now := find(t, d, c.UUID); now.MIG == on || !now.MIGWaits {
		t.Errorf("the mode changed before the reset, or doesn't wait for it: %+v", now)
	}
	r, ok := d.(resetter)
	if !ok {
		t.Fatal("the mode waits for a reset that this driver can't do")
	}
	_, err = d.CreateInstance(t.Context(), c.UUID, "1g.10gb", 0)
	refused(t, "an instance while the mode waits for a reset", err, problem.ErrConflict)
	if err := r.Reset(t.Context(), c.UUID); err != nil {
		t.Fatal(err)
	}
}

// fill creates as many instances of p as the card holds, is refused one more,
// and removes them.
func fill(t *testing.T, d Driver, c gpu.Card, p gpu.Profile) {
	var made []gpu.Instance
	for _, at := range p.Placements {
		if len(made) == p.Max {
			_, err := d.CreateInstance(t.Context(), c.UUID, p.Name, at.Start)
			refused(t, "more than the most of "+p.Name, err, problem.ErrConflict)
			break
		}
		in, err := d.CreateInstance(t.Context(), c.UUID, p.Name, at.Start)
		if err != nil {
			t.Errorf("%s at %d: %v", p.Name, at.Start, err)
			continue
		}
		if in.Profile != p.Name || in.Slices != p.Slices || in.MemoryBytes != p.MemoryBytes || place(in) != at {
			t.Errorf("asked for %+v at %d, got %+v", p, at.Start, in)
		}
		made = append(made, in)
		_, err = d.CreateInstance(t.Context(), c.UUID, p.Name, at.Start)
		refused(t, "two in one place", err, problem.ErrConflict)
	}
	now := find(t, d, c.UUID)
	checkInstances(t, now)
	if len(now.Instances) != len(made) {
		t.Errorf("%d instances of %s made, %d listed", len(made), p.Name, len(now.Instances))
	}
	_, err := d.SetMIGMode(t.Context(), c.UUID, false)
	refused(t, "MIG off with instances", err, problem.ErrConflict)
	for _, in := range made {
		if err := d.DestroyInstance(t.Context(), in.UUID); err != nil {
			t.Error(err)
		}
		refused(t, "destroying it twice", d.DestroyInstance(t.Context(), in.UUID), problem.ErrNotFound)
	}
}

// pair tries every two placements together: both stand exactly where
// PlaceLayout finds room for the two and they don't overlap.
func pair(t *testing.T, d Driver, c gpu.Card, table []gpu.Profile) {
	for _, p := range table {
		first, err := d.CreateInstance(t.Context(), c.UUID, p.Name, p.Placements[0].Start)
		if err != nil {
			t.Errorf("%s: %v", p.Name, err)
			continue
		}
		for _, q := range table {
			_, impossible := gpu.PlaceLayout(table, []string{p.Name, q.Name})
			for _, at := range q.Placements {
				second, err := d.CreateInstance(t.Context(), c.UUID, q.Name, at.Start)
				if fits := impossible == nil && !at.Overlaps(place(first)); fits != (err == nil) {
					t.Errorf("%s at %d beside %s at %d: fits: %v, got %v", q.Name, at.Start, p.Name, first.Start, fits, err)
				}
				if err == nil {
					err = d.DestroyInstance(t.Context(), second.UUID)
				} else {
					refused(t, q.Name+" beside "+p.Name, err, problem.ErrConflict)
					err = nil
				}
				if err != nil {
					t.Error(err)
				}
			}
		}
		if err := d.DestroyInstance(t.Context(), first.UUID); err != nil {
			t.Error(err)
		}
	}
}

func find(t *testing.T, d Driver, uuid string) gpu.Card {
	t.Helper()
	all := cards(t, d)
	i := slices.IndexFunc(all, func(c gpu.Card) bool { return c.UUID == uuid })
	if i < 0 {
		t.Fatalf("card %s is gone", uuid)
	}
	return all[i]
}
