package admission

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// within returns asked, or the limit where nothing was asked. More than the
// limit is refused with the number, the limit and where it comes from.
func within[T ~int64](s Subject, option, key string, asked int64, limit quantity.Limit[T], text func(T) string) (int64, error) {
	if limit.Unlimited {
		return max(asked, 0), nil
	}
	if asked <= 0 {
		return int64(limit.Value), nil
	}
	if T(asked) > limit.Value {
		return 0, &problem.Error{
			What: notCreated,
			Why: problem.Because(problem.ErrLimit, fmt.Sprintf("%s %s is over your limit of %s (%s: %s)",
				option, text(T(asked)), text(limit.Value), key, s.Limits.Source(key))),
			Next: fmt.Sprintf("Ask for %s or less, or leave %s away; 'ds01 user limits' shows all your limits.", text(limit.Value), option),
			Code: "LIMIT_" + strings.ToUpper(key),
		}
	}
	return asked, nil
}

func reviewMemory(c *Create, s Subject, _ Grant) (err error) {
	h, l := &c.HostConfig, s.Limits
	if h.Memory, err = within(s, "--memory", "memory", h.Memory, l.Memory, quantity.ByteSize.String); err != nil {
		return err
	}
	if asked := h.MemorySwap; asked > 0 {
		if h.MemorySwap, err = within(s, "--memory-swap", "memory_swap", asked, l.MemorySwap, quantity.ByteSize.String); err != nil {
			return err
		}
	} else if !l.Memory.Unlimited && !l.MemorySwap.Unlimited {
		h.MemorySwap = h.Memory + max(0, int64(l.MemorySwap.Value-l.Memory.Value))
	}
	if h.Memory > 0 && h.MemorySwap > 0 && h.MemorySwap < h.Memory {
		return refuse(problem.ErrInvalid, notCreated, "--memory-swap is memory and swap together, so it can't be less than --memory", "Leave --memory-swap away.")
	}
	if h.MemoryReservation < 0 || h.Memory > 0 && h.MemoryReservation > h.Memory {
		h.MemoryReservation = 0
	}
	h.ShmSize, err = within(s, "--shm-size", "shm_size", h.ShmSize, l.ShmSize, quantity.ByteSize.String)
	return err
}

// cpuLimit returns the limit of one container's processors, and its key.
func cpuLimit(s Subject) (limit quantity.Limit[quantity.CPUs], key string) {
	limit, key = s.Limits.MaxCPUs, "max_cpus"
	if total := s.Limits.Aggregate.CPUs; !total.Unlimited && (limit.Unlimited || total.Value < limit.Value) {
		limit, key = total, "aggregate.cpus" // a child's quota above its parent's is refused by the kernel
	}
	return limit, key
}

func reviewCPU(c *Create, s Subject, _ Grant) (err error) {
	h := &c.HostConfig
	limit, key := cpuLimit(s)
	if h.NanoCPUs, err = within(s, "--cpus", key, h.NanoCPUs, limit, quantity.CPUs.String); err != nil {
		return err
	}
	if h.CPUShares < 0 || h.CPUShares > 1024 {
		return denied(notCreated, "--cpu-shares above 1024 takes processor time from others", "Ask for 1024 or less.")
	}
	var pids int64
	if h.PidsLimit != nil {
		pids = *h.PidsLimit
	}
	if pids, err = within(s, "--pids-limit", "pids_limit", pids, s.Limits.PidsLimit, count); err != nil {
		return err
	}
	h.PidsLimit = nil
	if pids > 0 {
		h.PidsLimit = &pids
	}
	return nil
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func reviewUlimits(c *Create, s Subject, _ Grant) (err error) {
	limit := s.Limits.UlimitNofile
	nofile := Ulimit{Name: "nofile", Soft: limit.Value, Hard: limit.Value}
	var kept []Ulimit
	for _, u := range c.HostConfig.Ulimits {
		switch u.Name {
		case "core", "memlock", "stack", "nproc":
			kept = append(kept, u)
		case "nofile":
			if nofile.Hard, err = within(s, "--ulimit nofile", "ulimit_nofile", u.Hard, limit, count); err != nil {
				return err
			}
			if nofile.Soft = u.Soft; u.Soft <= 0 || u.Soft > nofile.Hard {
				nofile.Soft = nofile.Hard
			}
		default:
			return denied(notCreated, fmt.Sprintf("--ulimit %s is not served", u.Name), "core, memlock, nofile, nproc and stack are.")
		}
	}
	if nofile.Hard > 0 { // zero is what nobody asked for, and what nobody limits
		kept = append(kept, nofile)
	}
	c.HostConfig.Ulimits = kept
	return nil
}

// reviewStop keeps a stop within the owner's stop_timeout.
func reviewStop(c *Create, s Subject, _ Grant) error {
	limit := s.Limits.StopTimeout
	if limit.Unlimited {
		return nil
	}
	seconds := int(limit.Value / time.Second)
	if c.StopTimeout == nil || *c.StopTimeout < 0 || *c.StopTimeout > seconds {
		c.StopTimeout = &seconds
	}
	return nil
}
