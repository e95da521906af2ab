package gpu

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Cutting is what a pool's cards are, where instances may be made on them.
type Cutting struct {
	Cards   []Card
	Policy  Policy
	FreedAt map[string]time.Time // as in Host
	// Taken are devices and cards that nobody may use now, beside the pool's:
	// what somebody uses without a claim, see Unexplained, or who has it
	// reserved.
	Taken map[string]string
}

// dynamic reports whether instances may be made for who asks.
func (p *Pool) dynamic() bool { return p.Cutting != nil && p.Cutting.Policy.Mode == MIGDynamic }

// Host is the pool as a plan starts from it. Its Cutting isn't nil.
func (p *Pool) Host() Host {
	h := Host{Cards: p.Cutting.Cards, Claims: p.Claims, Taken: map[string]string{}, FreedAt: p.Cutting.FreedAt}
	for _, taken := range []map[string]string{p.Taken, p.Cutting.Taken} {
		maps.Copy(h.Taken, taken)
	}
	return h
}

// Arrange is Allocate on a host whose cards may be cut anew: it chooses
// devices, of those that are there and those that can be made, and says what
// must be done for them first. It takes for each device the smallest kind that
// will do and is to be had, as Repartition places it; a whole card only where
// no instance will do, and the quota allows it. Who asks for all, or for a
// device by name, gets what is there. Where nothing may be made it is Allocate.
//
// The quota counts as in Allocate, and the refusals are the same.
func Arrange(pool Pool, uid int, req Request, q Quota, now time.Time) (Plan, error) {
	named := slices.ContainsFunc(req.Parts, func(p Part) bool { return p.Device != "" })
	if !pool.dynamic() || req.All || named || req.Devices() < 1 {
		devices, err := Allocate(pool, uid, req, q)
		return planOf(devices), err
	}
	v := counted(pool, uid, q)
	if err := v.overCount(req.Devices()); err != nil {
		return Plan{}, err
	}
	wants, err := v.wants(&pool, req)
	if err != nil {
		return Plan{}, err
	}
	pool = pool.largeEnough(req)
	plan, err := Repartition(pool.Host(), wants, pool.Cutting.Policy, now)
	if err == nil && !plan.meets(req) {
		return Plan{}, refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE", "the free whole cards have less memory than you asked for", nextWait)
	}
	if err == nil && v.within(plan) {
		return plan, nil
	}
	if !q.MaxShare.Unlimited {
		if least := v.least(&pool, wants, uid, now); !v.within(least) {
			return Plan{}, v.overShare(least.share(), "the smallest devices of this host that will do")
		}
	}
	if err == nil {
		err = refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE",
			fmt.Sprintf("the smallest devices to be had now come to %s GPU on top of the %s you hold; %s; there is no room for smaller ones",
				plan.share(), v.heldShare, v.limit(keyShare, q.MaxShare.Value)), nextWait)
	}
	return Plan{}, err
}

// largeEnough is the pool without cards that have less memory than a single
// device must have: Full is any card for a plan.
func (p Pool) largeEnough(req Request) Pool {
	least := int64(0)
	for _, part := range req.parts() {
		least = max(least, int64(part.MinMemory))
	}
	if least > 0 && len(req.parts()) == 1 {
		c := *p.Cutting
		c.Cards = slices.DeleteFunc(slices.Clone(c.Cards), func(c Card) bool { return c.MemoryBytes < least })
		p.Cutting = &c
	}
	return p
}

// planOf is a plan that only takes what is there.
func planOf(devices []Device) (plan Plan) {
	for _, d := range devices {
		plan.Picks = append(plan.Picks, Pick{
			UUID: d.UUID, Step: -1, Card: d.Card, Profile: d.Profile, Share: d.Share, MemoryBytes: d.MemoryBytes,
		})
	}
	return plan
}

// meets reports whether the picks are what the request asks for.
func (p Plan) meets(req Request) bool {
	i := 0
	for _, part := range req.parts() {
		for range part.Count {
			if !part.takes(&Device{Profile: p.Picks[i].Profile, MemoryBytes: p.Picks[i].MemoryBytes}) {
				return false
			}
			i++
		}
	}
	return true
}

// share is that of all the plan's devices together.
func (p Plan) share() (sum quantity.GPUShare) {
	for _, pick := range p.Picks {
		sum += pick.Share
	}
	return sum
}

