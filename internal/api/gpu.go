package api

import (
	"cmp"
	"slices"
	"strconv"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

func (c *call) gpus() error {
	all, err := c.allGPUs()
	if err != nil {
		return err
	}
	return c.answer(all)
}

// allGPUs returns every device with what it does and who holds it.
func (c *call) allGPUs() ([]apitype.GPU, error) {
	readings, err := c.Readings(c.r.Context())
	if err != nil {
		return nil, err
	}
	holders, taken, strangers, withheld := c.holders(), c.Ledger.Taken(), c.Warden.Strangers(), c.Ledger.Withheld()
	all := []apitype.GPU{}
	for _, d := range c.Devices() {
		g := apitype.GPU{
			GPUUsage: usage(d, readings[d.UUID]), Card: d.Card, Model: d.Model, Profile: d.Profile,
			Share: d.Share.Float(), Problem: cmp.Or(d.Problem, withheld[d.UUID]), Next: d.Mend, Holder: holders[d.UUID],
		}
		if why, quarantined := taken[d.UUID]; quarantined && g.Holder == nil {
			g.Holder = &apitype.Holder{UID: -1, State: "quarantined"}
			if c.roles.Admin {
				g.Holder.Container = why
			}
		}
		for _, s := range strangers[d.UUID] {
			g.Strangers = append(g.Strangers, apitype.Process{PID: s.PID, User: s.User, Command: s.Command, MemoryBytes: s.MemoryBytes})
		}
		all = append(all, g)
	}
	return all, nil
}

// cutting tells what is being made for the caller now.
func (c *call) cutting() error {
	return c.answer(apitype.Cutting{Making: c.Ledger.Cutting(c.owner.UID)})
}

func usage(d gpu.Device, r gpu.Reading) apitype.GPUUsage {
	return apitype.GPUUsage{
		UUID: d.UUID, Slot: d.Slot, UtilizationPercent: r.UtilizationPercent, MemoryUsedBytes: r.MemoryUsedBytes,
		MemoryBytes: d.MemoryBytes, PowerWatts: r.PowerWatts, TemperatureC: r.TemperatureC,
	}
}

// holders returns who holds which device; what it is held for is shown to its
// holder and to administrators.
func (c *call) holders() map[string]*apitype.Holder {
	holders := map[string]*apitype.Holder{}
	for _, r := range c.Ledger.Records() {
		if r.State == gpu.Released {
			continue
		}
		for _, d := range r.Devices {
			h := &apitype.Holder{User: r.Login, UID: r.UID, State: string(r.State)}
			if c.roles.Admin || r.UID == c.owner.UID {
				h.Container, h.Until = r.Name, moment(r.HeldUntil)
			}
			holders[d.UUID] = h
		}
	}
	return holders
}

func (c *call) simulate() error {
	if c.Simulator == nil {
		return &problem.Error{
			What: "Reading not set", Why: problem.Because(problem.ErrDenied, "the GPUs of this host are real"),
			Next: "Readings can be set where ds01.yaml says gpu.provider: sim.",
		}
	}
	var want apitype.SimReading
	if err := c.read(&want); err != nil {
		return err
	}
	if r := want.RowRemap; r != nil && !slices.Contains([]string{apitype.RemapNone, apitype.RemapPending, apitype.RemapFailed}, *r) {
		return &problem.Error{What: "Reading not set", Why: problem.Because(problem.ErrInvalid, "row_remap is "+strconv.Quote(*r)), Next: "Write none, pending or failed."}
	}
	if err := recorder.Before(c.r.Context()); err != nil {
		return err
	}
	if err := c.Simulator.Simulate(c.r.Context(), c.r.PathValue("uuid"), want); err != nil {
		return err
	}
	return c.answer(nil)
}

func (c *call) version() error { return c.answer(c.describeSelf()) }

func (c *call) describeSelf() apitype.Version {
	s := c.State()
	v := apitype.Version{
		Version: s.Version, CgroupVersion: s.CgroupVersion, GPUProvider: s.GPUProvider, DefaultImage: s.DefaultImage,
	}
	if s.EngineUp {
		v.EngineVersion, v.EngineAPI, v.Isolation = s.Engine.Version, s.Engine.API, "uid"
		if s.Engine.Remapped {
			v.Isolation = "userns"
		}
	}
	return v
}

func (c *call) me() error {
	roles := account.RolesOf(c.owner, c.State().Groups)
	return c.answer(apitype.Me{
		User: c.owner.Name, UID: c.owner.UID, Home: c.owner.Home, Groups: slices.Sorted(slices.Values(c.owner.GroupNames())),
		Docker: roles.Docker, GPU: roles.GPU, Priority: roles.Priority, Admin: roles.Admin,
		LimitsGroup: c.Limits(c.owner).Group,
	})
}
