package quantity

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"
)

type timeUnit struct {
	letter string
	length time.Duration
}

// timeUnits lists the units from the longest down.
func timeUnits() []timeUnit {
	return []timeUnit{{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
}

var (
	durationText = regexp.MustCompile(`^(?:[0-9.]+ ?[wdhms] ?)+$`)
	durationPart = regexp.MustCompile(`([0-9.]+) ?([wdhms])`)
)

// ParseDuration reads a duration such as "30m", "0.25h", "1d", "1 h" or
// "1d 12h". Units are s, m, h, d (24 hours) and w (7 days) in either case,
// each at most once, the longest first. The unit is required: a bare number,
// also 0, is an error, and so is a sign. The result may be zero ("0s").
func ParseDuration(text string) (time.Duration, error) {
	s := strings.ToLower(strings.TrimSpace(text))
	if !durationText.MatchString(s) {
		return 0, withUnit(text, "duration", "s, m, h, d or w", "h")
	}
	var total time.Duration
	units := timeUnits()
	for _, part := range durationPart.FindAllStringSubmatch(s, -1) {
		for len(units) > 0 && units[0].letter != part[2] {
			units = units[1:]
		}
		if len(units) == 0 {
			return 0, fmt.Errorf("%q is not a duration: name each unit once, the longest first", text)
		}
		n, err := scaled(part[1], int64(units[0].length))
		if err == nil && n > math.MaxInt64-int64(total) {
			err = errors.New("it is too long")
		}
		if err != nil {
			return 0, wrap(text, "duration", err)
		}
		total += time.Duration(n)
		units = units[1:]
	}
	return total, nil
}

// FormatDuration returns d in days, hours, minutes and seconds, leaving out
// what is zero: "1h", "1d 1h", "0s". ParseDuration reads it back. A negative
// duration reads "unlimited".
func FormatDuration(d time.Duration) string {
	if d < 0 {
		return "unlimited"
	}
	if d == 0 {
		return "0s"
	}
	var parts []string
	for _, u := range timeUnits()[1:] {
		if u.length == time.Second && d > 0 {
			parts = append(parts, pointed(int64(d/time.Second), int64(d%time.Second), int64(time.Second))+"s")
		} else if n := d / u.length; n > 0 {
			parts = append(parts, fmt.Sprintf("%d%s", n, u.letter))
			d %= u.length
		}
	}
	return strings.Join(parts, " ")
}
