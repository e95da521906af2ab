package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/systemd"
)

// doors are the sockets at which containers speak for their owners: one for
// each container that has the gateway's mounted, in a folder that nobody else
// enters. It is safe for concurrent use.
type doors struct {
	folder  string
	handler http.Handler // the gateway
	holds   func(uid int, container string, pid int) bool
	log     *slog.Logger

	mu      sync.Mutex
	open    map[string]*server // by claim
	serving context.Context    //nolint:containedctx // nil: not yet; those that come later are served as long as the rest
	served  sync.WaitGroup
}

// keptAs begins the names under which the service manager keeps doors.
const keptAs = "door-"

// Open listens for a container, where nobody does yet, and puts the socket at
// m.HostPath.
func (o *doors) Open(ctx context.Context, record container.Record, m container.Mount) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	path := filepath.Join(o.folder, record.ID)
	if _, err := os.Lstat(path); o.open[record.ID] == nil || err != nil {
		if err := o.make(ctx, path, record); err != nil {
			return err
		}
	}
	return mount.Socket(path, m.HostPath)
}

// make is called with the mutex held.
func (o *doors) make(ctx context.Context, path string, record container.Record) error {
	o.end(ctx, record.ID)
	listener, err := listenAt(path)
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false) // a daemon that stops leaves it to the next one
	if err := systemd.Keep(keptAs+record.ID, listener); err != nil {
		o.log.WarnContext(ctx, "a container's socket is not kept over a restart of the daemon", "claim", record.ID, "error", err)
	}
	o.add(ctx, path, listener, record)
	return nil
}

// add is called with the mutex held.
func (o *doors) add(ctx context.Context, path string, listener net.Listener, record container.Record) {
	who := peer.Container{Owner: record.UID, ID: record.ContainerID, Holds: func(pid int) bool {
		return o.holds(record.UID, record.ContainerID, pid)
	}}
	s := serverOn(ctx, listener, path, o.handler, who.ConnContext)
	o.open[record.ID] = s
	if o.serving != nil {
		o.serve(o.serving, record.ID, s) //nolint:contextcheck // it outlives the request that opens it
	}
}

// serve is called with the mutex held.
func (o *doors) serve(ctx context.Context, claim string, s *server) {
	o.served.Go(func() {
		err := s.run(ctx)
		if err == nil || errors.Is(err, http.ErrServerClosed) {
			return
		}
		o.log.ErrorContext(ctx, "a container's socket answers no more, until it is started again", "claim", claim, "error", err)
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.open[claim] == s {
			o.end(ctx, claim)
		}
	})
}

// Close stops listening for the container of a claim, and ends what it asks.
func (o *doors) Close(ctx context.Context, claim string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end(ctx, claim)
}

// idle returns the claims with a socket at which nobody listens.
func (o *doors) idle() ([]string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	entries, err := os.ReadDir(o.folder)
	if err != nil {
		return nil, fmt.Errorf("list sockets of containers: %w", err)
	}
	var claims []string
	for _, e := range entries {
		if o.open[e.Name()] == nil {
			claims = append(claims, e.Name())
		}
	}
	return claims, nil
}

// end is called with the mutex held.
func (o *doors) end(ctx context.Context, claim string) {
	if s := o.open[claim]; s != nil {
		delete(o.open, claim)
		s.cancel()
		_ = s.http.Close()     // with whoever still talks
		_ = s.listener.Close() // it may not have been served yet
	}
	err := systemd.Drop(keptAs + claim)
	if rerr := os.Remove(filepath.Join(o.folder, claim)); !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	if err != nil {
		o.log.ErrorContext(ctx, "a container's socket not taken away", "claim", claim, "error", err)
	}
}

// restore takes up the sockets that the service manager has kept, of containers
// that ran when the daemon ended, and takes all others away. Where nobody keeps
// them, a container that has run on finds nobody at its socket until it is
// started again: what is mounted in it can't be listened at anew.
func (o *doors) restore(ctx context.Context, find func(claim string) (container.Record, bool), given bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for claim, file := range systemd.Kept(keptAs) {
		record, known := find(claim)
		listener, err := net.FileListener(file)
		err = errors.Join(err, file.Close())
		switch {
		case err != nil:
			o.log.ErrorContext(ctx, "a container's socket was kept, but is none", "claim", claim, "error", err)
			o.end(ctx, claim)
		case given && known && record.HasDoor() && record.State == gpu.Running:
			o.add(ctx, filepath.Join(o.folder, claim), listener, record)
		default: // whose it was has ended
			o.end(ctx, claim)
			_ = listener.Close() // nothing was said through it
		}
	}
	left, err := os.ReadDir(o.folder)
	if err != nil {
		return fmt.Errorf("list sockets of containers: %w", err)
	}
	for _, entry := range left {
		if o.open[entry.Name()] == nil {
			o.end(ctx, entry.Name())
		}
	}
	return nil
}

// run serves until ctx ends.
func (o *doors) run(ctx context.Context) error {
	o.mu.Lock()
	o.serving = ctx
	for claim, s := range o.open {
		o.serve(ctx, claim, s)
	}
	o.mu.Unlock()
	<-ctx.Done()
	o.mu.Lock()
	o.serving = nil // what is opened from now on is the next daemon's
	o.mu.Unlock()
	o.served.Wait()
	return nil
}
