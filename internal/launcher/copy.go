package launcher

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/volume"
)

// freezeTimeout bounds how long a container's processes may take to stand
// still.
const freezeTimeout = 5 * time.Second

// Copy makes a container ready for the engine to read or write its files. The
// engine does that as root of the host, with the container's mounts in place,
// and finds its way by names that whoever runs in the container could change
// meanwhile. So until done is called nobody does: its processes stand still,
// it can't be started, paused or resumed, and in place of its owner's
// directories and volumes the engine finds empty ones that can't be written
// to. No other container with one of the volumes is created or started
// meanwhile: it would find them empty as well; who has them already keeps them.
// The context ends when ctx does, or when the container must be free at once. A
// container with mounts that ds01 didn't make is refused. Whoever doesn't go
// through mounts leaves them as they are, without beside.
func (l *Launcher) Copy(ctx context.Context, claim string, beside bool) (during context.Context, done func(), err error) {
	defer l.Ledger.Lock(claim)()
	record, err := l.existing(notCopied, claim)
	if err != nil {
		return nil, nil, err
	}
	during, cancel := context.WithCancel(ctx)
	number, joined := l.copies.join(claim, cancel) // whoever came first has made it ready
	if !joined {
		ready, err := l.makeReady(ctx, record, beside)
		if err != nil {
			cancel()
			return nil, nil, err
		}
		number = l.copies.begin(claim, ready, cancel)
	}
	return during, sync.OnceFunc(func() {
		cancel()
		rest := context.WithoutCancel(ctx)
		l.awaitEngine(rest, record)
		l.copies.end(claim, number, func(r ready) { l.letGo(rest, r) })
	}), nil
}

const notCopied = "Files not copied"

// Hold keeps a container from being started while ds01 itself reads or writes
// its files, until done is called: two file systems may not be made of the same
// layers. What runs in it runs on. The context ends as that of Copy.
func (l *Launcher) Hold(ctx context.Context, claim string) (during context.Context, done func(), err error) {
	defer l.Ledger.Lock(claim)()
	if _, err := l.existing(notCopied, claim); err != nil {
		return nil, nil, err
	}
	during, cancel := context.WithCancel(ctx)
	number, joined := l.holds.join(claim, cancel)
	if !joined {
		number = l.holds.begin(claim, ready{}, cancel)
	}
	return during, sync.OnceFunc(func() {
		cancel()
		l.holds.end(claim, number, func(ready) {})
	}), nil
}

// ready is what was done to a container for the first of its copies.
type ready struct {
	record  container.Record
	covered bool             // what is mounted
	volumes []volume.Mounted // of that
	frozen  bool
}

// makeReady freezes the container and, beside mounts, covers those. The caller
// holds the claim's lock.
func (l *Launcher) makeReady(ctx context.Context, record container.Record, beside bool) (ready, error) {
	o, err := l.Engine.Inspect(ctx, record.ContainerID)
	if err != nil {
		return ready{}, err
	}
	r := ready{record: record}
	if beside {
		if err := l.onlyOurs(record, o); err != nil {
			return ready{}, err
		}
		owner, err := l.Accounts.Lookup(record.UID)
		if err != nil {
			return ready{}, err
		}
		defer l.Registrar.LockVolumes(volumeNames(o.Volumes)...)()
		r.covered, r.volumes = true, o.Volumes
		if err := l.cover(owner, record, o); err != nil {
			l.letGo(ctx, r)
			return r, err
		}
	}
	if o.State != "running" { // one that is paused stands still already
		return r, nil
	}
	if err := l.freeze(ctx, record); err != nil { // it is undone
		l.letGo(ctx, r)
		return r, err
	}
	r.frozen = true
	return r, nil
}

// onlyOurs refuses a container into which something of the host was mounted
// past ds01: nothing can be put in its place.
func (l *Launcher) onlyOurs(record container.Record, o container.Observed) error {
	ours := map[string]bool{}
	for _, m := range record.Mounts {
		ours[m.HostPath] = true
	}
	for _, v := range o.Volumes {
		if known, ok := l.Registrar.VolumeAt(v.Name); ok && known.UID == record.UID {
			ours[v.Source] = true
		}
	}
	for _, m := range o.Mounts {
		if !ours[m.Source] && !strings.HasPrefix(m.Source, l.NodeFolder+"/") {
			return &problem.Error{
				What: "Files of " + record.Name + " not copied",
				Why:  problem.Because(problem.ErrDenied, fmt.Sprintf("%s in it was not mounted by ds01, and would be reached as root of this host", m.Target)),
				Next: fmt.Sprintf("Copy through a command: docker exec %s tar -cf - PATH.", record.Name),
			}
		}
	}
	return nil
}

func (l *Launcher) freeze(ctx context.Context, record container.Record) error {
	ctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	err := l.Cgroups.Freeze(ctx, record.UID, record.ContainerID)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		err = errors.New("its control group isn't where ds01 puts them")
	case errors.Is(err, context.DeadlineExceeded):
		err = errors.New("some of them wait for a device or a disk")
	}
	return &problem.Error{
		What: "Files of " + record.Name + " not copied",
		Why:  problem.Because(problem.ErrConflict, "its processes can't be made to stand still: "+err.Error()),
		Next: "Try again in a moment, or stop it first.",
	}
}

// awaitEngine returns once the engine is done with what it was asked for: also
// after a client that hung up it takes a moment, and answers nobody about the
// container before.
func (l *Launcher) awaitEngine(ctx context.Context, record container.Record) {
	for {
		look, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := l.Engine.Inspect(look, record.ContainerID)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			return
		}
		l.Log.ErrorContext(ctx, "engine still at a container's files", "container", record.ContainerID)
	}
}

// letGo undoes makeReady.
func (l *Launcher) letGo(ctx context.Context, r ready) {
	if r.covered {
		l.uncover(ctx, r.record, r.volumes)
	}
	if !r.frozen {
		return
	}
	if err := l.Cgroups.Thaw(r.record.UID, r.record.ContainerID); err != nil {
		l.Log.ErrorContext(ctx, "container still frozen", "container", r.record.ContainerID, "error", err)
	}
}

// Thaw lets a container run on that a daemon before this one has left frozen.
// The caller holds the claim's lock, and has seen that it isn't paused.
func (l *Launcher) Thaw(record container.Record) error {
	if l.copies.busy(record.ID) {
		return nil
	}
	return l.Cgroups.Thaw(record.UID, record.ContainerID)
}
