package admission

import (
	"fmt"
	"strings"

	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/quantity"
)

// Step returns what each step of a classic build has, reviewed. Errors are as
// Query's.
func (b Build) Step(s Subject) (Create, error) {
	c := b.limits
	for _, review := range []func(*Create, Subject, Grant) error{reviewMemory, reviewCPU, reviewUlimits} {
		if err := review(&c, s, Grant{}); err != nil {
			return c, retitle(err)
		}
	}
	c.Labels = b.labels
	if b.Network.None {
		c.HostConfig.NetworkMode = network.None
	}
	return c, nil
}

// Tightened returns b with what the site's policy takes from its steps. What it
// wants and a classic build can't have is an error of kind problem.ErrDenied.
func (b Build) Tightened(s Subject, all []Tightening) (Build, []Change, error) {
	step, err := b.Step(s)
	if err != nil || len(all) == 0 {
		return b, nil, err
	}
	step, changes, err := TightenSteps(step, all)
	if err != nil {
		return b, nil, err
	}
	for _, c := range changes {
		if c.Field == "pids_limit" {
			return b, nil, unfit(c, "Docker's classic builder bounds no processes of a step", "Build with DOCKER_BUILDKIT=1.")
		}
	}
	h, to := &b.limits.HostConfig, step.HostConfig
	h.Memory, h.MemorySwap, h.NanoCPUs, h.ShmSize = to.Memory, to.MemorySwap, to.NanoCPUs, to.ShmSize
	if to.NetworkMode == network.None {
		b.Network = NetworkAsk{None: true}
	}
	return b, changes, nil
}

// CheckTight refuses a build that has begun with more than the site's policy
// leaves to it, now that it is known what it builds on.
func (b Build) CheckTight(s Subject, all []Tightening) error {
	step, err := b.Step(s)
	if err != nil {
		return err
	}
	_, changes, err := TightenSteps(step, all)
	if err != nil || len(changes) == 0 {
		return err
	}
	ask := map[string]string{"memory": "-m", "cpus": "--cpu-quota", "shm_size": "--shm-size", "network": "--network=none"}[changes[0].Field]
	if ask == "" {
		ask = "DOCKER_BUILDKIT=1"
	}
	return unfit(changes[0], "it is known only now what this build is made on", "Ask for no more than that, with "+ask+".")
}

func unfit(c Change, why, next string) error {
	return denied(notBuilt, fmt.Sprintf("site policy: %s can be %s at most, %s (%s), and %s", c.Field, c.After, c.Message, c.Rule, why), next)
}

// KitSteps returns what all steps of a build by BuildKit have together.
func KitSteps(s Subject, attributes map[string]string) Create {
	var c Create
	h, most := &c.HostConfig, s.Limits.Aggregate
	h.Memory, h.NanoCPUs = bound(most.Memory), bound(most.CPUs)
	if tasks := bound(most.Tasks); tasks > 0 {
		h.PidsLimit = &tasks
	}
	h.NetworkMode = attributes["force-network-mode"]
	for key, value := range attributes {
		if name, ok := strings.CutPrefix(key, "label:"); ok {
			if c.Labels == nil {
				c.Labels = map[string]string{}
			}
			c.Labels[name] = value
		}
	}
	return c
}

// bound returns a limit as the engine writes it, 0 for none.
func bound[T ~int64](l quantity.Limit[T]) int64 {
	if l.Unlimited {
		return 0
	}
	return int64(l.Value)
}

// TightenSteps returns what steps of a build have, with what the site's policy
// takes away. What it wants and no step can have is an error of kind
// problem.ErrDenied.
func TightenSteps(c Create, all []Tightening) (Create, []Change, error) {
	var changes []Change
	for _, t := range all {
		lacks := ""
		switch {
		case t.NoNewPrivileges:
			lacks = "no_new_privileges"
		case len(t.CapDrop) > 0:
			lacks = "cap_drop"
		}
		if lacks != "" {
			return c, nil, denied(notBuilt, fmt.Sprintf("site policy wants %s, which no step of a build can have: %s (%s)", lacks, t.Message, t.Rule),
				"Tell your administrators: for image.build the rule can only deny, or lower memory, cpus, pids_limit and the network.")
		}
		changes = append(changes, lowerNumbers(&c, t)...)
		if h := &c.HostConfig; t.NoNetwork && h.NetworkMode != network.None {
			changes = append(changes, Change{"network", h.NetworkMode, network.None, t.Rule, t.Message})
			h.NetworkMode = network.None
		}
	}
	return c, changes, nil
}
