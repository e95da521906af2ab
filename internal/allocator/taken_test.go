package allocator_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"ds01.dev/ds01/internal/problem"
)

func TestNoDeviceIsGrantedBeforeSomebodyHasLooked(t *testing.T) {
	b := setup(t)
	b.SetBlind(true)
	b.SetBlind(true)
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := b.AwaitSight(short); !errors.Is(err, problem.ErrUnavailable) {
		t.Errorf("waiting for nothing: %v", err)
	}
	if _, _, err := b.Claim(t.Context(), order(100, "web", 1)); !errors.Is(err, problem.ErrUnavailable) {
		t.Errorf("granted: %v", err)
	}
	if _, _, err := b.Claim(t.Context(), order(100, "plain", 0)); err != nil {
		t.Errorf("without a device: %v", err)
	}

	seen := make(chan error)
	go func() { seen <- b.AwaitSight(t.Context()) }()
	b.SetBlind(false)
	b.SetBlind(false)
	if err := errors.Join(<-seen, b.AwaitSight(t.Context())); err != nil {
		t.Errorf("somebody has looked: %v", err)
	}
	if _, _, err := b.Claim(t.Context(), order(100, "web", 1)); err != nil {
		t.Error(err)
	}
}

func TestADeviceThatSomebodyUsesWithoutAClaimIsNotGranted(t *testing.T) {
	b := setup(t)
	strangers, foreign := map[string]string{}, map[string]string{}
	for i, d := range b.devices {
		if i%2 == 0 {
			strangers[d.UUID] = "process 4711 uses it"
		} else {
			foreign[d.UUID] = "a container of the engine's reaches it"
		}
	}
	b.SetStrangers(strangers)
	b.SetTaken(foreign) // neither undoes the other
	b.SetStrangers(maps.Clone(strangers))
	if _, _, err := b.Claim(t.Context(), order(100, "web", 1)); !errors.Is(err, problem.ErrExhausted) {
		t.Errorf("granted: %v", err)
	}
	if got := b.Taken(); len(got) != len(foreign) {
		t.Errorf("of the engine's: %v", got)
	}
	for len(b.Changed()) > 0 {
		<-b.Changed()
	}
	b.SetStrangers(nil)
	select {
	case <-b.Changed(): // somebody may be waiting for it
	default:
		t.Error("nobody is told")
	}
	if _, _, err := b.Claim(t.Context(), order(100, "web", 1)); err != nil {
		t.Error(err)
	}
}
