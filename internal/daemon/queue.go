package daemon

import (
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/problem"
)

// priorityClass is what being in the group for priority adds to a person's
// priority: more than limits say.
const priorityClass = 1_000_000

// site is what the queue asks of the host.
func (h *host) site() allocator.Site {
	return allocator.Site{
		Standing: h.standing, Reserved: h.reserved,
		Hold: func() time.Duration { return h.d.settings.config().GPU.Queue.HoldFor() },
	}
}

// standing is what a person brings to the queue. Who may no longer hold GPUs
// is granted none.
func (h *host) standing(uid int) (gpu.Standing, error) {
	who, err := h.d.accounts.Lookup(uid)
	if err != nil {
		return gpu.Standing{}, err
	}
	if roles := h.roles(who); !roles.GPU || !roles.Docker {
		return gpu.Standing{}, problem.Because(problem.ErrDenied, who.Name+" may not hold GPUs")
	}
	s := allocator.StandingOf(h.limits(who))
	if h.d.steward != nil && lifecycle.Exempt(h.d.steward.Exemptions(), who.Name, time.Now())[lifecycle.Runtime] != "" {
		s.Runtime, s.Extension = 0, 0
	}
	return s, nil
}

// nobody has what the limits file reserves for a name without an account: it
// is kept from everybody all the same.
const nobody = -1

// reserved returns what the limits file reserves.
func (h *host) reserved() []gpu.Reservation {
	var all []gpu.Reservation
	for _, r := range h.d.settings.document().Reservations() {
		uid := nobody
		if who, err := directory.LookupName(r.Login); err == nil {
			uid = who.UID
		}
		all = append(all, gpu.Reservation{
			UID: uid, Login: r.Login, Devices: r.Devices, From: r.From, Until: r.Until, Reason: r.Reason, Source: r.Source.String(),
		})
	}
	return all
}