// within reports whether the share limit allows the plan's devices.
func (v *view) within(plan Plan) bool {
	return v.quota.MaxShare.Unlimited || v.heldShare+plan.share() <= v.quota.MaxShare.Value
}

// least is what uid would get on a host that nobody else uses; nothing where
// even then there is no room.
func (*view) least(pool *Pool, wants []Want, uid int, now time.Time) Plan {
	empty := pool.Alone(uid)
	plan, err := Repartition(empty.Host(), wants, empty.Cutting.Policy, now)
	if err != nil {
		return Plan{}
	}
	return plan
}

// Alone is the pool as it would be if uid alone held anything, and had for long.
func (p Pool) Alone(uid int) Pool {
	own := p
	own.Taken = nil
	own.Claims = slices.DeleteFunc(slices.Clone(p.Claims), func(c Claim) bool { return c.UID != uid })
	if p.Cutting != nil {
		own.Cutting = &Cutting{Cards: p.Cutting.Cards, Policy: p.Cutting.Policy}
	}
	return own
}

// wants says for each device of a request which kinds will do, the smallest
// first.
func (v *view) wants(pool *Pool, req Request) ([]Want, error) {
	offers := Offers(pool.Cutting.Cards, pool.Cutting.Policy)
	var wants []Want
	for _, part := range req.parts() {
		var w Want
		for _, o := range offers {
			if part.takes(&Device{Profile: o.Profile, MemoryBytes: o.MemoryBytes}) {
				w = append(w, o.Profile)
			}
		}
		full := slices.ContainsFunc(pool.Cutting.Cards, func(c Card) bool {
			return part.takes(&Device{Profile: Full, MemoryBytes: c.MemoryBytes})
		})
		switch {
		case full && v.quota.AllowFull:
			w = append(w, Full)
		case full && len(w) == 0:
			return nil, v.fullNotAllowed(v.nearly(req))
		case len(w) == 0:
			return nil, refusal(problem.ErrInvalid, "NO_SUCH_DEVICE", fmt.Sprintf("you asked for %s, and no card of this host offers that", part),
				"It offers "+kindsOf(offers)+"."+v.nearly(req))
		}
		for range part.Count {
			wants = append(wants, w)
		}
	}
	return wants, nil
}

func kindsOf(offers []Offer) string {
	var names []string
	for _, o := range offers {
		names = append(names, o.Profile)
	}
	return strings.Join(append(names, Full), ", ")
}

// Picked returns what the plan's picks are: as the pool has them now, or, for
// one that is still to be made, with a slot that says so and without a UUID.
func (p Pool) Picked(plan Plan) []Device {
	all := make([]Device, 0, len(plan.Picks))
	for _, pick := range plan.Picks {
		if i := slices.IndexFunc(p.Devices, func(o Device) bool { return pick.Step < 0 && o.UUID == pick.UUID }); i >= 0 {
			all = append(all, p.Devices[i])
			continue
		}
		d := Device{
			Slot: strconv.Itoa(pick.Card) + ".new", Card: pick.Card, Instance: -1, Profile: pick.Profile, Share: pick.Share, MemoryBytes: pick.MemoryBytes,
		}
		if pick.Profile == Full {
			d.Slot = strconv.Itoa(pick.Card)
		}
		if c := (Host{Cards: p.Cutting.Cards}).card(pick.CardUUID); c != nil {
			d.Model = c.Model
		}
		all = append(all, d)
	}
	return all
}

// Made returns the devices of a plan that was carried out, among those that
// there are now; false where one isn't there.
func (p Plan) Made(cards []Card, devices []Device) ([]Device, bool) {
	var all []Device
	for _, pick := range p.Picks {
		uuid := cmp.Or(pick.UUID, pick.made(cards))
		i := slices.IndexFunc(devices, func(d Device) bool { return d.UUID == uuid })
		if i < 0 {
			return nil, false
		}
		all = append(all, devices[i])
	}
	return all, true
}

// made returns the UUID of the instance in the place of the pick.
func (p *Pick) made(cards []Card) string {
	for _, c := range cards {
		for _, in := range c.Instances {
			if c.UUID == p.CardUUID && in.Profile == p.Profile && in.Start == p.At.Start && in.Size == p.At.Size {
				return in.UUID
			}
		}
	}
	return ""
}
