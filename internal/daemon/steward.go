package daemon

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/probe"
	"ds01.dev/ds01/internal/steward"
)

func (d *daemon) openSteward(ctx context.Context) (err error) {
	h, boot := d.host, probe.Boot()
	d.steward, err = steward.New(ctx, steward.Parts{
		Store: d.records, Ledger: d.ledger, Observed: d.reconciler.Observed, Observe: d.reconciler.Observe, Sample: d.sampler.Pass,
		Launcher: d.launcher,
		Stop: func(ctx context.Context, id string, grace time.Duration) error {
			d.endCopies(id)
			return d.engine.Stop(ctx, id, grace)
		},
		Remove: func(ctx context.Context, id string) error { return d.engine.Remove(ctx, id, false) },
		Voice:  voice{h}, Accounts: d.accounts.Lookup, Limits: h.limits,
		Type:    h.kind,
		Devices: d.inventory.Devices, Live: func() bool { return live{h}.Possible() == nil },
		Beat:     func() lifecycle.Beat { return lifecycle.Beat{Boot: boot, Steady: steady(), Wall: time.Now()} },
		Period:   func() time.Duration { return d.settings.config().Lifecycle.Period() },
		Recorder: d.recorder, Log: d.Log,
	})
	return err
}

// steady returns the time since the machine was started, without what it spent in
// suspend.
func steady() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // the kernel has this clock
	}
	return time.Duration(t.Nano())
}
