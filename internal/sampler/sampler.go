// Package sampler measures what running containers do, by two looks at what the
// kernel and the GPU driver have counted for them. It judges nothing of it: see
// lifecycle.Sample.
package sampler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
)

// A Container is one that runs, or is paused.
type Container struct {
	Claim   string
	UID     int
	ID      string    // the engine's
	PID     int       // of its first process
	Started time.Time // as the engine says
	Devices []string  // that it holds, by UUID
}

// Groups reads what the kernel counts for a container's control group.
type Groups interface {
	Worked(group string) (time.Duration, error)                         // processor time so far
	Processors(group string, above map[string]float64) (float64, error) // that it may use at a time
	Transferred(group string) (map[uint64]int64, error)                 // bytes read and written so far, apart by what they are counted for; errors.ErrUnsupported: nothing counts them
}

// A Process is the first one of a container, and never another with its number.
type Process interface {
	Network() (map[string]int64, error) // bytes in and out so far, by interface, without loopback
	Close() error
}

// Parts are what a sampler works with.
type Parts struct {
	Running func() []Container
	Groups  Groups
	Group   func(uid int, id string) string // where a container's control group lies
	// Process opens the first process of a container; one that isn't in it is an
	// error.
	Process func(c Container) (Process, error)
	// Readings tells what devices do, by UUID. It may take its time, but not for
	// ever; a device that it says nothing of isn't known.
	Readings func(ctx context.Context) (map[string]gpu.Reading, error)
	Cards    func() []gpu.Card
	Members  func(c Container) map[int]bool // the processes in a container
	// Clock only goes forward, by as much as the host runs: CLOCK_MONOTONIC.
	Clock     func() time.Duration
	Terminals *Terminals
	// Reached tells whether people can sit at terminals in containers: the engine
	// leads there.
	Reached func() bool
	Log     *slog.Logger
}

// Sampler is one host's. It is safe for concurrent use.
type Sampler struct {
	Parts

	passing sync.Mutex // held by who looks
	before  map[string]*look
	disks   disks

	mu   sync.Mutex
	last map[string]lifecycle.Sample
	why  map[string]error // something of the last samples isn't known; by claim
}

// New returns a sampler that has seen nothing yet.
func New(p Parts) *Sampler { return &Sampler{Parts: p, disks: disks{groups: p.Groups}} }

// Pass looks at every running container, and returns what each did since the pass
// before, by claim. One that is seen for the first time, or was started again
// meanwhile, isn't in it. What can't be read isn't known: nothing keeps the pass
// from going on.
func (s *Sampler) Pass(ctx context.Context) map[string]lifecycle.Sample {
	s.passing.Lock()
	defer s.passing.Unlock()
	devices := s.devices(ctx)
	typed, reached := s.Terminals.Take(), s.Reached()
	seen, samples, why, above := map[string]*look{}, map[string]lifecycle.Sample{}, map[string]error{}, map[string]float64{}
	for _, c := range s.Running() {
		before := s.before[c.Claim]
		now := s.look(c, before, above)
		seen[c.Claim] = now
		if now.follows(before) {
			sample := now.since(before)
			sample.Devices, sample.GPU = len(c.Devices) > 0, devices.of(c)
			if n := typed[c.ID]; n > 0 || reached {
				sample.Terminals = lifecycle.Known(float64(n))
			}
			samples[c.Claim], why[c.Claim] = sample, now.why
		}
	}
	for claim, before := range s.before {
		if now := seen[claim]; before.process != nil && (now == nil || now.process != before.process) {
			_ = before.process.Close() // nothing was written to it
		}
	}
	s.before = seen
	s.mu.Lock()
	s.last, s.why = samples, why
	s.mu.Unlock()
	return samples
}
