package launcher

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
)

// builds knows the builds that are under way, by control group.
type builds struct {
	mu    sync.Mutex
	count map[string]int
	ended map[string]time.Time
}

// buildEnds is how long an engine may take to remove the step of a build that
// nobody waits for any more.
const buildEnds = 10 * time.Second

func (b *builds) begin(group string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count == nil {
		b.count, b.ended = map[string]int{}, map[string]time.Time{}
	}
	b.count[group]++
}

func (b *builds) end(group string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count[group]--; b.count[group] == 0 {
		delete(b.count, group)
	}
	b.ended[group] = now
}

func (b *builds) running(group string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	ended, some := b.ended[group]
	return b.count[group] > 0 || some && now.Sub(ended) < buildEnds
}

// EngineBegan tells that the engine may be another process than before: it
// removes no steps of builds that have ended.
func (l *Launcher) EngineBegan() {
	l.builds.mu.Lock()
	defer l.builds.mu.Unlock()
	clear(l.builds.ended)
}

// A Site is where the steps of a build run.
type Site struct {
	Subject  admission.Subject
	Group    string // control group, as the engine is told it
	Networks admission.Networks
}

// Build makes sure of the control group and the network in which a build's
// steps run. Until done is called, the containers that the engine makes there
// count as steps of it.
func (l *Launcher) Build(ctx context.Context, who account.Account, ask admission.NetworkAsk) (site Site, done func(), err error) {
	const what = "Image not built"
	if site.Subject, err = l.subject(what, who); err != nil {
		return site, nil, err
	}
	if name := l.runtime(); name != "" && name != "runc" {
		// A build can't say which runtime its steps have, nor keep NVIDIA's from
		// what the image's variables say.
		return site, nil, &problem.Error{
			What: what, Why: problem.Because(problem.ErrUnavailable, "this host's engine runs everything by "+name+", which can give devices to steps of a build"),
			Next: "Administrators: take \"default-runtime\" out of the engine's daemon.json.",
		}
	}
	if site.Networks, err = l.networks(Request{Account: who}, ask); err != nil {
		return site, nil, err
	}
	if site.Group, err = l.Cgroups.Ensure(ctx, who.UID, site.Subject.Limits); err != nil {
		return site, nil, fmt.Errorf("your resource group: %w", err)
	}
	if _, wanted := site.Networks.Endpoints[network.DefaultOf(who.UID)]; wanted {
		if _, err := l.Registrar.DefaultNetwork(ctx, who.UID, OwnLabels(who.UID)); err != nil {
			return site, nil, err
		}
	}
	l.builds.begin(site.Group)
	return site, func() { l.builds.end(site.Group, l.Now()) }, nil
}

// A Step says what a container that ds01 doesn't know has to do with builds.
type Step string

// What a container is to builds.
const (
	NoStep   Step = ""
	StepRuns Step = "runs" // a build is under way that it may be a step of
	StepLeft Step = "left" // a build has left it behind
)

// StepOf tells whether a container that ds01 doesn't know is a step of a build:
// it is to run in the control group of a person, which nobody can ask for, and
// reaches no device. What variables of its image say reaches none without
// NVIDIA's runtime, by which no build runs.
func (l *Launcher) StepOf(o container.Observed) Step {
	if o.Group == "" || o.ClaimID() != "" || reachesDevices(o.Hints, l.Devices()) {
		return NoStep
	}
	if l.builds.running(o.Group, l.Now()) {
		return StepRuns
	}
	if uid, err := strconv.Atoi(o.Labels[label.UID]); err == nil && l.Cgroups.Parent(uid) == o.Group {
		return StepLeft
	}
	return NoStep
}

func reachesDevices(h gpu.Hints, devices []gpu.Device) bool {
	h.Visible = nil
	return h.All || h.Count > 0 || len(h.Rules) > 0 || len(h.DeviceIDs) > 0 || len(h.Reaches(devices)) > 0
}
