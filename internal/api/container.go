package api

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/reconciler"
	"ds01.dev/ds01/internal/recorder"
)

func (c *call) containers() error {
	everybody := c.r.URL.Query().Get("all_users") == "true"
	if everybody && !c.roles.Admin {
		return adminsOnly("Other people's containers")
	}
	return c.answer(c.list(everybody))
}

func adminsOnly(what string) error {
	return &problem.Error{What: what + " not shown", Why: problem.Because(problem.ErrDenied, "only administrators see them"), Next: "Leave the option away to see yours."}
}

// list returns the owner's containers, or everybody's and the quarantined
// ones.
func (c *call) list(everybody bool) []apitype.Container {
	models := map[string]gpu.Device{}
	for _, d := range c.Devices() {
		models[d.UUID] = d
	}
	views := c.Reconciler.Views(func(r container.Record) bool { return everybody || r.UID == c.owner.UID })
	all := make([]apitype.Container, 0, len(views))
	for _, v := range views {
		all = append(all, c.describe(v, models))
	}
	c.warn(all)
	if everybody {
		for _, o := range c.Reconciler.Quarantined() {
			all = append(all, describeQuarantined(o, c.Devices()))
		}
	}
	return all
}

func (c *call) describe(v reconciler.View, devices map[string]gpu.Device) apitype.Container {
	r, o := v.Record, v.Observed
	out := apitype.Container{
		ID: r.ContainerID, Name: r.Name, EngineName: account.EngineName(r.Name, r.UID), User: r.Login, UID: r.UID,
		Image: r.Image, State: o.State, ExitCode: o.ExitCode, CreatedAt: r.CreatedAt,
		StartedAt: moment(o.StartedAt), FinishedAt: moment(o.FinishedAt), Interface: r.Interface, Origin: r.Origin, Workspace: r.Workspace(),
		GPUs: []apitype.GPUGrant{}, ClaimState: string(r.State), HeldUntil: moment(r.HeldUntil),
	}
	describeRestart(&out, r)
	out.Time = describeTime(c.Steward.Clock(r.ID), c.Now())
	out.Time.DeclaredSeconds = seconds(r.Lasts)
	if k := r.Killed; k != nil {
		out.OutOfMemory = &apitype.Killed{
			At: k.At, Limit: k.Limit, LimitBytes: int64(k.Bytes), Process: k.Process, HeldBytes: int64(k.Held), Count: k.Count,
			Why: k.Why(r.Name), Next: k.Next(r.Name),
		}
	}
	out.MemoryDeferred = deferral(c.Enforcer.Deferred(r.ID))
	switch {
	case r.Restarting() && !o.Running():
		out.State = apitype.StateRestarting
	case r.ContainerID == "":
		out.State = apitype.StatePending
	case out.State == "":
		out.State = lastKnown(r.State)
	}
	for _, g := range r.Devices {
		d := devices[g.UUID]
		out.GPUs = append(out.GPUs, apitype.GPUGrant{UUID: g.UUID, Slot: g.Slot, Profile: d.Profile, Model: d.Model, Problem: d.Problem})
	}
	return out
}

// deferral describes what is deferred, nil where nothing is.
func deferral(d limits.Deferral) *apitype.Deferral {
	if d == (limits.Deferral{}) {
		return nil
	}
	return &apitype.Deferral{WantedBytes: int64(d.Wanted), ForNowBytes: int64(d.For)}
}

// lastKnown returns the state of a container that the engine hasn't shown yet:
// its first event is on the way, or the engine is down.
func lastKnown(claim gpu.State) string {
	switch claim {
	case gpu.Running:
		return apitype.StateRunning
	case gpu.Held, gpu.Released:
		return apitype.StateExited
	default:
		return apitype.StateCreated
	}
}

