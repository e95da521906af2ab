package steward

import (
	"context"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/lifecycle"
	"ds01.dev/ds01/internal/limits"
)

// A scene is what one pass has in common for all containers.
type scene struct {
	passed time.Duration
	local  time.Time
	now    time.Time
	scarce float64 // part of all devices that is in use
	live   bool
	exempt []lifecycle.Exemption
	people map[int]*person
}

// A person is one owner in a pass.
type person struct {
	known  bool // else it can't be told what applies to them
	limits limits.Limits
	exempt map[lifecycle.Cause]string
	rules  map[ruleKey]lifecycle.Rule
}

type ruleKey struct {
	kind        string
	asks, holds bool
}

// share returns which part of the devices is held.
func share(devices []gpu.Device, records []container.Record) float64 {
	held := 0
	for _, c := range records {
		if c.State != gpu.Released {
			held += len(c.Devices)
		}
	}
	if len(devices) == 0 {
		return 0
	}
	return float64(held) / float64(len(devices))
}

// pass adds time to one container's life, and returns what is to be done to it.
func (s *Steward) pass(ctx context.Context, c container.Record, samples map[string]lifecycle.Sample, all *scene, looks map[string]look) (v lifecycle.Verdict, due bool) {
	who := s.person(c.UID, all)
	facts, known := s.facts(c, samples, all, who)
	if !who.known || !known {
		s.mu.Lock()
		defer s.mu.Unlock()
		looks[c.ID] = s.looks[c.ID] // it is looked at again once more is known
		return v, false
	}
	rule := s.rule(c, facts, who)
	facts.Scarce = who.limits.Policies.DemandThreshold > 0 && all.scarce >= who.limits.Policies.DemandThreshold
	if mayBeAlive(s.life(c.ID), facts, rule) {
		facts.Alive = s.Voice.Alive(c)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	still, saves := s.saving[c.ID]
	if facts.Saving = saves; saves && !still {
		delete(s.saving, c.ID)
	}
	was := s.lives[c.ID]
	is := was.Spend(facts, rule)
	s.keep(c.ID, was, is)
	s.owed = s.owed || is.Idle < was.Idle
	if was.Warned != is.Warned && is.Warned == (lifecycle.Notices{}) {
		s.words.Go(func() error { s.Voice.Hush(context.WithoutCancel(ctx), c); return nil })
	}
	looks[c.ID] = look{facts, rule}
	s.looks[c.ID] = looks[c.ID] // what is done because of it looks there
	if s.acting[c.ID] {
		return v, false
	}
	v = is.Judge(is.Deadlines(facts, rule), rule)
	return v, v.Verb != ""
}

// mayBeAlive reports whether it matters that a container's workspace has the file
// that lets it be: the file system is asked only for those that have been idle for
// half the time until their owner is warned.
func mayBeAlive(l lifecycle.Life, f lifecycle.Facts, r lifecycle.Rule) bool {
	soon := time.Duration(float64(r.IdleTimeout.Value) * r.First / 2)
	return f.Phase == lifecycle.Running && f.Sample != nil && !r.IdleTimeout.Unlimited && l.Idle >= soon
}

func (s *Steward) life(claim string) lifecycle.Life {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lives[claim]
}

// keep is called with the mutex held.
func (s *Steward) keep(claim string, was, is lifecycle.Life) {
	s.lives[claim] = is
	if was != is {
		s.unsaved[claim] = true
	}
}

// person looks an owner up once a pass. Where that can't be done nothing happens
// to what is theirs.
func (s *Steward) person(uid int, all *scene) *person {
	if p := all.people[uid]; p != nil {
		return p
	}
	p := &person{rules: map[ruleKey]lifecycle.Rule{}}
	all.people[uid] = p
	who, err := s.Accounts(uid)
	if err != nil {
		s.Log.Debug("owner of containers not looked up", "uid", uid, "error", err)
		return p
	}
	p.known, p.limits, p.exempt = true, s.Limits(who), lifecycle.Exempt(all.exempt, who.Name, all.now)
	return p
}

// rule works out what applies to a container, once for all of a kind.
func (s *Steward) rule(c container.Record, f lifecycle.Facts, who *person) lifecycle.Rule {
	key := ruleKey{c.Interface, c.AsksAgain(), f.Holds}
	rule, ok := who.rules[key]
	if !ok {
		rule = lifecycle.RuleOf(who.limits.Within(s.Type(c.Interface)), key.asks, key.holds)
		who.rules[key] = rule
	}
	rule.Declared = c.Lasts
	return rule
}

// facts gathers what is seen of a container. It isn't known of one that the
// engine hasn't shown yet.
func (s *Steward) facts(c container.Record, samples map[string]lifecycle.Sample, all *scene, who *person) (f lifecycle.Facts, known bool) {
	o, seen := s.Observed(c.ContainerID)
	phase, known := phaseOf(c, o, seen)
	f = lifecycle.Facts{
		Phase: phase, Started: o.StartedAt, Restarts: c.Restart.Count, Passed: all.passed, Local: all.local, Exempt: who.exempt,
		Holds: len(c.Devices) > 0 && c.State != gpu.Released, Live: c.AtStart && all.live,
	}
	if sample, ok := samples[c.ID]; ok && f.Phase == lifecycle.Running {
		f.Sample = &sample
	}
	return f, known
}

// phaseOf goes by the record, since not every change has had the engine shown.
func phaseOf(c container.Record, o container.Observed, seen bool) (p lifecycle.Phase, known bool) {
	switch {
	case c.State == gpu.Pending, c.State != gpu.Running && o.Running(), c.Restarting():
		return lifecycle.Between, true
	case c.State == gpu.Bound:
		return lifecycle.Created, true
	case c.State == gpu.Running && c.ComesBack() && !o.Running():
		return lifecycle.Between, seen
	case c.State == gpu.Running:
		return lifecycle.Running, seen && o.Running()
	case o.State == "created" && o.StartedAt.IsZero():
		return lifecycle.Created, true
	}
	return lifecycle.Stopped, true
}
