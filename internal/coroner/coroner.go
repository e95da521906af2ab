// Package coroner finds out what the kernel has ended for want of memory: in
// which container, which process, and whose limit had been reached. It notes it
// with the container, writes it down and tells its owner. It ends nobody.
package coroner

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"strings"
	"sync"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/recorder"
)

// A Death is what the kernel says of a process that it has ended.
type Death struct {
	Limited string            // the group that had reached its limit; "": the host had no memory left
	Group   string            // the group of the process
	Process string            // its name
	PID     int               // on the host
	Limit   quantity.ByteSize // of the group that had reached it; 0: not known
	Held    quantity.ByteSize // by the process; 0: not known
}

// Parts are what a coroner works with.
type Parts struct {
	Follow      func(ctx context.Context, died func(Death)) error // until ctx ends
	ByContainer func(id string) (container.Record, bool)
	Groups      func(uid int, id string) (own, person string) // where a container's group lies, and its owner's
	Update      func(ctx context.Context, claim string, change func(*container.Record)) error
	Tell        func(uid int, text string) (int, error) // on a person's terminals
	Recorder    *recorder.Recorder                      // nil: nothing is written down
	Log         *slog.Logger
	Now         func() time.Time
}

// A Coroner is one host's.
type Coroner struct {
	Parts

	mu   sync.Mutex
	told map[string]time.Time // by claim: when its owner was told last
}

// New returns a coroner of these parts.
func New(p Parts) *Coroner { return &Coroner{Parts: p, told: map[string]time.Time{}} }

// Run listens until ctx ends. Where the kernel's log can't be read, nothing is
// found out, which it says once.
func (c *Coroner) Run(ctx context.Context) error {
	if err := c.Follow(ctx, func(d Death) { c.Examine(ctx, d) }); err != nil {
		c.Log.ErrorContext(ctx, "the kernel's log can't be read: nobody hears why a process was ended for want of memory", "error", err)
	}
	return nil
}

// tellEvery is how often the owner of a container is told at most.
const tellEvery = 10 * time.Minute

// Examine notes one death. One outside of everybody's containers is only
// logged.
func (c *Coroner) Examine(ctx context.Context, d Death) {
	record, ok := c.ByContainer(idOf(d.Group))
	if !ok {
		c.Log.DebugContext(ctx, "process ended for want of memory in no container of ours", "group", d.Group, "process", d.Process)
		return
	}
	kill := container.Kill{At: c.Now().UTC(), Limit: c.whose(d, record), Bytes: d.Limit, Process: d.Process, Held: d.Held, Count: 1}
	why := kill.Why(record.Name)
	c.Log.WarnContext(ctx, "process ended for want of memory", "container", record.ContainerID, "claim", record.ID, "uid", record.UID,
		"process", d.Process, "pid", d.PID, "limit", kill.Limit, "bytes", d.Limit, "held", d.Held)
	err := c.Update(ctx, record.ID, func(r *container.Record) {
		if r.Killed != nil {
			kill.Count += r.Killed.Count
		}
		r.Killed = &kill
	})
	if err != nil && !errors.Is(err, problem.ErrNotFound) { // it went with its container
		c.Log.ErrorContext(ctx, "not noted with its container", "claim", record.ID, "error", err)
	}
	c.Recorder.Daemon(event.Event{
		Action: "out of memory", Why: why, Object: record.Name, Container: record.ContainerID, Claim: record.ID,
		Owner: record.Login, OwnerUID: &record.UID, Devices: record.Slots(),
	})
	c.tell(ctx, record, "ds01: "+why+". "+kill.Next(record.Name))
}

// idOf returns the engine's id of the container whose group it is: the last
// part of its path, which systemd's driver writes into the name of a scope.
func idOf(group string) string {
	return strings.TrimSuffix(strings.TrimPrefix(path.Base(group), "docker-"), ".scope")
}

// whose tells whose limit had been reached.
func (c *Coroner) whose(d Death, r container.Record) string {
	own, person := c.Groups(r.UID, r.ContainerID)
	switch d.Limited {
	case "":
		return container.LimitHost
	case own:
		return container.LimitOwn
	case person:
		return container.LimitPerson
	default:
		return container.LimitOther
	}
}

func (c *Coroner) tell(ctx context.Context, r container.Record, text string) {
	c.mu.Lock()
	last, told := c.told[r.ID]
	due := !told || c.Now().Sub(last) >= tellEvery
	for claim, at := range c.told { // of those that are gone nothing stays
		if c.Now().Sub(at) >= tellEvery {
			delete(c.told, claim)
		}
	}
	if due {
		c.told[r.ID] = c.Now()
	}
	c.mu.Unlock()
	if !due {
		return
	}
	if _, err := c.Tell(r.UID, text); err != nil {
		c.Log.DebugContext(ctx, "person not told", "uid", r.UID, "error", err)
	}
}
