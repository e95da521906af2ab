package launcher_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func TestStartMountsThenStarts(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if len(s.mounter.mounted) > 0 {
		t.Errorf("mounted before the start: %v", s.mounter.mounted)
	}
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	o, err := s.engine.Inspect(t.Context(), r.ContainerID)
	if err != nil || !o.Running() || !slices.Equal(s.mounter.mounted, []string{r.Mounts[0].HostPath}) {
		t.Errorf("%+v, mounted %v, %v", o, s.mounter.mounted, err)
	}
	if got := s.record(t, r.ID); got.State != gpu.Running || !got.HeldUntil.IsZero() {
		t.Errorf("record %+v", got)
	}
	before := len(s.engine.Calls())
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	for _, call := range s.engine.Calls()[before:] {
		if call != "Inspect "+r.ContainerID {
			t.Errorf("starting what runs did %s", call)
		}
	}
}

func TestAFailedStartPutsTheClaimBack(t *testing.T) {
	broken := errors.New("no such directory")
	for name, spoil := range map[string]func(*scene){
		"the directory is gone": func(s *scene) { s.mounter.refuse["Mount"] = broken },
		"the engine refuses":    func(s *scene) { s.engine.Fail("Start", broken, false) },
	} {
		for state, until := range map[gpu.State]time.Time{
			gpu.Bound: noon.Add(30 * time.Minute), gpu.Held: noon.Add(50 * time.Minute), gpu.Released: {},
		} {
			t.Run(name+", "+string(state), func(t *testing.T) {
				s := newScene(t, admission.UserNS)
				r := s.create(t, request())
				err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State, c.HeldUntil = state, until })
				if err != nil {
					t.Fatal(err)
				}
				spoil(s)
				if err := s.Start(t.Context(), r.ID); !errors.Is(err, broken) {
					t.Fatalf("got %v", err)
				}
				if got := s.record(t, r.ID); got.State != state || !got.HeldUntil.Equal(until) {
					t.Errorf("it is %s until %s", got.State, got.HeldUntil)
				}
				if len(s.mounter.mounted) > 0 {
					t.Errorf("left mounted: %v", s.mounter.mounted)
				}
			})
		}
	}
}

// A restart stops first. When the start then fails, the devices are held from
// the stop on and no longer.
func TestAFailedRestartHoldsTheDevicesForTheirTimeOnly(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	s.now = noon.Add(time.Minute)
	s.mounter.refuse["Mount"] = errors.New("no such directory")
	if err := s.Restart(t.Context(), r.ID, -1); err == nil {
		t.Fatal("no error")
	}
	if got := s.record(t, r.ID); got.State != gpu.Held || !got.HeldUntil.Equal(s.now.Add(time.Hour)) {
		t.Errorf("it is %s until %s", got.State, got.HeldUntil)
	}
}

func TestALostAnswerToAStartIsLookedUp(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	s.engine.Fail("Start", errors.New("connection reset"), true)
	if err := s.Start(t.Context(), r.ID); err == nil {
		t.Fatal("no error")
	}
	if got := s.record(t, r.ID); got.State != gpu.Running || len(s.mounter.mounted) != 1 {
		t.Errorf("it runs, and the record says %s, mounted %v", got.State, s.mounter.mounted)
	}
}

func TestRestart(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	for range 2 { // once stopped, once running
		s.now = s.now.Add(time.Minute)
		if err := s.Restart(t.Context(), r.ID, time.Second); err != nil {
			t.Fatal(err)
		}
		o, err := s.engine.Inspect(t.Context(), r.ContainerID)
		if err != nil || !o.Running() || !o.StartedAt.Equal(s.now) || s.record(t, r.ID).State != gpu.Running {
			t.Errorf("%+v, %v", o, err)
		}
	}
}

