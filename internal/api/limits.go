package api

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
)

func (c *call) limits() error {
	if c.r.URL.Query().Get("all") != "true" {
		return c.answer([]apitype.UserLimits{c.limitsOf(c.owner)})
	}
	if !c.roles.Admin {
		return adminsOnly("Other people's limits")
	}
	people, err := c.people()
	if err != nil {
		return err
	}
	all := make([]apitype.UserLimits, 0, len(people))
	for _, a := range people {
		all = append(all, c.limitsOf(a))
	}
	return c.answer(all)
}

// people returns everybody who may use containers, is named in the limits
// file or owns a container, by name.
func (c *call) people() ([]account.Account, error) {
	all, err := c.Accounts.All(c.r.Context())
	if err != nil {
		return nil, err
	}
	groups, known := c.State().Groups, c.Document().KnownUsers()
	owners := map[int]bool{}
	for _, r := range c.Ledger.Records() {
		owners[r.UID] = true
	}
	byUID := map[int]account.Account{}
	for _, a := range all {
		if owners[a.UID] || account.RolesOf(a, groups).Docker || slices.Contains(known, a.Name) {
			byUID[a.UID] = a
		}
	}
	people := slices.Collect(maps.Values(byUID))
	slices.SortFunc(people, func(a, b account.Account) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return people, nil
}

// limitsOf returns what one person may use and uses.
func (c *call) limitsOf(a account.Account) apitype.UserLimits {
	l := c.Limits(a)
	out := apitype.UserLimits{User: a.Name, UID: a.UID, Group: l.Group, OtherGroups: l.OtherGroups, Override: l.Override}
	for _, v := range l.Values() {
		limit := apitype.Limit{
			Key: v.Key, Value: v.Text, Unlimited: v.Unlimited, Source: v.Source.String(), Inactive: v.Inactive,
		}
		if v.Key == "aggregate.memory" {
			limit.Deferred = deferral(c.Enforcer.DeferredTotal(a.UID))
		}
		out.Limits = append(out.Limits, limit)
	}
	devices, share, containers := c.Ledger.Used(a.UID)
	sample, err := c.Usage.Person(a.UID)
	if err != nil { // nobody's group is made before their first container
		sample = Sample{}
	}
	out.Usage = []apitype.Usage{
		count("max_mig_instances", "GPUs and MIG instances", "devices", devices, l.MaxDevices),
		shares(share, l.MaxGPUShare),
		count("max_containers_per_user", "Containers", "containers", containers, l.MaxContainers),
		memory(sample.MemoryBytes, l.Aggregate.Memory),
		count("aggregate.tasks", "Processes", "tasks", int(sample.Pids), quantity.Limit[int]{Value: int(l.Aggregate.Tasks.Value), Unlimited: l.Aggregate.Tasks.Unlimited}),
	}
	return out
}

func count(key, name, unit string, used int, limit quantity.Limit[int]) apitype.Usage {
	u := apitype.Usage{Key: key, Label: name, Used: float64(used), Limit: float64(limit.Value), Unlimited: limit.Unlimited, Unit: unit}
	u.Text = against(strconv.Itoa(used), strconv.Itoa(limit.Value), limit.Unlimited)
	return u
}

func shares(used quantity.GPUShare, limit quantity.Limit[quantity.GPUShare]) apitype.Usage {
	return apitype.Usage{
		Key: "max_gpu_share", Label: "Share of GPUs", Used: used.Float(), Limit: limit.Value.Float(), Unlimited: limit.Unlimited,
		Unit: "gpus", Text: against(used.String(), limit.Value.String(), limit.Unlimited),
	}
}

func memory(used int64, limit quantity.Limit[quantity.ByteSize]) apitype.Usage {
	return apitype.Usage{
		Key: "aggregate.memory", Label: "Memory", Used: float64(used), Limit: float64(limit.Value), Unlimited: limit.Unlimited,
		Unit: "bytes", Text: against(quantity.ByteSize(used).Rounded(), limit.Value.Rounded(), limit.Unlimited),
	}
}

func against(used, limit string, unlimited bool) string {
	if unlimited {
		return used + ", no limit"
	}
	return used + " of " + limit
}

// limitsDiff tells what another limits file would change for whom.
func (c *call) limitsDiff() error {
	var file apitype.LimitsFile
	if err := c.read(&file); err != nil {
		return err
	}
	members, err := c.Members()
	if err != nil {
		return err
	}
	after, _, err := limits.Decode(limits.File{Name: file.Name, Data: []byte(file.YAML)}, members)
	if err != nil {
		return fmt.Errorf("read %s: %w", file.Name, err)
	}
	people, err := c.people()
	if err != nil {
		return err
	}
	changes := []apitype.LimitChange{}
	for _, d := range limits.Diff(c.Document(), after, people, c.Now()) {
		changes = append(changes, apitype.LimitChange{User: d.User, Key: d.Key, Before: d.Before, After: d.After})
	}
	return c.answer(changes)
}
