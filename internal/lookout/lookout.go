// Package lookout watches how close containers come to their limits, and warns
// their owners before memory runs out. It holds nobody back and ends nothing.
package lookout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"sync"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

// Strain is how close a group comes to its limits.
type Strain struct {
	Used      quantity.ByteSize // memory
	Held      quantity.ByteSize // memory that can't be taken back
	Limit     quantity.ByteSize // of memory; 0: none
	Peak      quantity.ByteSize // the most memory that it has used; 0: not known
	Waiting   float64           // per cent of the last ten seconds in which something waited for memory
	Periods   int64             // in which processor time was counted, since it was made
	Throttled int64             // those of them in which it wanted more than its limit
}

// A Finding is what was last seen of a container. The zero value is of one that
// wasn't looked at yet.
type Finding struct {
	Peak      quantity.ByteSize // the most memory that it has used since it was started; 0: not known
	Throttled float64           // per cent of the time between two looks in which it wanted more processor time than its limit
}

// A Gauge looks at one container again and again.
type Gauge interface {
	Strain() (Strain, error) // wraps fs.ErrNotExist where it has ended
	Close() error
}

// Parts are what a lookout works with.
type Parts struct {
	Records   func() []container.Record
	Container func(uid int, id string) Gauge
	Person    func(uid int) Gauge                     // of what is theirs together
	Host      func() (waiting float64, err error)     // per cent, as Strain's
	Tell      func(uid int, text string) (int, error) // on a person's terminals
	Log       *slog.Logger
	Now       func() time.Time
}

// A Lookout is one host's. A nil one has seen nothing. It is safe for
// concurrent use.
type Lookout struct {
	Parts
	gauges map[string]Gauge // by claim; Pass alone uses them, and owners
	owners map[int]*owner   // of what runs

	mu       sync.Mutex
	last     map[string]Strain  // by claim
	findings map[string]Finding // by claim
	warned   map[string]time.Time
}

// An owner is somebody whose containers run.
type owner struct {
	gauge Gauge
	used  quantity.ByteSize // the memory of the total when all of their containers were looked at
	at    time.Time         // when that was
	room  quantity.ByteSize // the least that one of them lacked then of being near its limit
	all   bool              // they are looked at now
}

// New returns a lookout of these parts.
func New(p Parts) *Lookout {
	return &Lookout{Parts: p, gauges: map[string]Gauge{}, owners: map[int]*owner{}, last: map[string]Strain{}, findings: map[string]Finding{}, warned: map[string]time.Time{}}
}

// A total is one file, the containers of which it is are hundreds: they are looked
// at when one of them may be near its limit for all that the total says.
const (
	lookEvery = 10 * time.Second
	allEvery  = 25 * time.Second // at each third look, a little sooner or later
	warnEvery = 10 * time.Minute // at most, of one container, person, and the host

	muchWaiting = 20.0 // per cent of the time
	nearLimit   = 95   // per cent of it
)

// Run looks until ctx ends.
func (l *Lookout) Run(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			l.Pass(ctx)
		}
	}
}

