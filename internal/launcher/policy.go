package launcher

import (
	"context"
	"errors"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

// Rules are the site's own.
type Rules interface {
	// Judge returns what the rules have against a request. An error is a
	// refusal too: nobody could say.
	Judge(ctx context.Context, in policy.Input) (policy.Verdict, error)
}

// judge asks the rules, and returns what they take away. What they deny, or
// can't judge, is an error of kind problem.ErrDenied.
func (l *Launcher) judge(ctx context.Context, rules Rules, what string, in policy.Input) ([]admission.Tightening, error) {
	v, err := rules.Judge(ctx, in)
	if err != nil {
		l.Log.ErrorContext(ctx, "site policy couldn't judge", "action", in.Action, "user", in.User.Name, "error", err)
		return nil, policy.Unjudged(what, err)
	}
	return v.Tightenings, v.Refusal(what)
}

// JudgeImage refuses to move an image between this host and its registry where
// the site's policy does. who is the person who asks, admin whether they administer.
func (l *Launcher) JudgeImage(ctx context.Context, what string, action policy.Action, who account.Account, admin bool, i policy.Image) error {
	rules := l.Policy()
	if rules == nil {
		return nil
	}
	in := policy.New(action, who, admin, l.Limits(who), policy.Request{Image: i}, l.Now())
	_, err := l.judge(ctx, rules, what, in) // nothing is there to be tightened
	return err
}

// review decides what is sent in place of a request: what ds01 decides by
// itself, and what is left of that after the site's policy.
func (l *Launcher) review(ctx context.Context, p plan) (admission.Create, admission.Tightened, error) {
	r := p.request
	body, err := admission.Review(r.Body, p.subject, p.grant)
	rules := l.Policy()
	if err != nil || rules == nil {
		return body, admission.Tightened{Body: body, Grant: p.grant}, err
	}
	in := policy.New(policy.ContainerCreate, r.Account, r.Roles.Admin, p.subject.Limits, policy.RequestOf(body, p.facts), l.Now())
	all, err := l.judge(ctx, rules, "Container "+r.Name+" not created", in)
	if err != nil {
		return body, admission.Tightened{}, err
	}
	t, err := admission.Tighten(r.Body, p.subject, p.grant, all)
	NoteChanges(ctx, t.Changes)
	return body, t, err
}

// facts are what the rules see of a request beside its body.
func facts(r Request, ask admission.Ask, wanted string, image container.Image) policy.Facts {
	f := policy.Facts{Name: r.Name, Interface: r.Interface, Image: policy.Local(wanted, r.Account.UID, image.Names), Restart: ask.Restart}
	switch {
	case ask.Network.None:
		f.Networks = []string{network.None}
	case ask.Network.Container != "":
		f.Networks = []string{shared + ask.Network.Container}
	default:
		f.Networks = ask.Network.Names
	}
	for _, v := range ask.Volumes {
		if v.Name != "" {
			f.Volumes = append(f.Volumes, v.Name)
		}
	}
	return f
}

const shared = "container:"

// NoteChanges writes down what the rules have changed.
func NoteChanges(ctx context.Context, changes []admission.Change) {
	if len(changes) == 0 {
		return
	}
	var texts []string
	for _, c := range changes {
		texts = append(texts, c.Field+" set to "+c.After+" ("+c.Rule+")")
	}
	recorder.Note(ctx, func(e *event.Event) { e.Why = "site policy: " + strings.Join(texts, ", ") })
}

// told returns the changes in sentences for who asked.
func told(changes []admission.Change) (warnings []string) {
	for _, c := range changes {
		warnings = append(warnings, c.String())
	}
	return warnings
}

// made is what is known of a container that the engine has.
type made struct {
	record  container.Record
	seen    container.Observed
	stored  admission.Stored
	subject admission.Subject
}

// reviewExisting has the site's policy judge a container as it will be after
// u, and returns u with what the rules take away.
func (l *Launcher) reviewExisting(ctx context.Context, what string, action policy.Action, e made, u admission.Update) (admission.Update, []admission.Change, error) {
	rules := l.Policy()
	if rules == nil {
		return u, nil, nil
	}
	f, err := l.factsOf(ctx, e)
	if err != nil {
		return u, nil, err
	}
	who := e.subject.Account
	request := policy.RequestOf(e.stored.Updated(u).Body(), f)
	all, err := l.judge(ctx, rules, what, policy.New(action, who, l.Roles(who).Admin, e.subject.Limits, request, l.Now()))
	if err != nil {
		return u, nil, err
	}
	u, changes, err := e.stored.Tighten(what, u, all)
	NoteChanges(ctx, changes)
	return u, changes, err
}

// factsOf are what the rules see of a container that there is.
func (l *Launcher) factsOf(ctx context.Context, e made) (policy.Facts, error) {
	r := e.record
	f := policy.Facts{
		Name: r.Name, Interface: r.Interface, Devices: l.devicesOf(r), Mounts: r.Mounts, Ports: r.Ports, Restart: r.Restart.Policy,
	}
	found, err := l.Images.Find(ctx, curator.Person{UID: r.UID, Admin: true}, e.seen.ImageID)
	if err != nil && !errors.Is(err, problem.ErrNotFound) { // its names may have gone, and it with them
		return f, err
	}
	f.Image = policy.Local(r.Image, r.UID, found.Names)
	networks, volumes, other := e.stored.Named()
	for _, name := range networks {
		if name = l.networkName(r.UID, name); name != "" && !slices.Contains(f.Networks, name) {
			f.Networks = append(f.Networks, name)
		}
	}
	if other != "" {
		host, _ := l.Ledger.ByContainer(other)
		f.Networks = append(f.Networks, shared+host.Name)
	}
	for _, name := range volumes {
		if v, ok := l.Registrar.VolumeAt(name); ok && !v.Anonymous {
			name = v.Name
		}
		f.Volumes = append(f.Volumes, name)
	}
	return f, nil
}

// networkName returns what a network's owner calls it.
func (l *Launcher) networkName(uid int, name string) string {
	if name == network.Default || name == network.DefaultOf(uid) {
		return network.Bridge
	}
	if n, ok := l.Registrar.NetworkAt(name); ok {
		return n.Name
	}
	return name
}
