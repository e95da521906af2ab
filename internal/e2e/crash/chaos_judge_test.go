package crash_test

import (
	"time"
)

const (
	// slack is by how much clocks, and those who look, may be off.
	slack = 700 * time.Millisecond
	// felt is after how long ds01 must know of something, where it runs.
	felt = 1500 * time.Millisecond
)

// judge checks of everybody whose time ran out that it had, that they were warned,
// and that nothing was taken for want of knowing.
func (c *cast) judge() {
	c.t.Helper()
	count, turns := map[string]int{}, 0
	for _, a := range c.due {
		s := c.sight(a.id)
		count[a.part]++
		turns += len(a.turns)
		switch a.part {
		case "idle", "turns":
			if s.lost.to.IsZero() {
				c.wrong("%s was ended with its card: %s", a.name, s)
				continue
			}
			c.rested(a, s)
			c.waited(a, "was idle with its card", s.from.Add(chaosGrace), s.lost.to, chaosIdle)
			c.warned(a, "is taken back in", c.lastWork(a, s.lost), s.lost.to, chaosIdle)
			c.waited(a, "was idle without a card", s.lost.from, s.ended.to, chaosBare)
			c.warned(a, "is stopped in", s.lost.from, s.ended.to, chaosBare)
			c.waited(a, "was kept", s.ended.from, c.left(a.id), chaosHold)
		case "doze":
			c.waited(a, "was idle", s.from.Add(chaosGrace), s.ended.to, chaosBare)
			c.warned(a, "is stopped in", s.lost.from, s.ended.to, chaosBare)
			c.waited(a, "was kept", s.ended.from, c.left(a.id), chaosHold)
		case "long":
			if !s.lost.to.IsZero() {
				c.wrong("%s lost its card while it worked: %s", a.name, s)
			}
			c.waited(a, "ran", s.from, s.ended.to, chaosRuntime)
			c.warned(a, "is stopped in", s.from, s.ended.to, chaosRuntime)
			c.waited(a, "was kept", s.ended.from, c.left(a.id), chaosHold)
		case "left":
			ended := s.ended.from
			if s.from.IsZero() { // it ran between two looks of the witness: it ended after it was made
				c.t.Logf("nobody saw %s run", a.name)
				ended = a.from
			}
			c.waited(a, "was kept", ended, c.left(a.id), chaosHold)
		case "never":
			if !s.from.IsZero() {
				c.wrong("%s was started: %s", a.name, s)
			}
			c.waited(a, "was kept", c.since(a), c.left(a.id), chaosUnused)
		}
	}
	c.t.Logf("whose time ran out: %v; cards worked %d times in between", count, turns)
	for _, p := range loses() {
		if count[p.name] == 0 {
			c.t.Errorf("nobody played %s", p.name)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		c.t.Error(f)
	}
}

// waited checks that no less than a time lies between two moments.
func (c *cast) waited(a *actor, what string, from, to time.Time, least time.Duration) {
	if from.IsZero() || to.IsZero() {
		c.wrong("%s: it isn't known since when, or until when it %s", a.name, what)
	} else if to.Sub(from) < least-slack {
		c.wrong("%s %s for %s only, not %s", a.name, what, to.Sub(from), least)
	}
}

// warned checks that somebody was told twice after one moment, and long enough
// before a deed.
func (c *cast) warned(a *actor, says string, since, deed time.Time, limit time.Duration) {
	least := limit - time.Duration(float64(limit)*chaosLast)
	warnings := 0
	for _, n := range c.notices(a, says) {
		if n.at.to.After(since) && deed.Sub(n.at.from) >= least-slack {
			warnings++
		}
	}
	if warnings < 2 {
		c.wrong("%s was told %d times, %s before %s, that it %s", a.name, warnings, least, clock(deed), says)
	}
}

// rested checks that a container lost its card only after it was idle for long
// enough, of which ds01 knew: what can't be read counts as work.
func (c *cast) rested(a *actor, s sighting) {
	for _, w := range c.work(a) {
		switch {
		case !w.before(s.lost):
		case s.lost.to.Before(w.to):
			c.wrong("%s lost its card while that worked, or couldn't be read: from %s to %s, at %s", a.name, clock(w.from), clock(w.to), clock(s.lost.to))
		case c.known(w):
			c.waited(a, "was idle since its card worked, or could be read again,", w.to, s.lost.to, chaosIdle)
		}
	}
}

// before reports whether ds01 must have known of something before a deed.
func (s span) before(deed span) bool { return deed.from.After(s.from.Add(felt)) }

// lastWork returns when a container last counted as working before a deed, as far
// as ds01 must know.
func (c *cast) lastWork(a *actor, deed span) time.Time {
	var last time.Time
	for _, w := range c.work(a) {
		if w.before(deed) && w.to.Before(deed.to) && w.to.After(last) && c.known(w) {
			last = w.to
		}
	}
	return last
}

// work returns when a container's card worked, or couldn't be read.
func (c *cast) work(a *actor) []span {
	s := c.sight(a.id)
	if !s.had {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return append(append([]span{}, a.turns...), c.spans["card "+s.inside.Cards[0]]...)
}

// known reports whether ds01 was there for long enough to see something, with an
// engine that tells it what runs.
func (c *cast) known(w span) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	free := w.from
	away := append(append(append([]span{}, c.spans["ds01"]...), c.spans["dockerd"]...), c.spans["containerd"]...)
	for again := true; again; {
		again = false
		for _, s := range away {
			if s.from.Before(free.Add(felt)) && s.to.Add(felt).After(free) {
				free, again = s.to.Add(felt), true
			}
		}
	}
	return w.to.Sub(free) >= felt
}
