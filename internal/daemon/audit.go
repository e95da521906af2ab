package daemon

import (
	"context"
	"time"

	"ds01.dev/ds01/internal/audit"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/recorder"
)

// openAudit opens the audit log. One that can't be written keeps nobody from
// looking: changes are refused until it can.
func (d *daemon) openAudit(context.Context) error {
	c := d.settings.config().Audit
	d.audit = audit.Open(d.paths.Audit, audit.Options{MaxSize: int64(c.MaxSize), Keep: c.Keep, Now: time.Now, Log: d.Log})
	d.recorder = recorder.New(d.audit, time.Now, d.Log)
	d.recorder.Daemon(event.Event{Action: "daemon start", Why: "version " + d.Version})
	d.onClose(d.closeAudit)
	return nil
}

// closeAudit ends the log. Its last hash is in the daemon's own log too, so
// that whoever shortens or forges the one has to find the other.
func (d *daemon) closeAudit() error {
	d.recorder.Flush(0)
	d.recorder.Daemon(event.Event{Action: "daemon stop"})
	last := d.audit.Last()
	d.Log.Info("audit log closed", "seq", last.Seq, "hash", last.Hash)
	return d.audit.Close()
}

// recordReload writes down what became of a reload, and lets the log follow a
// file that was moved away.
func (d *daemon) recordReload(ctx context.Context, err error) {
	if rerr := d.audit.Reopen(); rerr != nil {
		d.Log.ErrorContext(ctx, "audit log not opened anew", "error", rerr)
	}
	e := event.Event{Action: "configuration reload"}
	if err != nil {
		e.Decision, e.Why = event.Denied, "the last good one stays: "+err.Error()
	}
	d.recorder.Daemon(e)
	c := d.settings.config().Audit
	d.audit.Limit(int64(c.MaxSize), c.Keep)
}
