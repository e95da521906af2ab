// Package registrartest makes registrars for tests of those who work with one.
package registrartest

import (
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/registrar"
)

// New returns a registrar with the default configuration, on a host without
// routes. served tells whether its engine makes networks; nil means that it
// doesn't.
func New(t testing.TB, engine registrar.Engine, store registrar.Store, lock func(string) func(), now func() time.Time, served *bool) *registrar.Registrar {
	t.Helper()
	r, err := registrar.New(t.Context(), registrar.Parts{
		Engine: engine, Store: store, Lock: lock, Config: config.Default,
		Served: func() bool { return served != nil && *served },
		Routes: func() ([]netip.Prefix, error) { return nil, nil }, Log: slog.New(slog.DiscardHandler), Now: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
