package container

// Wishes are what an owner asked for of what can be changed later; zero is
// nothing: then the container gets what the owner's limits allow, whatever that
// is by then.
type Wishes struct {
	Memory     int64 `json:"memory,omitempty"`      // bytes
	MemorySwap int64 `json:"memory_swap,omitempty"` // bytes, memory and swap together
	NanoCPUs   int64 `json:"nano_cpus,omitempty"`
	Pids       int64 `json:"pids,omitempty"`
}

// Lay returns w with what over asks for. What is negative asks for no limit,
// which means whatever the limit is.
func (w Wishes) Lay(over Wishes) Wishes {
	for _, f := range []struct{ now, to *int64 }{
		{&w.Memory, &over.Memory}, {&w.MemorySwap, &over.MemorySwap}, {&w.NanoCPUs, &over.NanoCPUs}, {&w.Pids, &over.Pids},
	} {
		if *f.to != 0 {
			*f.now = max(*f.to, 0)
		}
	}
	return w
}
