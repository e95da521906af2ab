package gateway

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// tighten has the site's policy take from a classic build what its request says
// to the engine. What it builds on isn't known yet, for which a rule may deny
// it: see judgeBases, which asks again.
func (b *building) tighten(ctx context.Context) error {
	step, err := b.ask.Step(b.site)
	if err != nil {
		return err
	}
	all, _ := b.Launcher.JudgeBuild(ctx, b.order(step, nil)) // nothing is refused yet
	var changes []admission.Change
	if b.ask, changes, err = b.ask.Tightened(b.site, all); err != nil {
		return err
	}
	launcher.NoteChanges(ctx, changes)
	b.told = sentences(changes)
	return nil
}

// judgeBases has the site's policy judge a classic build whole, before what it
// builds on is fetched.
func (b *building) judgeBases(ctx context.Context, bases []admission.Base) error {
	if !b.Launcher.Judged() {
		return nil
	}
	var names []string
	for _, base := range bases {
		names = append(names, base.Reference)
	}
	step, err := b.ask.Step(b.site)
	if err != nil {
		return err
	}
	all, err := b.Launcher.JudgeBuild(ctx, b.order(step, names))
	if err != nil {
		return err
	}
	return b.ask.CheckTight(b.site, all)
}

func (b *building) order(step admission.Create, bases []string) launcher.BuildOrder {
	return launcher.BuildOrder{
		Account: b.who, Admin: b.roles.Admin, Bases: bases, Step: step, Networks: b.ask.Network.Names,
		Build: policy.Build{Builder: policy.Classic, Tags: b.ask.Names, Target: b.ask.Target, ArgKeys: slices.Sorted(maps.Keys(b.ask.Args))},
	}
}

func sentences(changes []admission.Change) (told []string) {
	for _, c := range changes {
		told = append(told, c.String())
	}
	return told
}

// A kitSite is what the site's policy has to do with one build by BuildKit.
type kitSite struct {
	*call
	order kitOrder

	mu     sync.Mutex
	undone []func()
}

// judge has the site's policy judge the build.
func (s *kitSite) judge(ctx context.Context, bases []string) (admission.KitSite, error) {
	left := admission.KitSite{Group: s.order.Group, NoNetwork: s.order.NoNetwork}
	subject, err := s.Launcher.BuildSubject(s.who)
	if err != nil {
		return left, err
	}
	step := admission.KitSteps(subject, s.order.Attributes)
	all, err := s.Launcher.JudgeBuild(ctx, launcher.BuildOrder{
		Account: s.who, Admin: s.roles.Admin, Build: s.facts(), Bases: bases, Step: step, Networks: []string{network.Bridge},
	})
	if err != nil {
		return left, err
	}
	step, changes, err := admission.TightenSteps(step, all)
	if err != nil || len(changes) == 0 {
		return left, err
	}
	launcher.NoteChanges(ctx, changes)
	return s.narrow(ctx, left, step, changes)
}

// narrow puts what was taken into force.
func (s *kitSite) narrow(ctx context.Context, left admission.KitSite, step admission.Create, changes []admission.Change) (admission.KitSite, error) {
	left.Told = sentences(changes)
	for _, c := range changes {
		switch c.Field {
		case "network":
			left.NoNetwork = c.Message + " (" + c.Rule + ")"
		case "shm_size":
			return left, &problem.Error{
				What: kitFailed, Why: problem.Because(problem.ErrDenied, "site policy wants a /dev/shm of "+c.After+", which BuildKit gives to no step: "+c.Message+" ("+c.Rule+")"),
				Next: "Build with DOCKER_BUILDKIT=0.",
			}
		}
	}
	group, done, err := s.Kit.Narrow(ctx, s.who, step.HostConfig)
	if err != nil {
		return left, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undone = append(s.undone, done)
	left.Group = group
	return left, nil
}

// done gives back what narrow has made.
func (s *kitSite) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, done := range s.undone {
		done()
	}
}

func (s *kitSite) facts() policy.Build {
	b := policy.Build{Builder: policy.BuildKit, Tags: s.order.targets, Target: s.order.Attributes["target"]}
	for key := range s.order.Attributes {
		if name, ok := strings.CutPrefix(key, "build-arg:"); ok {
			b.ArgKeys = append(b.ArgKeys, name)
		}
	}
	slices.Sort(b.ArgKeys)
	return b
}