func describeQuarantined(o container.Observed, devices []gpu.Device) apitype.Container {
	out := apitype.Container{
		ID: o.ID, Name: o.Name, EngineName: o.Name, UID: -1, Image: o.Image, State: o.State, ExitCode: o.ExitCode,
		CreatedAt: o.CreatedAt, StartedAt: moment(o.StartedAt), FinishedAt: moment(o.FinishedAt),
		GPUs: []apitype.GPUGrant{}, ClaimState: "quarantined", Quarantined: true,
	}
	reached := o.Hints.Reaches(devices)
	for _, d := range devices {
		if slices.Contains(reached, d.UUID) {
			out.GPUs = append(out.GPUs, apitype.GPUGrant{UUID: d.UUID, Slot: d.Slot, Profile: d.Profile, Model: d.Model})
		}
	}
	return out
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// find returns the container that {name} means.
func (c *call) find() (container.Record, error) { return c.findNamed(c.r.PathValue("name")) }

func (c *call) findNamed(name string) (container.Record, error) {
	record, err := c.Ledger.Find(c.owner.UID, name)
	if err == nil {
		c.note(record)
		return record, nil
	}
	other, oerr := c.Ledger.FindAny(c.owner.UID, name)
	if oerr == nil {
		c.note(other)
	}
	if c.roles.Admin {
		return other, oerr
	}
	return record, err // as if others' containers didn't exist
}

// findMade is find for what the engine must know already.
func (c *call) findMade() (container.Record, error) {
	record, err := c.find()
	if err == nil && record.ContainerID == "" {
		err = &problem.Error{
			What: "Container " + record.Name + " is still being created",
			Why:  problem.Because(problem.ErrConflict, "the engine hasn't answered yet"),
			Next: "Try again in a minute: by then it is there, or nothing is held for it.",
		}
	}
	return record, err
}

func (c *call) container() error {
	record, err := c.find()
	if err != nil {
		return err
	}
	return c.show(record.ID)
}

// show answers with the container of a claim as it is now.
func (c *call) show(claim string, warnings ...string) error {
	models := map[string]gpu.Device{}
	for _, d := range c.Devices() {
		models[d.UUID] = d
	}
	for _, v := range c.Reconciler.Views(func(r container.Record) bool { return r.ID == claim }) {
		shown := c.describe(v, models)
		shown.Warnings = warnings
		return c.answer(shown)
	}
	return &problem.Error{What: "No such container", Why: problem.Because(problem.ErrNotFound, "it was removed meanwhile")}
}

// create makes a container as `container create` means it.
func (c *call) create() error {
	var want apitype.CreateContainer
	if err := c.read(&want); err != nil {
		return err
	}
	if want.Image == "" {
		want.Image = c.State().DefaultImage
	}
	if want.Interface == "" {
		want.Interface = label.Atomic
	}
	if err := checkCreate(want); err != nil {
		return err
	}
	c.noteCreate(want)
	record, warnings, err := c.Launcher.Create(c.r.Context(), launcher.Request{
		Account: c.owner, Roles: account.RolesOf(c.owner, c.State().Groups), Name: want.Name,
		Interface: want.Interface, Origin: c.Origins.Of(c.peer), Person: true, Body: waitingShell(want, c.owner), Lasts: time.Duration(want.TimeSeconds) * time.Second,
	})
	if err != nil {
		return err
	}
	c.observe(record.ContainerID)
	if want.Keep {
		if err := c.keepIt(c.r.Context(), record); err != nil { // it is there, and will be removed when its time is over
			warnings = append(warnings, "it won't be kept when it stops: "+err.Error())
		}
	}
	return c.show(record.ID, warnings...)
}

func checkCreate(want apitype.CreateContainer) error {
	refuse := func(why, next string) error {
		return &problem.Error{What: fmt.Sprintf("Container %q not created", want.Name), Why: problem.Because(problem.ErrInvalid, why), Next: next}
	}
	if !account.ValidContainerName(want.Name) {
		return refuse("a name has letters, digits, '_', '.' and '-', begins with a letter or digit, and doesn't hold '._.'", "Choose another name.")
	}
	if want.Image == "" {
		return refuse("no image is named, and this host has no default image", "Name one with --image; 'docker images' shows what is here.")
	}
	if _, err := restartPolicy(want.Restart); err != nil {
		return err
	}
	if err := checkTime(want.TimeSeconds); err != nil {
		return err
	}
	if want.GPUs < 0 || want.GPUs > 1024 {
		return refuse(fmt.Sprintf("%d GPUs can't be granted", want.GPUs), "Ask for --gpus 1, or --cpu-only.")
	}
	if want.GPUs > 0 && want.Wanted != "" {
		return refuse("gpus and gpu_request both ask for GPUs", "Leave one of them out.")
	}
	if _, err := gpusOf(want.GPUs, want.Wanted); err != nil {
		return err
	}
	for _, dir := range []string{want.Workspace, want.Data, want.Models} {
		if dir != "" && !filepath.IsAbs(dir) {
			return refuse(fmt.Sprintf("%q is not an absolute path", dir), "Write the whole path of the directory.")
		}
	}
	if !slices.Contains([]string{label.Atomic, label.Orchestration}, want.Interface) {
		return refuse(fmt.Sprintf("interface %q is not one of atomic, orchestration", want.Interface), "")
	}
	return nil
}

// waitingShell returns the body of a container that waits for people to open
// it. The shell ends at once when it is asked to.
func waitingShell(want apitype.CreateContainer, owner account.Account) admission.Create {
	init := true
	body := admission.Create{
		Hostname: hostname(want.Name), User: fmt.Sprintf("%d:%d", owner.UID, owner.GID), Image: want.Image,
		Entrypoint: admission.Words{"/bin/sh", "-c", "trap 'exit 0' TERM INT HUP; while :; do sleep 86400 & wait $!; done"},
		Cmd:        admission.Words{}, Tty: true, OpenStdin: true,
		Env:        []string{"HOME=/home/" + owner.Name, "USER=" + owner.Name},
		HostConfig: admission.HostConfig{Init: &init},
	}
	if p, err := restartPolicy(want.Restart); err == nil { // checked by now
		body.HostConfig.RestartPolicy = admission.RestartPolicy{Name: p.Name, MaximumRetryCount: p.MaxRetries}
	}
	if want.Workspace != "" {
		body.WorkingDir = "/workspace"
	}
	for _, m := range []struct{ source, target string }{{want.Workspace, "/workspace"}, {want.Data, "/data"}, {want.Models, "/models"}} {
		if m.source != "" {
			body.HostConfig.Mounts = append(body.HostConfig.Mounts, admission.MountPoint{Type: "bind", Source: m.source, Target: m.target})
		}
	}
	if gpus, err := gpusOf(want.GPUs, want.Wanted); err == nil { // checked by now
		body.HostConfig.DeviceRequests = admission.GPURequest(gpus)
	}
	return body
}

// gpusOf returns what is wanted of GPUs, nil for none.
func gpusOf(count int, wanted string) (*gpu.Request, error) {
	switch {
	case wanted != "":
		r, err := gpu.ParseRequest(wanted)
		return &r, err
	case count > 0:
		return &gpu.Request{Count: count}, nil
	}
	return nil, nil //nolint:nilnil // no request is a good answer
}

// hostname returns the container's name as a host may be called.
func hostname(name string) string {
	host := []byte(name[:min(len(name), 63)])
	for i, b := range host {
		if b == '_' || b == '.' {
			host[i] = '-'
		}
	}
	return string(host)
}

// observe brings the record in step before it is shown.
func (c *call) observe(id string) {
	ctx := context.WithoutCancel(c.r.Context())
	if err := c.Reconciler.Observe(ctx, id); err != nil {
		c.Log.WarnContext(ctx, "container not looked up", "container", id, "error", err)
	}
}

func (c *call) start() error {
	record, err := c.find()
	if err != nil {
		return err
	}
	start := c.Launcher.Start
	if c.roles.Admin {
		start = c.Launcher.StartAsIs
	}
	if err := start(c.r.Context(), record.ID); err != nil {
		return err
	}
	c.observe(record.ContainerID)
	return c.show(record.ID)
}

func (c *call) stop() error {
	var want apitype.StopContainer
	if err := c.read(&want); err != nil {
		return err
	}
	record, err := c.findMade()
	if err != nil {
		return err
	}
	owner, err := c.Accounts.Lookup(record.UID)
	if err != nil {
		return err
	}
	if want.Keep {
		if err := c.keepIt(c.r.Context(), record); err != nil {
			return err
		}
	}
	timeout := time.Duration(-1)
	if want.TimeoutSeconds != nil {
		timeout = time.Duration(*want.TimeoutSeconds) * time.Second
		if limit := c.Limits(owner).Within(c.Document().Type(record.Interface)).StopTimeout; !limit.Unlimited && (timeout < 0 || timeout > limit.Value) {
			timeout = limit.Value
		}
	}
	if err := c.Launcher.Halt(c.r.Context(), record.ID); err != nil {
		return err
	}
	if err := c.Engine.Stop(context.WithoutCancel(c.r.Context()), record.ContainerID, timeout); err != nil {
		return err
	}
	c.observe(record.ContainerID)
	if want.GiveBack {
		if err := c.giveBack(record); err != nil {
			return err
		}
	}
	return c.show(record.ID)
}

func (c *call) remove() error {
	record, err := c.findMade()
	if err != nil {
		return err
	}
	force := c.r.URL.Query().Get("force") == "true"
	if force {
		if err := c.Launcher.Halt(c.r.Context(), record.ID); err != nil {
			return err
		}
	}
	err = c.Engine.Remove(context.WithoutCancel(c.r.Context()), record.ContainerID, force)
	if err != nil && record.State == gpu.Running && !force {
		return &problem.Error{
			What: "Container " + record.Name + " not removed",
			Why:  problem.Because(problem.ErrConflict, "it is running"),
			Next: fmt.Sprintf("Stop it first: 'container stop %s', or remove it with --force.", record.Name),
		}
	}
	if err != nil {
		return err
	}
	c.observe(record.ContainerID)
	return c.answer(nil)
}

// adopt gives a quarantined container an owner.
func (c *call) adopt() error {
	var want apitype.Adopt
	if err := c.read(&want); err != nil {
		return err
	}
	owner, err := c.Accounts.LookupName(want.User)
	if err != nil {
		return &problem.Error{What: "Container not adopted", Why: problem.Because(problem.ErrNotFound, fmt.Sprintf("the host knows no user %q", want.User)), Next: "Name the new owner with --user."}
	}
	o, err := c.quarantined(c.r.PathValue("name"))
	if err != nil {
		return err
	}
	if want.Name == "" {
		want.Name = o.Name
		if name, _, ok := account.SplitEngineName(o.Name); ok {
			want.Name = name
		}
	}
	if !account.ValidContainerName(want.Name) {
		return &problem.Error{What: "Container not adopted", Why: problem.Because(problem.ErrInvalid, fmt.Sprintf("%q can't be a container's name here", want.Name)), Next: "Give one with --name."}
	}
	record := container.Record{Login: owner.Name, Interface: label.InterfaceOf(o.Labels, label.Docker)}
	record.UID, record.Name = owner.UID, want.Name
	record.Quota.HoldAfterStop = allocator.HoldOf(c.Limits(owner))
	c.entry.Note(func(e *event.Event) { e.Container, e.Owner, e.OwnerUID = o.ID, owner.Name, &owner.UID })
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	adopted, err := c.Reconciler.Adopt(c.r.Context(), o.ID, record)
	if err != nil {
		return err
	}
	c.Log.InfoContext(c.r.Context(), "container adopted", "container", o.ID, "admin", c.who.Name, "owner", owner.Name)
	return c.show(adopted.ID)
}

// quarantined returns the one quarantined container that a reference means.
func (c *call) quarantined(reference string) (container.Observed, error) {
	var found []container.Observed
	for _, o := range c.Reconciler.Quarantined() {
		if o.Name == reference || o.ID == reference {
			return o, nil
		}
		if len(reference) >= 2 && len(reference) <= len(o.ID) && o.ID[:len(reference)] == reference {
			found = append(found, o)
		}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return container.Observed{}, &problem.Error{
		What: "No container " + reference + " in quarantine", Why: problem.Because(problem.ErrNotFound, "ds01 knows it, or there is none"),
		Next: "'container list --all-users' shows what is quarantined.",
	}
}
