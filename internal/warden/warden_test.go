package warden_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/warden"
)

// memory is a store.
type memory struct {
	drains map[string]gpu.Drain
	faults map[gpu.Fault]gpu.Record
	err    error
}

func empty() *memory {
	return &memory{drains: map[string]gpu.Drain{}, faults: map[gpu.Fault]gpu.Record{}}
}

func (m *memory) Drains(context.Context) (all []gpu.Drain, err error) {
	for _, d := range m.drains {
		all = append(all, d)
	}
	return all, m.err
}

func (m *memory) SaveDrain(_ context.Context, d gpu.Drain) error {
	if m.err == nil {
		m.drains[d.Card] = d
	}
	return m.err
}

func (m *memory) DeleteDrain(_ context.Context, card string) error {
	if m.err == nil {
		delete(m.drains, card)
	}
	return m.err
}

func (m *memory) Faults(context.Context) (all []gpu.Record, err error) {
	for _, f := range m.faults {
		all = append(all, f)
	}
	return all, m.err
}

func (m *memory) SaveFault(_ context.Context, f gpu.Record) error {
	if m.err == nil {
		m.faults[f.Fault] = f
	}
	return m.err
}

func (m *memory) DeleteFault(_ context.Context, f gpu.Fault) error {
	if m.err == nil {
		delete(m.faults, f)
	}
	return m.err
}

func (m *memory) Flush() error { return m.err }

// A host is two cards and what ds01 remembers of them.
type host struct {
	*warden.Warden
	store   *memory
	cards   []gpu.Card // as they are granted from
	silent  error      // what the driver answers
	present []gpu.Card // as the driver tells
	boot    string
	written []event.Event
	errors  chan gpu.Fault // that the driver tells of
	running map[string]gpu.Reading
	claims  []gpu.Claim
	gone    map[int]bool // processes that are
	taken   map[string]string
}

func begin(t *testing.T, m *memory) *host {
	t.Helper()
	h := &host{store: m, errors: make(chan gpu.Fault), boot: "first", present: []gpu.Card{
		{UUID: "GPU-0"}, {UUID: "GPU-1", Index: 1, MIG: true, Instances: []gpu.Instance{{UUID: "MIG-1"}, {UUID: "MIG-2", Index: 1}}},
	}}
	h.start(t)
	return h
}

// start starts ds01 on the host, anew.
func (h *host) start(t *testing.T) {
	t.Helper()
	w, err := warden.New(t.Context(), warden.Parts{
		Store: h.store, Refresh: h.refresh, Watch: h.watch, Boot: h.boot, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Readings: func(context.Context) (map[string]gpu.Reading, error) { return h.running, h.silent },
		Claims:   func() []gpu.Claim { return h.claims }, Members: func(gpu.Claim) map[int]bool { return map[int]bool{10: true} },
		Identify: func(pid int) (user, command string, there bool) { return "bob", "train", !h.gone[pid] },
		Allowed:  func(pid int) bool { return pid == 77 },
		Taken:    func(taken map[string]string) { h.taken = taken },
		Record:   func(e event.Event) { h.written = append(h.written, e) },
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Warden = w
	if err := h.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (h *host) refresh(ctx context.Context) error {
	if h.silent != nil {
		return h.silent
	}
	h.cards = nil
	for _, c := range h.present {
		c.Instances = slices.Clone(c.Instances)
		h.cards = append(h.cards, c)
	}
	h.Mark(ctx, h.cards)
	return nil
}

func (h *host) want(t *testing.T, drained ...string) {
	t.Helper()
	for i, c := range h.cards {
		if c.Drained != drained[i] {
			t.Errorf("card %d is drained %q, want %q", i, c.Drained, drained[i])
		}
	}
}

func TestADrainHoldsUntilItIsUndone(t *testing.T) {
	h := begin(t, empty())
	if d, err := h.Drain(t.Context(), "1", "a fan", "root"); err != nil || d.Card.UUID != "GPU-1" || d.Drain.Reason != "a fan" {
		t.Fatalf("got %+v, %v", d, err)
	}
	h.want(t, "", "a fan (by root)")
	h.start(t)
	h.want(t, "", "a fan (by root)")
	if d, err := h.Drain(t.Context(), "GPU-1", "", "eve"); err != nil || d.Drain.By != "eve" {
		t.Errorf("drained again: %+v, %v", d, err)
	}
	h.want(t, "", "by eve")
	if d, err := h.Undrain(t.Context(), "1"); err != nil || d.Card.Drained != "" || d.Drain != (gpu.Drain{}) {
		t.Errorf("undrained: %+v, %v", d, err)
	}
	h.want(t, "", "")
	h.start(t)
	h.want(t, "", "")
}

func TestWhatCannotBeDrained(t *testing.T) {
	h := begin(t, empty())
	if _, err := h.Drain(t.Context(), "2", "", "root"); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("a card that isn't there: %v", err)
	}
	if _, err := h.Undrain(t.Context(), "0"); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("undrain of what isn't drained: %v", err)
	}
	h.store.err = errors.New("disk full")
	if _, err := h.Drain(t.Context(), "0", "", "root"); !errors.Is(err, problem.ErrUnavailable) {
		t.Errorf("a full disk: %v", err)
	}
	h.want(t, "", "")
	h.store.err, h.silent = nil, errors.New("no answer")
	if _, err := h.Drain(t.Context(), "0", "", "root"); !errors.Is(err, h.silent) {
		t.Errorf("a silent driver: %v", err)
	}
	h.silent = nil
	h.start(t)
	h.want(t, "by root", "")
}