// Pass looks at everybody who has something running once, and at those of their
// containers where that is due. It isn't safe for concurrent use.
func (l *Lookout) Pass(ctx context.Context) {
	running := map[string]bool{}
	owners := map[int]*owner{}
	for _, r := range l.Records() {
		if r.State != gpu.Running {
			continue
		}
		running[r.ID] = true
		if owners[r.UID] == nil {
			owners[r.UID] = l.together(ctx, r.UID)
		}
		l.container(ctx, r, owners[r.UID])
	}
	l.host(ctx)
	for uid, o := range l.owners {
		if owners[uid] == nil {
			_ = o.gauge.Close() // nothing was written
		}
	}
	l.owners = owners
	for claim := range l.gauges {
		if !running[claim] {
			l.drop(claim)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.last, func(claim string, _ Strain) bool { return !running[claim] })
	maps.DeleteFunc(l.findings, func(claim string, _ Finding) bool { return !running[claim] })
	maps.DeleteFunc(l.warned, func(_ string, at time.Time) bool { return l.Now().Sub(at) >= warnEvery })
}

// together looks at all that is somebody's, and decides whether at each, too.
func (l *Lookout) together(ctx context.Context, uid int) *owner {
	o := l.owners[uid]
	if o == nil {
		o = &owner{gauge: l.Person(uid)}
	}
	s, err := o.gauge.Strain()
	unseen := l.unseen(ctx, err)
	if unseen {
		_ = o.gauge.Close() // it looks for the group anew
	} else {
		l.warn(ctx, fmt.Sprint(uid), uid, "your containers together", s)
	}
	now := l.Now()
	o.all = unseen || s.Waiting >= muchWaiting || s.Used-o.used >= o.room || now.Sub(o.at) >= allEvery || now.Before(o.at)
	if o.all {
		o.used, o.at, o.room = s.Used, now, math.MaxInt64
	}
	return o
}

// container looks at one container, if that is due.
func (l *Lookout) container(ctx context.Context, r container.Record, o *owner) {
	gauge := l.gauges[r.ID]
	if !o.all && gauge != nil {
		return
	}
	if gauge == nil {
		gauge = l.Container(r.UID, r.ContainerID)
		l.gauges[r.ID] = gauge
	}
	s, err := gauge.Strain()
	if l.unseen(ctx, err) {
		l.drop(r.ID) // it may be started again meanwhile
		return
	}
	if s.Limit > 0 {
		o.room = min(o.room, max(s.Limit/100*nearLimit-s.Held, 0))
	}
	l.note(r.ID, s)
	l.warn(ctx, r.ID, r.UID, "container "+r.Name, s)
}

func (l *Lookout) drop(claim string) {
	_ = l.gauges[claim].Close() // nothing was written
	delete(l.gauges, claim)
}

// unseen reports whether there is nothing to look at.
func (l *Lookout) unseen(ctx context.Context, err error) bool {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		l.Log.DebugContext(ctx, "strain not read", "error", err)
	}
	return err != nil
}

// note keeps what is seen of a container.
func (l *Lookout) note(claim string, s Strain) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := Finding{Peak: s.Peak}
	if was, ok := l.last[claim]; ok && s.Periods > was.Periods && s.Throttled >= was.Throttled {
		f.Throttled = min(float64(s.Throttled-was.Throttled)/float64(s.Periods-was.Periods)*100, 100)
	}
	l.last[claim], l.findings[claim] = s, f
}

// Short says why memory may run out soon, "" where nothing hints at that.
func Short(s Strain) string {
	switch {
	case s.Limit > 0 && s.Held/nearLimit >= s.Limit/100:
		return fmt.Sprintf("%s of %s of memory are in use and can't be taken back", s.Held.Rounded(), s.Limit.Rounded())
	case s.Waiting >= muchWaiting:
		return fmt.Sprintf("programs waited for memory in %.0f %% of the last ten seconds", s.Waiting)
	}
	return ""
}

// warn tells a person of what is short of memory.
func (l *Lookout) warn(ctx context.Context, key string, uid int, what string, s Strain) {
	why := Short(s)
	if why == "" || !l.due(key) {
		return
	}
	l.Log.WarnContext(ctx, "memory runs short", "uid", uid, "of", what, "why", why)
	text := fmt.Sprintf("ds01: memory runs short for %s: %s. When none is left the kernel ends a program. Save your work, use less, or see 'ds01 user limits'.", what, why)
	if _, err := l.Tell(uid, text); err != nil {
		l.Log.DebugContext(ctx, "person not told", "uid", uid, "error", err)
	}
}

// host warns administrators, in the log.
func (l *Lookout) host(ctx context.Context) {
	waiting, err := l.Host()
	if err != nil || waiting < muchWaiting || !l.due("host") {
		return
	}
	l.Log.WarnContext(ctx, "memory of this host runs short", "waiting_percent", waiting)
}

// due reports whether nobody was warned of this lately, and notes that
// somebody is.
func (l *Lookout) due(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, warned := l.warned[key]; warned && l.Now().Sub(last) < warnEvery {
		return false
	}
	l.warned[key] = l.Now()
	return true
}

// Of returns what was last seen of a container that runs.
func (l *Lookout) Of(claim string) Finding {
	if l == nil {
		return Finding{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.findings[claim]
}
