package launcher_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/quantity"
)

const mib = quantity.ByteSize(1 << 20)

// runs makes a container that runs, with limits of 1 GiB as bound has them.
func (s *scene) runs(t *testing.T, r container.Record) container.Record {
	t.Helper()
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	return s.record(t, r.ID)
}

// allow sets the owner's limit of memory, without swap.
func (s *scene) allow(memory quantity.ByteSize) {
	s.bound.Memory, s.bound.MemorySwap = quantity.To(memory), quantity.To(memory)
}

func (s *scene) wantMemory(t *testing.T, r container.Record, want quantity.ByteSize) {
	t.Helper()
	if got := s.engine.HostConfig(r.ContainerID, "Memory"); got != float64(want) {
		t.Errorf("memory %v, want %v", got, float64(want))
	}
}

func TestWhatRunsIsFittedToLimitsThatChange(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.allow(256 * mib)
	all := s.runs(t, s.create(t, request()))
	second := request()
	second.Name, second.Body.HostConfig.DeviceRequests, second.Body.HostConfig.Memory = "some", nil, int64(64*mib)
	some := s.runs(t, s.create(t, second))
	fit := func(r container.Record) {
		t.Helper()
		if d, _, err := s.Fit(t.Context(), r.ID); err != nil || d != (limits.Deferral{}) {
			t.Errorf("%+v, %v", d, err)
		}
	}
	for _, step := range []struct{ limit, all, some quantity.ByteSize }{
		{512 * mib, 512 * mib, 64 * mib}, {32 * mib, 32 * mib, 32 * mib}, {48 * mib, 48 * mib, 48 * mib}, {1024 * mib, 1024 * mib, 64 * mib},
	} {
		s.allow(step.limit)
		fit(all)
		fit(some)
		s.wantMemory(t, all, step.all)
		s.wantMemory(t, some, step.some)
	}
	if _, err := s.Update(t.Context(), some.ID, admission.ResourceUpdate(int64(128*mib), 0, 0, container.RestartPolicy{})); err != nil {
		t.Fatal(err)
	}
	before := len(s.engine.Calls())
	fit(some)
	s.wantMemory(t, some, 128*mib)
	if calls := s.engine.Calls()[before:]; slices.ContainsFunc(calls, func(c string) bool { return strings.HasPrefix(c, "Update") }) {
		t.Errorf("what fits was changed: %q", calls)
	}
}

func TestMemoryInUseIsLeft(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.allow(512 * mib)
	r := s.runs(t, s.create(t, request()))
	inUse := 200 * mib
	s.Spare = func(_ int, id string, to quantity.ByteSize) (quantity.ByteSize, error) {
		if id != r.ContainerID || to != 100*mib {
			t.Errorf("asked of %s down to %s", id, to)
		}
		return inUse, nil
	}
	s.allow(100 * mib)
	for _, step := range []struct {
		inUse, has quantity.ByteSize
		deferred   limits.Deferral
	}{
		{200 * mib, 200 * mib, limits.Deferral{Wanted: 100 * mib, For: 200 * mib}},
		{196 * mib, 200 * mib, limits.Deferral{Wanted: 100 * mib, For: 200 * mib}},
		{300 * mib, 200 * mib, limits.Deferral{Wanted: 100 * mib, For: 200 * mib}},
		{150 * mib, 150 * mib, limits.Deferral{Wanted: 100 * mib, For: 150 * mib}},
		{90 * mib, 100 * mib, limits.Deferral{}},
	} {
		inUse = step.inUse
		d, _, err := s.Fit(t.Context(), r.ID)
		if err != nil || d != step.deferred {
			t.Errorf("%s in use: %+v, %v", step.inUse, d, err)
		}
		s.wantMemory(t, r, step.has)
	}
}

