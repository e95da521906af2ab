package gpu

import (
	"cmp"
	"slices"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// A Pool is the host as one decision sees it. The order of its parts doesn't
// matter.
type Pool struct {
	Devices []Device
	Claims  []Claim           // every claim, of everybody; released ones hold nothing
	Taken   map[string]string // UUID of a device that no claim explains but somebody may use → why
	// Reserved reports whether a device is set aside for that person, who may
	// then ask for it by name. Nil: no device is set aside.
	Reserved func(uid int, uuid string) bool
	// Cutting is what the devices are on, where instances may be made for who
	// asks; see Arrange. Nil: there is what there is.
	Cutting *Cutting
}

// A Quota is what one person may hold. Counts and shares are two limits of
// their own and are never compared with each other.
type Quota struct {
	MaxDevices      quantity.Limit[int]               // over all containers: max_mig_instances
	MaxPerContainer quantity.Limit[int]               // max_gpus_per_container
	MaxShare        quantity.Limit[quantity.GPUShare] // over all containers: max_gpu_share
	AllowFull       bool                              // whole cards may be granted: allow_full_gpu
	NameAny         bool                              // any device may be asked for by name: administrators
	// Source says where a limit comes from, "groups.student,
	// resource-limits.yaml:12", by its key in the limits file. It may be nil.
	Source map[string]string
}

// Allocate chooses the devices for one container of uid: of those that are
// what is asked for, the smallest free MIG instances first, then whole cards
// where the quota allows them; among equals the lowest card, then the lowest
// instance, as numbers. Several parts of a request never take from each other
// what one of them can't do without. All means as many as one container may
// have and the quota leaves; it isn't shrunk because others hold devices.
//
// The devices come in the order of the request, and within a part the smaller
// first. A refusal is a *problem.Error: ErrLimit (USER_AT_LIMIT,
// EXCEEDS_CONTAINER_LIMIT, EXCEEDS_TOTAL_LIMIT, AGGREGATE_GPU_QUOTA_EXCEEDED),
// ErrDenied (FULL_GPU_NOT_ALLOWED, DEVICE_NOT_RESERVED), ErrExhausted
// (NO_GPU_AVAILABLE) or ErrInvalid (NO_SUCH_DEVICE). When a limit and a lack
// of free devices both stand in the way, the limit is said.
func Allocate(pool Pool, uid int, req Request, q Quota) ([]Device, error) {
	v := counted(pool, uid, q)
	if req.All {
		v.look(pool)
		return v.allocateAll()
	}
	if req.Devices() < 1 {
		return nil, refusal(problem.ErrInvalid, "", "a request for "+devices(req.Devices())+" means nothing",
			"Ask for at least one GPU, or for none at all.")
	}
	if err := v.mayName(pool, uid, req.Parts); err != nil {
		return nil, err
	}
	if err := v.overCount(req.Devices()); err != nil {
		return nil, err
	}
	v.look(pool)
	picks := choose(v.free, req.parts())
	if len(picks) < req.Devices() || v.fitting(picks) < len(picks) {
		return nil, v.refuse(req, picks)
	}
	return values(picks), nil
}

// Reclaim chooses exactly these devices again, for a container whose claim was
// released and that is started once more. It returns them in the order of
// uuids, and nil for none. A refusal is as Allocate's; a device that the host
// no longer has is ErrConflict (DEVICE_GONE).
func Reclaim(pool Pool, uid int, uuids []string, q Quota) ([]Device, error) {
	if len(uuids) == 0 {
		return nil, nil
	}
	v := survey(pool, uid, q)
	if err := v.overCount(len(uuids)); err != nil {
		return nil, err
	}
	picks := make([]*Device, 0, len(uuids))
	for _, uuid := range uuids {
		i := slices.IndexFunc(pool.Devices, func(d Device) bool { return d.UUID == uuid })
		if i < 0 {
			return nil, gone(uuid)
		}
		if slices.Contains(picks, &pool.Devices[i]) {
			return nil, refusal(problem.ErrInvalid, "", uuid+" is named twice", "")
		}
		picks = append(picks, &pool.Devices[i])
	}
	if err := v.unfit(picks); err != nil {
		return nil, err
	}
	return values(picks), nil
}

// A view is a pool seen by one person.
type view struct {
	uid       int
	quota     Quota
	held      int               // devices the person holds
	heldShare quantity.GPUShare // and their share
	holds     map[string]bool   // UUIDs that claims hold; true: the person's own
	taken     map[string]string // UUIDs held without a claim
	all       []Device          // the host's
	usable    []*Device         // what the quota's kinds and health leave, save one's own
	free      []*Device         // of the usable ones, those that nobody holds
	whole     []*Device         // healthy whole cards that the quota leaves out
	wholeFree []*Device         // of those, the ones that nobody holds
}

func survey(pool Pool, uid int, q Quota) view {
	v := counted(pool, uid, q)
	v.look(pool)
	return v
}

// counted is a view that knows what uid holds, and hasn't looked at the devices.
func counted(pool Pool, uid int, q Quota) view {
	v := view{uid: uid, quota: q, taken: pool.Taken, all: pool.Devices}
	for i := range pool.Claims {
		if c := &pool.Claims[i]; c.UID == uid && c.State != Released {
			for _, g := range c.Devices {
				v.held++
				v.heldShare += g.Share
			}
		}
	}
	return v
}

func (v *view) look(pool Pool) {
	v.holds = make(map[string]bool, len(pool.Claims))
	for i := range pool.Claims {
		if c := &pool.Claims[i]; c.State != Released {
			for _, g := range c.Devices {
				v.holds[g.UUID] = v.holds[g.UUID] || c.UID == v.uid
			}
		}
	}
	v.usable, v.free = make([]*Device, 0, len(pool.Devices)), make([]*Device, 0, len(pool.Devices))
	for i := range pool.Devices {
		v.add(&pool.Devices[i])
	}
}

func (v *view) add(d *Device) {
	mine, held := v.holds[d.UUID]
	if mine || d.Problem != "" {
		return
	}
	if _, taken := v.taken[d.UUID]; taken {
		held = true
	}
	switch {
	case d.Profile == Full && !v.quota.AllowFull:
		v.whole = append(v.whole, d)
		if !held {
			v.wholeFree = append(v.wholeFree, d)
		}
	case held:
		v.usable = append(v.usable, d)
	default:
		v.usable = append(v.usable, d)
		v.free = append(v.free, d)
	}
}

func (v *view) allocateAll() ([]Device, error) {
	host := smallest(v.usable, v.most())
	want := v.fitting(host)
	if want == 0 {
		if err := v.overCount(1); err != nil {
			return nil, err
		}
		return nil, v.refuse(Request{Count: 1}, smallest(v.free, 1))
	}
	picks := smallest(v.free, want)
	if fits := v.fitting(picks); fits < want {
		return nil, tooFewForAll(want, fits)
	}
	return values(picks), nil
}

// most returns how many more devices the two count limits allow one container.
func (v *view) most() int {
	n := len(v.usable)
	if !v.quota.MaxPerContainer.Unlimited {
		n = min(n, v.quota.MaxPerContainer.Value)
	}
	if !v.quota.MaxDevices.Unlimited {
		n = min(n, v.quota.MaxDevices.Value-v.held)
	}
	return max(n, 0)
}

// fitting returns how many of the devices, taken from the front, the share
// limit allows.
func (v *view) fitting(picks []*Device) int {
	share := v.heldShare
	for n, d := range picks {
		share += d.Share
		if !v.quota.MaxShare.Unlimited && share > v.quota.MaxShare.Value {
			return n
		}
	}
	return len(picks)
}

// smallest returns the first n of all in the order of compare, or fewer if all
// has fewer. It keeps the best n so far, because n is small.
func smallest(all []*Device, n int) []*Device {
	n = min(n, len(all))
	if n == 0 {
		return nil
	}
	best := make([]*Device, 0, n+1)
	for _, d := range all {
		if len(best) == n && compare(d, best[n-1]) >= 0 {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, d, compare)
		best = slices.Insert(best, at, d)
		best = best[:min(n, len(best))]
	}
	return best
}

// compare orders devices by how little they are: instances before whole
// cards, then by share, memory and place.
func compare(a, b *Device) int {
	if (a.Profile == Full) != (b.Profile == Full) {
		if b.Profile == Full {
			return -1
		}
		return 1
	}
	if a.Share != b.Share {
		return cmp.Compare(a.Share, b.Share)
	}
	return cmp.Or(cmp.Compare(a.MemoryBytes, b.MemoryBytes),
		cmp.Compare(a.Card, b.Card), cmp.Compare(a.Instance, b.Instance), cmp.Compare(a.UUID, b.UUID))
}

func share(picks []*Device) quantity.GPUShare {
	var sum quantity.GPUShare
	for _, d := range picks {
		sum += d.Share
	}
	return sum
}

func values(picks []*Device) []Device {
	out := make([]Device, len(picks))
	for i, d := range picks {
		out[i] = *d
	}
	return out
}
