package gpu

import (
	"fmt"
	"strconv"

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
	nextWait = "Run 'ds01 gpu list' to see the devices, and try again when some are free."
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

// refuse explains why n devices can't be granted although the counts allow
// them. picks are the smallest free ones, at most n.
func (v *view) refuse(n int, picks []*Device) error {
	best := smallest(v.usable, n)
	switch {
	case v.fitting(best) < len(best):
		return v.overShare(share(best), "the smallest devices of this host")
	case len(best) < n && len(best)+v.whole >= n:
		return v.fullNotAllowed()
	}
	why := fmt.Sprintf("you asked for %s, free now: %d", devices(n), len(picks))
	switch {
	case len(picks) == n:
		why = fmt.Sprintf("the smallest free devices come to %s GPU on top of the %s you hold; %s; smaller ones are in use",
			share(picks), v.heldShare, v.limit(keyShare, v.quota.MaxShare.Value))
	case len(best) < n:
		why += fmt.Sprintf("; this host has %d that you may use besides those you hold", len(best))
	default:
		why += "; the others are in use"
	}
	if v.wholeFree > 0 {
		why += "; whole cards are free, but " + v.limit(keyFull, false)
	}
	return refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE", why, nextWait)
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
			return v.fullNotAllowed()
		}
	}
	if v.fitting(picks) < len(picks) {
		return v.overShare(share(picks), "the container's devices")
	}
	for _, d := range picks {
		_, held := v.holds[d.UUID]
		_, taken := v.taken[d.UUID]
		switch {
		case d.Problem != "":
			return refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE", name(d)+" can't be used now: "+d.Problem,
				"Re-create the container to get another device, or ask an admin.")
		case held || taken:
			return refusal(problem.ErrExhausted, "NO_GPU_AVAILABLE", name(d)+" is in use",
				"Try again when it is free ('ds01 gpu list'), or re-create the container to get another device.")
		}
	}
	return nil
}

func (v *view) overShare(more quantity.GPUShare, what string) error {
	return refusal(problem.ErrLimit, "AGGREGATE_GPU_QUOTA_EXCEEDED",
		fmt.Sprintf("you hold %s GPU and %s add %s (%s+%s>%s); %s", v.heldShare, what, more,
			v.heldShare, more, v.quota.MaxShare.Value, v.limit(keyShare, v.quota.MaxShare.Value)), nextStop)
}

func (v *view) fullNotAllowed() error {
	return refusal(problem.ErrDenied, "FULL_GPU_NOT_ALLOWED",
		"this needs a whole card, and "+v.limit(keyFull, false),
		"Ask for fewer devices if the host has MIG instances ('ds01 gpu list'), or ask an admin for whole cards.")
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
