package config

import (
	"regexp"
	"slices"
	"time"

	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/quantity"
)

// MIG says what becomes of the cards' MIG instances.
type MIG struct {
	Mode       string `yaml:"mode"`       // off, static or dynamic
	KeepFull   int    `yaml:"keep_full"`  // dynamic: so many cards stay whole as long as there is another way
	Hysteresis string `yaml:"hysteresis"` // dynamic: an instance stands so long after it became free, "1m"
	// Mix says how often each profile is asked for, as long as there is too
	// little history to tell; empty: as in any lab.
	Mix map[string]int `yaml:"mix"`
}

// Keeps returns the mode, and how long a free instance stands. It is valid
// once Decode or Default made m.
func (m MIG) Keeps() (gpu.MIGMode, time.Duration) { return gpu.MIGMode(m.Mode), orZero(m.Hysteresis) }

// mostHysteresis bounds gpu.mig.hysteresis: for longer than that nobody would
// understand why a free card isn't to be had.
const mostHysteresis = 24 * time.Hour

// mostParts bounds the parts of a mix, so that sums of them stay numbers.
const mostParts = 1000

var validMix = regexp.MustCompile(`^[1-9]g(\.[0-9]+gb([+-][a-z.]+)?)?$`)

func (m MIG) validate() error {
	if !slices.Contains([]gpu.MIGMode{gpu.MIGOff, gpu.MIGStatic, gpu.MIGDynamic}, gpu.MIGMode(m.Mode)) {
		return fault("gpu.mig.mode", "%q is not one of off, static, dynamic", m.Mode)
	}
	if m.KeepFull < 0 {
		return fault("gpu.mig.keep_full", "%d cards can't be kept", m.KeepFull)
	}
	for name, parts := range m.Mix {
		if parts < 0 || parts > mostParts || !validMix.MatchString(name) {
			return fault("gpu.mig.mix", "%q: %d isn't a profile such as 1g or 1g.10gb with 0 to %d parts", name, parts, mostParts)
		}
	}
	stands, err := quantity.ParseDuration(m.Hysteresis)
	if err == nil && stands > mostHysteresis {
		return fault("gpu.mig.hysteresis", "%s is too long: the most is %s", m.Hysteresis, quantity.FormatDuration(mostHysteresis))
	}
	if err != nil {
		return fault("gpu.mig.hysteresis", "%s", err)
	}
	return nil
}
