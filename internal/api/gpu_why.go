package api

import (
	"cmp"
	"slices"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/problem"
)

// gpusWhy says what a request for GPUs would come to, or why a container has
// what it has of them. Nothing is claimed for it.
func (c *call) gpusWhy() error {
	out := apitype.GPUWhy{
		User: c.owner.Name, Devices: []apitype.GPUGrant{}, Notes: []string{}, Kinds: []apitype.GPUKind{}, Limits: []apitype.Limit{}, Usage: []apitype.Usage{},
	}
	bound, query := c.owner, c.r.URL.Query()
	var err error
	switch name := query.Get("name"); {
	case name == "":
		err = c.whyRequest(&out, cmp.Or(query.Get("gpus"), "1"))
	case query.Has("gpus"):
		return &problem.Error{What: "Not clear what is asked", Why: problem.Because(problem.ErrInvalid, "both a container and a request are named"), Next: "Leave one of them out."}
	default:
		bound, err = c.whyContainer(&out, name)
	}
	if err != nil {
		return err
	}
	out.Granted, out.User = out.Refusal == nil, bound.Name
	c.outOfService(&out)
	c.whatBinds(&out, bound)
	return c.answer(out)
}

func (c *call) gpuOrder(a account.Account) (allocator.Order, account.Roles) {
	roles := account.RolesOf(a, c.State().Groups)
	return allocator.Order{Account: a, Limits: c.Limits(a), Admin: roles.Admin}, roles
}

// whyRequest tells what would be granted now. An error is about the words of
// the request; that it wouldn't be granted is an answer.
func (c *call) whyRequest(out *apitype.GPUWhy, text string) error {
	want, err := gpu.ParseRequest(text)
	if err != nil {
		return err
	}
	out.Asked = want.String()
	order, roles := c.gpuOrder(c.owner)
	order.GPU = &want
	if err := launcher.MayHold("GPU not granted", c.owner, roles); err != nil {
		refuseWhy(out, err)
		return nil
	}
	if _, err := c.Launcher.Libraries(); err != nil {
		refuseWhy(out, err)
		return nil
	}
	_, devices, err := c.Ledger.Suppose(order)
	if err != nil {
		refuseWhy(out, err)
		return nil
	}
	for _, d := range devices {
		out.Devices = append(out.Devices, apitype.GPUGrant{UUID: d.UUID, Slot: d.Slot, Profile: d.Profile, Model: d.Model})
	}
	out.Notes = append(out.Notes, c.Ledger.Advise(order, devices)...)
	return nil
}

// whyContainer tells of a container's devices, and returns its owner, whose
// limits bind it.
func (c *call) whyContainer(out *apitype.GPUWhy, name string) (account.Account, error) {
	record, err := c.findNamed(name)
	if err != nil {
		return account.Account{}, err
	}
	owner, err := c.Accounts.Lookup(record.UID)
	if err != nil {
		return owner, err
	}
	known := c.Devices()
	for _, g := range record.Devices {
		grant := apitype.GPUGrant{UUID: g.UUID, Slot: g.Slot}
		if i := slices.IndexFunc(known, func(d gpu.Device) bool { return d.UUID == g.UUID }); i >= 0 {
			grant.Profile, grant.Model = known[i].Profile, known[i].Model
		}
		out.Devices = append(out.Devices, grant)
	}
	bound := c.Limits(owner)
	out.Reason, out.Until = holding(record, bound.Source("gpu_hold_after_stop").String()), moment(record.HeldUntil)
	if err := c.Ledger.SupposeAcquire(record, bound); err != nil {
		refuseWhy(out, err)
	}
	return owner, nil
}

func refuseWhy(out *apitype.GPUWhy, err error) {
	refusal := problem.Describe(err)
	out.Refusal = &refusal
}

// holding says why a container holds its devices, or doesn't.
func holding(r container.Record, hold string) string {
	switch {
	case len(r.Devices) == 0 && r.Asked != "":
		return "it holds none; a start asks for " + r.Asked
	case len(r.Devices) == 0:
		return "it was made without a GPU, or has released it"
	}
	switch r.State {
	case gpu.Pending:
		return "it is being created"
	case gpu.Bound:
		return "it was never started, and keeps them for a while"
	case gpu.Running:
		return "it runs, and holds them until it is stopped"
	case gpu.Held:
		return "it is stopped, and keeps them for gpu_hold_after_stop (" + hold + ")"
	default:
		if r.AtStart {
			return "it gave them back; a start asks for the same ones again, or for others that are what it asked for: " + r.Asked
		}
		return "it gave them back; a start asks for the same ones again"
	}
}

// whatBinds adds what the host has and what binds the person.
func (c *call) whatBinds(out *apitype.GPUWhy, a account.Account) {
	order, _ := c.gpuOrder(a)
	kinds, err := c.Ledger.Kinds(order)
	if err != nil && out.Refusal == nil {
		refuseWhy(out, err)
	}
	for _, k := range kinds {
		kind := apitype.GPUKind{
			Profile: k.Profile, MemoryBytes: k.MemoryBytes, Share: k.Share.Float(), ShareText: k.Share.String(),
			Total: k.Total, Free: k.Free, Most: k.Most,
		}
		if k.Blocked != nil {
			refusal := problem.Describe(k.Blocked)
			kind.Refusal = &refusal
		}
		out.Kinds = append(out.Kinds, kind)
	}
	all := c.limitsOf(a)
	for _, l := range all.Limits {
		if slices.Contains([]string{"max_mig_instances", "max_gpus_per_container", "max_gpu_share", "allow_full_gpu", "gpu_hold_after_stop"}, l.Key) {
			out.Limits = append(out.Limits, l)
		}
	}
	for _, u := range all.Usage {
		if u.Key == "max_mig_instances" || u.Key == "max_gpu_share" {
			out.Usage = append(out.Usage, u)
		}
	}
}
