package gpu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// Keys of the limits file that a refusal names.
const (
	keyDevices      = "max_mig_instances"
	keyPerContainer = "max_gpus_per_container"
	keyShare        = "max_gpu_share"
	keyFull         = "allow_full_gpu"
)

const (
	nextStop = "Stop or remove a container that holds a GPU ('ds01 container list'), or ask an admin for more."
	nextWait = "Run 'ds01 gpu list' to see the devices, and wait for one: --wait, or 'ds01 gpu queue join'."
)

// overCount refuses when n more devices in one container are over a count
// limit. Whoever can't have even one hears that first.
func (v *view) overCount(n int) error {
	total, one := v.quota.MaxDevices, v.quota.MaxPerContainer
	switch {
	case !total.Unlimited && v.held >= total.Value:
		return refusal(problem.ErrLimit, "USER_AT_LIMIT",
			fmt.Sprintf("you hold %d/%d devices; %s", v.held, total.Value, v.limit(keyDevices, total.Value)), nextStop)
	case !one.Unlimited && n > one.Value:
		return refusal(problem.ErrLimit, "EXCEEDS_CONTAINER_LIMIT",
			fmt.Sprintf("you asked for %s in one container (%d>%d); %s", devices(n), n, one.Value, v.limit(keyPerContainer, one.Value)),
			"Ask for fewer, or ask an admin for more.")
	case !total.Unlimited && n > total.Value-v.held:
		return refusal(problem.ErrLimit, "EXCEEDS_TOTAL_LIMIT",
			fmt.Sprintf("you hold %d and asked for %d more (%d+%d>%d); %s", v.held, n, v.held, n, total.Value, v.limit(keyDevices, total.Value)),
			"Ask for fewer, or stop or remove a container that holds a GPU ('ds01 container list').")
	}
	return nil
}

// refuse explains why the request can't be granted although the counts allow
// it. picks are the free devices that could serve it.
func (v *view) refuse(req Request, picks []*Device) error {
	parts, n := req.parts(), req.Devices()
	best := choose(v.usable, parts)
	switch {
	case v.fitting(best) < len(best):
		return v.overShare(share(best), "the smallest devices of this host")
	case len(best) < n && len(choose(slices.Concat(v.usable, v.whole), parts)) == n:
		return v.fullNotAllowed(v.nearly(req))
	}
	if err := v.missing(req); err != nil {
		return err
	}
	if err := v.named(req.Parts); err != nil {
		return err
	}
	why := fmt.Sprintf("you asked for %s, free now: %d", asked(req), len(picks))
	switch {
	case len(picks) == n:
		why = fmt.Sprintf("the smallest free devices come to %s GPU on top of the %s you hold; %s; smaller ones are in use",
			share(picks), v.heldShare, v.limit(keyShare, v.quota.MaxShare.Value))
	case len(best) < n:
		why += fmt.Sprintf("; this host has %d that you may use besides those you hold", len(best))
	default:
		why += "; the others are in use"
	}
	if len(choose(slices.Concat(v.free, v.wholeFree), parts)) > len(picks) {
		why += "; whole cards are free, but " + v.limit(keyFull, false)
	}
	if n := v.outOfService(); n > 0 {
		why += fmt.Sprintf("; out of service: %d ('ds01 gpu why' says why)", n)
	}
	return refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE", why, nextWait+v.nearly(req))
}

// outOfService counts the devices that aren't granted to anybody.
func (v *view) outOfService() (n int) {
	for i := range v.all {
		if v.all[i].Problem != "" {
			n++
		}
	}
	return n
}

// mayName refuses parts that name a device which the person may not choose.
func (v *view) mayName(pool Pool, uid int, parts []Part) error {
	var chosen []*Device
	for _, p := range parts {
		if p.Device == "" {
			continue
		}
		d := v.find(p)
		switch {
		case d == nil:
			return refusal(problem.ErrInvalid, "NO_SUCH_DEVICE", "this host has no device "+p.Device, "'ds01 gpu list' shows its devices.")
		case !v.quota.NameAny && (pool.Reserved == nil || !pool.Reserved(uid, d.UUID)):
			return refusal(problem.ErrDenied, "DEVICE_NOT_RESERVED", name(d)+" isn't reserved for you: devices are chosen by ds01",
				"Ask for a number or a kind: --gpus 1, --gpus "+d.Profile+".")
		case slices.Contains(chosen, d):
			return refusal(problem.ErrInvalid, "", name(d)+" is named twice", "Name it once.")
		}
		chosen = append(chosen, d)
	}
	return nil
}

func (v *view) find(p Part) *Device {
	i := slices.IndexFunc(v.all, func(d Device) bool { return p.takes(&d) })
	if i < 0 {
		return nil
	}
	return &v.all[i]
}

// named refuses when a device that is asked for by name isn't to be had.
func (v *view) named(parts []Part) error {
	for _, p := range parts {
		if p.Device == "" {
			continue
		}
		if err := v.busy(v.find(p), "ask for its kind instead of it."); err != nil {
			return err
		}
	}
	return nil
}