func TestStartAsksAgainForDevicesThatWereGivenBack(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State = gpu.Released }); err != nil {
		t.Fatal(err)
	}
	second := request()
	second.Name, second.Account.UID = "other", 1002
	other := s.create(t, second)
	if err := s.Start(t.Context(), r.ID); !errors.Is(err, problem.ErrExhausted) {
		t.Errorf("its device is another's: %v", err)
	}
	if o, err := s.engine.Inspect(t.Context(), r.ContainerID); err != nil || o.Running() {
		t.Errorf("%+v, %v", o, err)
	}
	if err := s.Ledger.Forget(t.Context(), other.ID); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Error(err)
	}
}

func TestDevicesThatComeAtEachStartMayBeOthers(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.atStart = true
	for i := range 2 {
		s.devices = append(s.devices, gpu.Device{UUID: fmt.Sprint("GPU-", i), Slot: fmt.Sprint(i), Card: i, Instance: -1, Profile: gpu.Full, Share: quantity.FullGPU})
	}
	r := s.create(t, request())
	if _, given := s.grants[r.ContainerID]; given {
		t.Error("it is given devices before it starts")
	}
	starts := func(want string) {
		t.Helper()
		if err := s.Start(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		if got := s.grants[r.ContainerID]; !slices.Equal(got, []string{want}) || s.record(t, r.ID).Devices[0].UUID != want {
			t.Errorf("given %v, holds %v, want %s", got, s.record(t, r.ID).Devices, want)
		}
	}
	starts("GPU-0")
	s.engine.Exit(r.ContainerID, 0)
	if err := s.Cleanup(t.Context(), s.record(t, r.ID)); err != nil {
		t.Fatal(err)
	}
	if _, given := s.grants[r.ContainerID]; given {
		t.Error("it would be given its devices though it doesn't run")
	}
	if err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State = gpu.Released }); err != nil {
		t.Fatal(err)
	}
	second := request()
	second.Name, second.Account.UID = "other", 1002
	s.create(t, second)
	s.engine.Fail("Start", errors.New("no such runtime"), false)
	if err := s.Start(t.Context(), r.ID); err == nil {
		t.Fatal("it started")
	}
	if got := s.record(t, r.ID); got.State != gpu.Released || got.Devices[0].UUID != "GPU-0" || s.grants[r.ContainerID] != nil {
		t.Errorf("a failed start left %s %v, given %v", got.State, got.Devices, s.grants)
	}
	starts("GPU-1")
}

// A container whose device is out of service takes another one. Where the start
// then fails it has neither: the one that it had may be somebody else's by now.
func TestAFailedStartOnAnotherDeviceHoldsNone(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.atStart = true
	for i := range 2 {
		s.devices = append(s.devices, gpu.Device{UUID: fmt.Sprint("GPU-", i), Slot: fmt.Sprint(i), Card: i, Instance: -1, Profile: gpu.Full, Share: quantity.FullGPU})
	}
	r := s.create(t, request())
	if err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State, c.HeldUntil = gpu.Held, noon.Add(time.Hour) }); err != nil {
		t.Fatal(err)
	}
	s.devices[0].Problem = "XID 79"
	s.engine.Fail("Start", errors.New("no such runtime"), false)
	if err := s.Start(t.Context(), r.ID); err == nil {
		t.Fatal("it started")
	}
	if got := s.record(t, r.ID); got.State != gpu.Released || !got.HeldUntil.IsZero() {
		t.Errorf("it is %s until %s, on %v", got.State, got.HeldUntil, got.Devices)
	}
	if err := s.Start(t.Context(), r.ID); err != nil || s.record(t, r.ID).Devices[0].UUID != "GPU-1" {
		t.Errorf("%v, on %v", err, s.record(t, r.ID).Devices)
	}
}

func TestStartOfWhatIsNotThere(t *testing.T) {
	s := newScene(t, admission.UserNS)
	if err := s.Start(t.Context(), "unknown"); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	s.engine.Fail("Create", errors.New("lost"), false)
	if _, _, err := s.Create(t.Context(), request()); err == nil {
		t.Fatal("no error")
	}
	pending := s.Ledger.Records()[0]
	if err := s.Start(t.Context(), pending.ID); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("pending: %v", err)
	}
	gone := s.Ledger.Records()[0]
	if err := s.Restart(t.Context(), gone.ID, 0); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("pending: %v", err)
	}
}
