package admission

import (
	"cmp"
	"time"
)

// Healthcheck runs a command inside the container; durations are
// nanoseconds.
type Healthcheck struct {
	Test          []string `json:"Test,omitzero"`
	Interval      int64    `json:"Interval,omitzero"`
	Timeout       int64    `json:"Timeout,omitzero"`
	StartPeriod   int64    `json:"StartPeriod,omitzero"`
	StartInterval int64    `json:"StartInterval,omitzero"`
	Retries       int      `json:"Retries,omitzero"`
}

// check keeps the engine from running commands all the time: its own work for
// them is within nobody's limits.
func (h Healthcheck) check(what string) error {
	for _, d := range []int64{h.Interval, h.Timeout, h.StartPeriod, h.StartInterval} {
		if d != 0 && d < int64(time.Second) {
			return denied(what, "health checks run once a second at most", "Give --health-interval and its kin in whole seconds.")
		}
	}
	return nil
}

// reviewHealth looks at the health check as it will be: what the client leaves
// open is the image's.
func reviewHealth(c *Create, _ Subject, g Grant) error {
	var h Healthcheck
	if c.Healthcheck != nil {
		h = *c.Healthcheck
	}
	if err := h.check(notCreated); err != nil || len(h.Test) > 0 && h.Test[0] == "NONE" {
		return err
	}
	h.Interval = cmp.Or(h.Interval, int64(g.ImageProbes.Interval))
	h.StartInterval = cmp.Or(h.StartInterval, int64(g.ImageProbes.StartInterval))
	if h.check(notCreated) != nil {
		return denied(notCreated, "the image's health check runs more than once a second", "Give --health-interval 1s --health-start-interval 1s, or --no-healthcheck.")
	}
	return nil
}
