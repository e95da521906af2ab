package config

import (
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// Lifecycle says how containers' time is kept.
type Lifecycle struct {
	Every string `yaml:"every"` // each container is looked at so often, "30s"
}

// Bounds of lifecycle.every: looks cost time, and between two of them nothing is
// seen.
const (
	leastEvery = 100 * time.Millisecond
	mostEvery  = 10 * time.Minute
)

// Period returns the time between two looks.
func (l Lifecycle) Period() time.Duration { return orZero(l.Every) }

func (l Lifecycle) validate() error {
	d, err := quantity.ParseDuration(l.Every)
	if err != nil || d < leastEvery || d > mostEvery {
		return fault("lifecycle.every", "%q is no time from %s to %s", l.Every, quantity.FormatDuration(leastEvery), quantity.FormatDuration(mostEvery))
	}
	return nil
}
