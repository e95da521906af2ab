package sampler

import (
	"errors"
	"time"

	"ds01.dev/ds01/internal/lifecycle"
)

// A look is what was counted for a container up to one moment. What isn't known of
// it is nil, or not above zero.
type look struct {
	container Container
	process   Process // open; nil: not to be had
	lost      bool    // the process has ended
	at        time.Duration

	worked     time.Duration
	processors float64
	network    map[string]int64
	disk       map[uint64]int64
	diskless   bool // nothing here counts what goes to disks

	why error // something isn't known
}

// look looks at a container, through the process that the look before has opened
// if it is still the same.
func (s *Sampler) look(c Container, before *look, above map[string]float64) *look {
	l := &look{container: c}
	if l.follows(before) && !before.lost {
		l.process = before.process
	}
	var err [5]error
	if l.process == nil {
		if l.process, err[0] = s.Process(c); err[0] != nil {
			l.process = nil
		}
	}
	group := s.Group(c.UID, c.ID)
	if l.worked, err[1] = s.Groups.Worked(group); err[1] != nil {
		l.worked = -1
	}
	l.at = s.Clock()
	if l.follows(before) && l.worked >= 0 && l.worked == before.worked && before.processors > 0 {
		l.processors = before.processors // of which it used none
	} else {
		l.processors, err[2] = s.Groups.Processors(group, above)
	}
	if l.process != nil {
		l.network, err[3] = l.process.Network()
		l.lost = err[3] != nil
	}
	l.disk, err[4] = s.disks.read(group)
	if l.diskless = errors.Is(err[4], errors.ErrUnsupported); l.diskless {
		err[4] = nil
	}
	l.why = errors.Join(err[:]...)
	return l
}

// follows reports whether a look is at the same run of the same container as the
// one before.
func (l *look) follows(before *look) bool {
	return before != nil && l.container.ID == before.container.ID && l.container.PID == before.container.PID &&
		l.container.Started.Equal(before.container.Started)
}

// since returns what the container did since the look before.
func (l *look) since(before *look) lifecycle.Sample {
	over := l.at - before.at
	if over <= 0 {
		return lifecycle.Sample{} // too short to say anything
	}
	s := lifecycle.Sample{Over: over}
	if before.worked >= 0 && l.worked >= before.worked && before.processors > 0 && l.processors > 0 {
		// Of two allowances the smaller: who used all of it wasn't idle.
		s.CPU = lifecycle.Known(100 * float64(l.worked-before.worked) / float64(over) / min(before.processors, l.processors))
	}
	s.Network = perMinute(before.network, l.network, over)
	s.Disk = perMinute(before.disk, l.disk, over)
	if l.diskless {
		s.Disk = lifecycle.Never()
	}
	return s
}

// perMinute returns how fast counters grew together. One that is new, or counts
// less than before, has begun at zero meanwhile.
func perMinute[K comparable](before, now map[K]int64, over time.Duration) lifecycle.Reading {
	if before == nil || now == nil {
		return lifecycle.Reading{}
	}
	var grown int64
	for k, n := range now {
		if had := before[k]; had <= n {
			n -= had
		}
		grown += n
	}
	return lifecycle.Known(float64(grown) / over.Minutes())
}
