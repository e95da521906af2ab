package config

import (
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// Queue says how people wait for devices.
type Queue struct {
	Hold       string `yaml:"hold"`        // what is granted to who waits is kept so long, "10m"
	DockerWait string `yaml:"docker_wait"` // docker's create and start wait so long for a device, "0s": not at all
}

// HoldFor returns how long what is granted is kept. It is valid once Decode or
// Default made q.
func (q Queue) HoldFor() time.Duration { return orZero(q.Hold) }

// DockerWaitFor returns how long a create or start of docker's waits.
func (q Queue) DockerWaitFor() time.Duration { return orZero(q.DockerWait) }

func orZero(text string) time.Duration {
	d, err := quantity.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}

// Bounds of gpu.queue: who is granted something must be able to come for it,
// and clients give up on an answer that takes longer.
const (
	leastHold = time.Minute
	mostWait  = time.Hour
)

func (q Queue) validate() error {
	hold, err := quantity.ParseDuration(q.Hold)
	if err == nil && hold < leastHold {
		return fault("gpu.queue.hold", "%s is too short: the least is %s", q.Hold, quantity.FormatDuration(leastHold))
	}
	if err != nil {
		return fault("gpu.queue.hold", "%s", err)
	}
	wait, err := quantity.ParseDuration(q.DockerWait)
	if err == nil && wait > mostWait {
		return fault("gpu.queue.docker_wait", "%s is too long: the most is %s", q.DockerWait, quantity.FormatDuration(mostWait))
	}
	if err != nil {
		return fault("gpu.queue.docker_wait", "%s", err)
	}
	return nil
}
