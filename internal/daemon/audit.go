package daemon

import (
	"context"
	"net"
	"net/http"
	"time"

	"ds01.dev/ds01/internal/audit"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker"
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

// announced is an engine that is asked for changes only after what was allowed
// is written down.
type announced struct{ *docker.Engine }

// RoundTrip announces requests that aren't only looks.
func (a announced) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if err := recorder.Before(r.Context()); err != nil {
			return nil, err
		}
	}
	return a.Engine.RoundTrip(r)
}

// Dial announces a stream.
func (a announced) Dial(ctx context.Context) (net.Conn, error) {
	if err := recorder.Before(ctx); err != nil {
		return nil, err
	}
	return a.Engine.Dial(ctx)
}

// Create announces a new container.
func (a announced) Create(ctx context.Context, name, platform string, body []byte) (id string, warnings []string, err error) {
	if err := recorder.Before(ctx); err != nil {
		return "", nil, err
	}
	return a.Engine.Create(ctx, name, platform, body)
}

// Start announces a start.
func (a announced) Start(ctx context.Context, id string) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Start(ctx, id)
}

// Stop announces a stop.
func (a announced) Stop(ctx context.Context, id string, timeout time.Duration) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Stop(ctx, id, timeout)
}

// Remove announces a removal.
func (a announced) Remove(ctx context.Context, id string, force bool) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.Remove(ctx, id, force)
}

// WriteFiles announces files written into a container.
func (a announced) WriteFiles(ctx context.Context, id string, files []container.File) error {
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	return a.Engine.WriteFiles(ctx, id, files)
}
