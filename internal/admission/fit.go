package admission

import (
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/quantity"
)

// wishes returns what is asked for of what can be changed later.
func (h *HostConfig) wishes() container.Wishes {
	return container.Wishes{}.Lay(container.Wishes{Memory: h.Memory, MemorySwap: h.MemorySwap, NanoCPUs: h.NanoCPUs, Pids: pidsOf(h.PidsLimit)})
}

// Wishes returns what u asks for, to be laid over what was asked before.
func (u Update) Wishes() container.Wishes {
	w := container.Wishes{Memory: u.Memory, MemorySwap: u.MemorySwap, NanoCPUs: u.NanoCPUs}
	if u.PidsLimit != nil {
		w.Pids = orNone(*u.PidsLimit)
	}
	return w
}

// Wishes returns what is stored, as if it had been asked for.
func (st Stored) Wishes() container.Wishes { return st.host.wishes() }

// Memory returns the stored limit of memory, 0 for none.
func (st Stored) Memory() quantity.ByteSize { return quantity.ByteSize(max(st.host.Memory, 0)) }

// Fit returns the update that gives a stored configuration what its owner's
// limits allow now: what was asked for, as far as they do, and where nothing
// was, all that they do. Where nobody knows what was asked for (nil), it only
// lowers. A limit of processors that is lifted altogether stays: the engine
// can't take one away.
func (st Stored) Fit(s Subject, w *container.Wishes) Update {
	lowered := st.bringWithin(s)
	if w == nil {
		return lowered
	}
	limit, _ := cpuLimit(s)
	pids := asFar(w.Pids, s.Limits.PidsLimit)
	c := Create{HostConfig: HostConfig{
		Memory: asFar(w.Memory, s.Limits.Memory), MemorySwap: asFar(w.MemorySwap, s.Limits.MemorySwap),
		NanoCPUs: asFar(w.NanoCPUs, limit), PidsLimit: &pids,
	}}
	if reviewMemory(&c, s, Grant{}) != nil || reviewCPU(&c, s, Grant{}) != nil { // what was asked for doesn't fit together
		return lowered
	}
	return st.becoming(c.HostConfig, lowered)
}

// becoming returns the update to what is wanted, beside what is lowered of
// anything else.
func (st Stored) becoming(want HostConfig, lowered Update) Update {
	has := st.host
	u := Update{CPUShares: lowered.CPUShares, RestartPolicy: lowered.RestartPolicy}
	if want.Memory > 0 && want.MemorySwap == 0 {
		want.MemorySwap = 2 * want.Memory // as the engine does where nobody says anything
	}
	if want.Memory != max(has.Memory, 0) || want.MemorySwap != max(has.MemorySwap, 0) {
		u.Memory, u.MemorySwap = orNone(want.Memory), orNone(want.MemorySwap)
	}
	if want.NanoCPUs > 0 && want.NanoCPUs != has.NanoCPUs {
		u.NanoCPUs = want.NanoCPUs
	}
	if pids := pidsOf(want.PidsLimit); pids != max(pidsOf(has.PidsLimit), 0) {
		pids = orNone(pids)
		u.PidsLimit = &pids
	}
	return u
}

// Changing returns what u changes of the stored configuration.
func (st Stored) Changing(u Update) Update {
	has := st.host
	if u.Memory == has.Memory && u.MemorySwap == has.MemorySwap {
		u.Memory, u.MemorySwap = 0, 0 // the engine wants both to fit each other
	}
	if u.NanoCPUs == has.NanoCPUs {
		u.NanoCPUs = 0
	}
	if u.PidsLimit != nil && *u.PidsLimit == pidsOf(has.PidsLimit) {
		u.PidsLimit = nil
	}
	return u
}

// asFar returns what was asked for as far as the limit goes.
func asFar[T ~int64](asked int64, limit quantity.Limit[T]) int64 {
	if limit.Unlimited {
		return asked
	}
	return min(asked, int64(limit.Value))
}

// orNone is how an update says that there is no limit: zero leaves it.
func orNone(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// bringWithin returns the update that brings a configuration within what can be
// changed later.
func (st Stored) bringWithin(s Subject) Update {
	var u Update
	h, l := st.host, s.Limits
	memory, lower := capped(h.Memory, l.Memory)
	swapLower := h.MemorySwap > 0 && !l.MemorySwap.Unlimited && h.MemorySwap > int64(l.MemorySwap.Value) ||
		h.MemorySwap <= 0 && !l.MemorySwap.Unlimited && !l.Memory.Unlimited
	if lower || swapLower {
		c := Create{HostConfig: HostConfig{Memory: memory}}
		if reviewMemory(&c, s, Grant{}) == nil { // it is within the limit by now
			u.Memory, u.MemorySwap = c.HostConfig.Memory, c.HostConfig.MemorySwap
		}
	}
	if swapLower && u.MemorySwap == 0 { // memory itself has no limit
		u.MemorySwap = int64(l.MemorySwap.Value)
	}
	limit, _ := cpuLimit(s)
	if cpus, lower := capped(h.NanoCPUs, limit); lower {
		u.NanoCPUs = cpus
	}
	var pids int64
	if h.PidsLimit != nil {
		pids = *h.PidsLimit
	}
	if pids, lower := capped(pids, l.PidsLimit); lower {
		u.PidsLimit = &pids
	}
	if h.CPUShares > 1024 {
		u.CPUShares = 1024
	}
	if h.RestartPolicy.Name != "" && h.RestartPolicy.Name != "no" {
		u.RestartPolicy = RestartPolicy{Name: "no"}
	}
	return u
}

// capped returns a stored value within the limit, and whether it wasn't.
func capped[T ~int64](stored int64, limit quantity.Limit[T]) (value int64, lower bool) {
	if limit.Unlimited || stored > 0 && T(stored) <= limit.Value {
		return max(stored, 0), false
	}
	return int64(limit.Value), true
}