// The kernel of v1 refuses what it can't take back.
func TestWhatTheKernelRefusesIsDeferredAndTheRestHolds(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.allow(512 * mib)
	r := s.runs(t, s.create(t, request()))
	s.allow(100 * mib)
	s.bound.PidsLimit = quantity.To[int64](7)
	s.engine.Fail("Update", errors.New("device or resource busy"), false)
	d, changed, err := s.Fit(t.Context(), r.ID)
	if want := (limits.Deferral{Wanted: 100 * mib, For: 512 * mib}); err != nil || d != want || !changed {
		t.Errorf("%+v, %t, %v", d, changed, err)
	}
	s.wantMemory(t, r, 512*mib)
	if got := s.engine.HostConfig(r.ContainerID, "PidsLimit"); got != 7.0 {
		t.Errorf("processes: %v", got)
	}
}

// Of containers made by an older ds01 nobody knows what was asked for.
func TestWhatIsTakenFromAnOldContainerItGetsBack(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.allow(512 * mib)
	r := s.runs(t, s.create(t, request()))
	if err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.Wishes = nil }); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct{ limit, has quantity.ByteSize }{{1024 * mib, 512 * mib}, {100 * mib, 100 * mib}, {1024 * mib, 512 * mib}} {
		s.allow(step.limit)
		if _, _, err := s.Fit(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		s.wantMemory(t, r, step.has)
	}
}

func TestAStartGivesWhatTheLimitsAllowByNow(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.allow(256 * mib)
	r := s.create(t, request())
	s.allow(512 * mib)
	s.wantMemory(t, s.runs(t, r), 512*mib)
}

func TestWhatDoesNotRunIsNotFitted(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	before := len(s.engine.Calls())
	for _, claim := range []string{r.ID, "unknown"} {
		if _, changed, err := s.Fit(t.Context(), claim); err != nil || changed {
			t.Errorf("%s: %t, %v", claim, changed, err)
		}
	}
	if calls := s.engine.Calls()[before:]; len(calls) > 0 {
		t.Errorf("the engine was asked: %q", calls)
	}
}

// What the site's policy takes at create, limits that are renewed don't give
// back; and where it denies, less holds all the same.
func TestThePolicyHoldsForLimitsThatChange(t *testing.T) {
	s := newScene(t, admission.UserNS)
	s.allow(1024 * mib)
	rules := s.under(&rules{verdict: less()})
	r := s.runs(t, s.create(t, request()))
	updates := func() (n int) {
		for _, call := range s.engine.Calls() {
			if strings.HasPrefix(call, "Update") {
				n++
			}
		}
		return n
	}
	before := updates()
	for _, step := range []struct {
		verdict     policy.Verdict
		limit, want quantity.ByteSize
		updates     int
	}{
		{less(), 2048 * mib, 512 * mib, 0}, {no(), 4096 * mib, 512 * mib, 0}, {no(), 256 * mib, 256 * mib, 1}, {less(), 1024 * mib, 512 * mib, 2},
	} {
		rules.verdict = step.verdict
		s.allow(step.limit)
		if _, _, err := s.Fit(t.Context(), r.ID); err != nil {
			t.Fatal(err)
		}
		s.wantMemory(t, r, step.want)
		if n := updates() - before; n != step.updates {
			t.Errorf("limit %s: %d updates, want %d", step.limit, n, step.updates)
		}
	}
}

// Everybody's containers are fitted one after the other.
func TestFitWaitsForNoContainerThatTheEngineSaysNothingAbout(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := newScene(t, admission.UserNS)
		r := s.runs(t, s.create(t, request()))
		ctx := t.Context()
		for name, silence := range map[string]func() (over func()){
			"it": func() func() {
				s.engine.Delay(r.ContainerID, time.Hour)
				return func() { s.engine.Delay(r.ContainerID, 0) }
			},
			"who is at it": func() func() { return s.Ledger.Lock(r.ID) },
		} {
			over := silence()
			began := time.Now()
			if _, _, err := s.Fit(ctx, r.ID); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
				t.Errorf("%s: %v after %s", name, err, time.Since(began))
			}
			over()
		}
		if _, _, err := s.Fit(ctx, r.ID); err != nil {
			t.Error(err)
		}
	})
}
