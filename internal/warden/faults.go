package warden

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
)

// listenAgain is the pause before a driver is listened to again that couldn't
// be any more.
const listenAgain = 15 * time.Second

// Run listens to the driver until ctx ends, and looks at the processes on the
// cards at once and then every so often. Each error that says something of a
// device keeps it from being granted from then on.
func (w *Warden) Run(ctx context.Context, every time.Duration) error {
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.looks(ctx, every)
	}()
	defer func() { <-over }()
	return w.listen(ctx)
}

func (w *Warden) looks(ctx context.Context, every time.Duration) {
	w.Look(ctx)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.Look(ctx)
		}
	}
}

func (w *Warden) listen(ctx context.Context) error {
	silent := false
	for {
		err := w.Watch(ctx, func(f gpu.Fault) { w.heard(ctx, f) })
		if ctx.Err() != nil {
			return nil //nolint:nilerr // whatever ended it, it was to end
		}
		if !silent {
			w.Log.ErrorContext(ctx, "errors of the GPUs are not heard; what the cards tell by themselves is", "error", err)
		}
		silent = err != nil
		w.refresh(ctx) // a card may have been lost
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(listenAgain):
		}
	}
}

// heard takes an error in. One that can't be stored holds until the daemon
// ends.
func (w *Warden) heard(ctx context.Context, f gpu.Fault) {
	if f.Harmless() {
		w.Log.InfoContext(ctx, "error of a program on a GPU", "device", f.Device, "error", f.String())
		return
	}
	f = f.Placed()
	r := gpu.Record{Fault: f, At: w.Now().UTC(), Boot: w.Boot}
	w.mu.Lock()
	old, again := w.faults[f]
	r.Confirmed = old.Confirmed
	w.faults[f] = r
	err := w.Store.SaveFault(ctx, r)
	w.mu.Unlock()
	if err == nil {
		err = w.Store.Flush()
	}
	if err != nil {
		w.Log.ErrorContext(ctx, "an error of a GPU is not stored", "error", err)
	}
	if !again {
		w.Log.ErrorContext(ctx, "a GPU has failed, and isn't granted any more", "device", f.Device, "error", f.String())
		w.Record(event.Event{Action: "gpu fault", Object: f.Device, Why: f.String()})
	}
	w.refresh(ctx)
}

func (w *Warden) refresh(ctx context.Context) {
	if err := w.Refresh(ctx); err != nil {
		w.Log.ErrorContext(ctx, "gpu driver does not answer", "error", err)
	}
}

// recall reads what errors there were. A reboot has cleared those before it.
func (w *Warden) recall(ctx context.Context) error {
	all, err := w.Store.Faults(ctx)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Boot == w.Boot {
			w.faults[f.Fault] = f
		} else if err := w.Store.DeleteFault(ctx, f.Fault); err != nil {
			return err
		}
	}
	return nil
}

// compare sees by what the driver says of cards which errors a reset has
// cleared. The caller holds mu.
func (w *Warden) compare(ctx context.Context, cards []gpu.Card) {
	for key, f := range w.faults {
		i := slices.IndexFunc(cards, func(c gpu.Card) bool { return c.UUID == f.Card })
		if i < 0 {
			continue
		}
		var err error
		switch needs := cards[i].Health.Remedy; {
		case needs > gpu.RemedyNone && !f.Confirmed:
			f.Confirmed = true
			w.faults[key] = f
			err = w.Store.SaveFault(ctx, f)
		case needs == gpu.RemedyNone && f.Confirmed && cards[i].Problem == "":
			w.Log.InfoContext(ctx, "the driver says that a GPU is well again", "device", f.Device, "error", f.String())
			delete(w.faults, key)
			err = w.Store.DeleteFault(ctx, key)
		}
		if err != nil { // it is seen again at the next look, or after a restart
			w.Log.ErrorContext(ctx, "what became of an error of a GPU is not stored", "error", err)
		}
	}
}

// sorted returns the errors in an order of their own; the caller holds mu.
func (w *Warden) sorted() []gpu.Record {
	all := make([]gpu.Record, 0, len(w.faults))
	for _, f := range w.faults {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b gpu.Record) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Device, b.Device), cmp.Compare(a.XID, b.XID))
	})
	return all
}

func (w *Warden) faulty(card string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.sorted(), func(f gpu.Record) bool { return f.Card == card })
}

// forgive forgets the errors of a card; the caller holds mu.
func (w *Warden) forgive(ctx context.Context, card string) error {
	for key, f := range w.faults {
		if f.Card != card {
			continue
		}
		if err := w.Store.DeleteFault(ctx, key); err != nil {
			return err
		}
		delete(w.faults, key)
	}
	return nil
}
