package allocator

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Extend grants a container devices beside those that it holds. One whose claim
// was released only asks for more when it is started. Errors are as Claim's.
func (a *Allocator) Extend(ctx context.Context, claim string, want gpu.Request, l limits.Limits) (container.Record, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.records[claim]
	if !ok {
		return r, fmt.Errorf("claim %s: %w", claim, problem.ErrNotFound)
	}
	if err := roomFor(r, want, l); err != nil {
		return r, err
	}
	has := askedOf(r)
	if r.State == gpu.Running && len(r.Devices) == 0 { // what it asked for was taken
		has = gpu.Request{}
	}
	r.Asked = has.And(want).String()
	if r.State == gpu.Released {
		return r, a.save(ctx, r)
	}
	s := StandingOf(l)
	if limit := &s.Quota.MaxPerContainer; !limit.Unlimited {
		limit.Value -= len(r.Devices)
	}
	g, err := a.turn(gpu.Ticket{UID: r.UID, Login: r.Login, Request: want, Lasts: r.Lasts}, s)
	if err != nil {
		return r, err
	}
	if gpu.Shorter(r.Lasts, g.lasts) != r.Lasts {
		return r, &problem.Error{
			What: "GPU not granted", Why: problem.Because(problem.ErrConflict, "what is kept for you is for something that ends within "+quantity.FormatDuration(g.lasts)),
			Next: fmt.Sprintf("Make a container that does: 'ds01 container deploy NAME --time %s', or leave the place: 'ds01 gpu queue leave'.", quantity.FormatDuration(g.lasts)),
		}
	}
	if len(r.Devices) == 0 {
		r.Since = a.now().UTC()
	}
	r.Devices = append(slices.Clone(r.Devices), grants(g.devices)...)
	if err := a.saveGrant(ctx, r, g.ticket); err != nil {
		return r, err
	}
	return r, a.Flush()
}

// askedOf is what a container asks for, "" being nothing.
func askedOf(r container.Record) gpu.Request {
	if r.Asked == "" {
		return gpu.Request{}
	}
	return wishOf(r).Request
}

func roomFor(r container.Record, want gpu.Request, l limits.Limits) error {
	limit := l.MaxGPUsPerContainer
	if want.All || limit.Unlimited || len(r.Devices)+want.Devices() <= limit.Value && len(r.Devices) < limit.Value {
		return nil
	}
	return &problem.Error{
		What: "GPU not granted",
		Why: problem.Because(problem.ErrLimit, fmt.Sprintf("%s holds %d and %d more were asked for; the limit is %d in one container (max_gpus_per_container: %s)",
			r.Name, len(r.Devices), want.Devices(), limit.Value, l.Source("max_gpus_per_container"))),
		Next: "Release one first: 'ds01 container gpu release " + r.Name + "'.", Code: "EXCEEDS_CONTAINER_LIMIT",
	}
}

// Release takes devices from a container, which then doesn't ask for them any
// more either. Those that it doesn't hold are passed over.
func (a *Allocator) Release(ctx context.Context, claim string, uuids []string) (container.Record, error) {
	return a.lose(ctx, claim, uuids, a.askedWithout)
}

// Take takes devices from a container, which asks for them again when it is
// started next.
func (a *Allocator) Take(ctx context.Context, claim string, uuids []string) (container.Record, error) {
	return a.lose(ctx, claim, uuids, func(r container.Record, _ []gpu.Grant) string { return r.Asked })
}

// lose takes devices from a container; asked is what it asks for then.
func (a *Allocator) lose(ctx context.Context, claim string, uuids []string, asked func(r container.Record, lost []gpu.Grant) string) (container.Record, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.records[claim]
	if !ok {
		return r, fmt.Errorf("claim %s: %w", claim, problem.ErrNotFound)
	}
	was := r
	gone := func(g gpu.Grant) bool { return slices.Contains(uuids, g.UUID) }
	was.Devices = slices.DeleteFunc(slices.Clone(r.Devices), func(g gpu.Grant) bool { return !gone(g) })
	r.Devices = slices.DeleteFunc(slices.Clone(r.Devices), gone)
	r.Asked = asked(r, was.Devices)
	if r.State != gpu.Released {
		if err := a.ended(ctx, was, a.now()); err != nil {
			return r, err
		}
	}
	if len(r.Devices) == 0 {
		r.Since = time.Time{}
	}
	return r, a.save(ctx, r)
}

// askedWithout is what a record asks for once it has lost devices.
func (a *Allocator) askedWithout(r container.Record, lost []gpu.Grant) string {
	if r.Asked == "" || len(r.Devices) == 0 {
		return ""
	}
	host := func(grants []gpu.Grant) (all []gpu.Device) {
		for _, g := range grants {
			d := gpu.Device{UUID: g.UUID, Slot: g.Slot, Profile: gpu.AnyInstance}
			if i := slices.IndexFunc(a.devices(), func(d gpu.Device) bool { return d.UUID == g.UUID }); i >= 0 {
				d = a.devices()[i]
			}
			all = append(all, d)
		}
		return all
	}
	asked, kept := askedOf(r), host(r.Devices)
	for _, d := range host(lost) {
		asked = asked.Less(d, kept)
	}
	return asked.String()
}