// missing refuses when the host doesn't have what one part asks for, whoever
// holds it now.
func (v *view) missing(req Request) error {
	for _, p := range req.Parts {
		have := 0
		for i := range v.all {
			if p.takes(&v.all[i]) {
				have++
			}
		}
		if have < p.Count {
			return refusal(problem.ErrInvalid, "NO_SUCH_DEVICE",
				fmt.Sprintf("you asked for %s, and this host has %s of that kind", p, devices(have)),
				"It has "+kinds(v.all)+"."+v.nearly(req))
		}
	}
	return nil
}

// nearly tells who asks for memory of the device that misses it by a little:
// profiles are called by rounded sizes.
func (v *view) nearly(req Request) string {
	for _, p := range req.Parts {
		var most *Device
		for i := range v.all {
			d := &v.all[i]
			near := d.MemoryBytes < int64(p.MinMemory) && d.MemoryBytes >= int64(p.MinMemory)/20*19
			if near && (d.Profile != Full || v.quota.AllowFull) && (most == nil || d.MemoryBytes > most.MemoryBytes) {
				most = d
			}
		}
		if most != nil {
			return fmt.Sprintf(" %s has %s, a little less than %s: ask for --gpus %s if that is enough.",
				most.Profile, quantity.ByteSize(most.MemoryBytes).Rounded(), p.MinMemory, most.Profile)
		}
	}
	return ""
}

// kinds counts the devices by profile, "12 of 1g.10gb, 1 of full", the least
// first.
func kinds(all []Device) string {
	if len(all) == 0 {
		return "no devices"
	}
	count := map[string]int{}
	var names []string
	for _, d := range smallest(pointers(all), len(all)) {
		if count[d.Profile]++; count[d.Profile] == 1 {
			names = append(names, d.Profile)
		}
	}
	for i, n := range names {
		names[i] = fmt.Sprintf("%d of %s", count[n], n)
	}
	return strings.Join(names, ", ")
}

func pointers(all []Device) []*Device {
	out := make([]*Device, len(all))
	for i := range all {
		out[i] = &all[i]
	}
	return out
}

// asked is what the request is for, in words.
func asked(req Request) string {
	if len(req.Parts) == 0 {
		return devices(req.Count)
	}
	return req.String()
}

func tooFewForAll(want, fits int) error {
	next := fmt.Sprintf("Ask for --gpus %d, or try again when more are free ('ds01 gpu list').", fits)
	if fits == 0 {
		next = nextWait
	}
	return refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE",
		fmt.Sprintf("all means %s for you and %d would fit now; the others are in use", devices(want), fits), next)
}

// unfit refuses when the person may not have exactly these devices now.
func (v *view) unfit(picks []*Device) error {
	for _, d := range picks {
		if d.Profile == Full && !v.quota.AllowFull {
			return v.fullNotAllowed("")
		}
	}
	if v.fitting(picks) < len(picks) {
		return v.overShare(share(picks), "the container's devices")
	}
	for _, d := range picks {
		if err := v.busy(d, "re-create the container to get another device."); err != nil {
			return err
		}
	}
	return nil
}

// busy refuses when exactly this device can't be granted now; other is what to
// do instead of waiting for it.
func (v *view) busy(d *Device, other string) error {
	switch {
	case d.Problem != "":
		return refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE", name(d)+" can't be used now: "+d.Problem, "Ask an admin, or "+other)
	case v.inUse(d):
		return refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE", name(d)+" is in use", "Try again when it is free ('ds01 gpu list'), or "+other)
	}
	return nil
}

// inUse reports whether a claim holds the device, or somebody uses it without one.
func (v *view) inUse(d *Device) bool {
	_, held := v.holds[d.UUID]
	_, taken := v.taken[d.UUID]
	return held || taken
}

func (v *view) overShare(more quantity.GPUShare, what string) error {
	return refusal(problem.ErrLimit, "AGGREGATE_GPU_QUOTA_EXCEEDED",
		fmt.Sprintf("you hold %s GPU and %s add %s (%s+%s>%s); %s", v.heldShare, what, more,
			v.heldShare, more, v.quota.MaxShare.Value, v.limit(keyShare, v.quota.MaxShare.Value)), nextStop)
}

func (v *view) fullNotAllowed(nearly string) error {
	return refusal(problem.ErrDenied, "FULL_GPU_NOT_ALLOWED",
		"this needs a whole card, and "+v.limit(keyFull, false),
		"Ask for fewer devices if the host has MIG instances ('ds01 gpu list'), or ask an admin for whole cards."+nearly)
}

func gone(uuid string) error {
	return refusal(problem.ErrConflict, "DEVICE_GONE", uuid+", which the container was made for, is no longer on this host",
		"Re-create the container to get another device.")
}

// limit names a limit, its value and where it comes from.
func (v *view) limit(key string, value any) string {
	s := fmt.Sprintf("%s is %v", key, value)
	if from := v.quota.Source[key]; from != "" {
		s += " (" + from + ")"
	}
	return s
}

func refusal(kind error, code, why, next string) error {
	return &problem.Error{What: "GPU not granted", Why: problem.Because(kind, why), Next: next, Code: code}
}

// name is how a person finds the device in 'ds01 gpu list'.
func name(d *Device) string { return "device " + d.Slot + " (" + d.UUID + ")" }

func devices(n int) string {
	if n == 1 {
		return "1 device"
	}
	return strconv.Itoa(n) + " devices"
}
