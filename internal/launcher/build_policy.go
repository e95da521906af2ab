package launcher

import (
	"context"
	"errors"
	"slices"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
)

// A BuildOrder is a build as the site's policy sees it.
type BuildOrder struct {
	Account  account.Account
	Admin    bool             // they administer, and don't ask through a container
	Build    policy.Build     // without Bases
	Bases    []string         // images that it names, as far as they are known
	Step     admission.Create // what its steps have
	Networks []string
}

// Judged reports whether the site has rules at all.
func (l *Launcher) Judged() bool { return l.Policy() != nil }

// JudgeBuild asks the site's policy about a build and returns what it takes
// from the steps. What it denies is an error of kind problem.ErrDenied; what
// it takes is returned beside one, too.
func (l *Launcher) JudgeBuild(ctx context.Context, o BuildOrder) ([]admission.Tightening, error) {
	rules := l.Policy()
	if rules == nil {
		return nil, nil
	}
	who := o.Account
	if o.Step.HostConfig.NetworkMode == network.None {
		o.Networks = []string{network.None}
	}
	r := policy.RequestOf(o.Step, policy.Facts{Interface: label.Docker, Networks: o.Networks})
	r.Build = o.Build
	for i, reference := range o.Bases {
		if slices.Contains(o.Bases[:i], reference) {
			continue
		}
		image, err := l.baseFacts(ctx, curator.Person{UID: who.UID, Admin: o.Admin}, reference)
		if err != nil {
			return nil, err
		}
		r.Build.Bases = append(r.Build.Bases, image)
	}
	return l.judge(ctx, rules, "Image not built", policy.New(policy.ImageBuild, who, o.Admin, l.Limits(who), r, l.Now()))
}

// baseFacts are what the rules see of an image that a build names.
func (l *Launcher) baseFacts(ctx context.Context, p curator.Person, reference string) (policy.Image, error) {
	found, err := l.Images.Find(ctx, p, reference)
	switch {
	case errors.Is(err, problem.ErrNotFound):
		return policy.Named(reference, "", false), nil
	case err != nil:
		return policy.Image{}, err
	}
	return policy.Local(reference, p.UID, found.Names).WithDigest(found.Names), nil
}

// BuildSubject is for whom a build's steps run.
func (l *Launcher) BuildSubject(who account.Account) (admission.Subject, error) {
	return l.subject("Image not built", who)
}
