package cli

import (
	"fmt"
	"strings"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/quantity"
)

// none stands where a table has nothing to say.
const none = "-"

// clock writes a moment in local time: the time of day if it is within a day
// of now, else the date too.
func clock(t, now time.Time) string {
	layout := "15:04"
	if t.Sub(now).Abs() >= 24*time.Hour {
		layout = "2006-01-02 15:04"
	}
	return t.Local().Format(layout)
}

// ahead writes a moment to come: "15:30 (in 25m)".
func ahead(t *time.Time, now time.Time) string {
	if t == nil {
		return none
	}
	left := t.Sub(now)
	if left < time.Minute {
		return clock(*t, now) + " (now)"
	}
	return clock(*t, now) + " (in " + rough(left) + ")"
}

// rough writes a duration in its two largest units, seconds only below a
// minute.
func rough(d time.Duration) string {
	if d < 0 {
		d = 0
	}
	if d >= time.Minute {
		d = d.Truncate(time.Minute)
	} else {
		d = d.Truncate(time.Second)
	}
	parts := strings.Fields(quantity.FormatDuration(d))
	return strings.Join(parts[:min(2, len(parts))], " ")
}

// since writes for how long a container has been in its state.
func since(c apitype.Container, now time.Time) string {
	from := c.CreatedAt
	switch {
	case !stopped(c) && c.StartedAt != nil:
		from = *c.StartedAt
	case c.FinishedAt != nil && !c.FinishedAt.IsZero() && c.State != apitype.StateCreated:
		from = *c.FinishedAt
	}
	if from.IsZero() {
		return none
	}
	return rough(now.Sub(from))
}

// holding writes the devices a container holds now, for a table.
func holding(c apitype.Container) string {
	if len(c.GPUs) == 0 || c.ClaimState == "released" {
		return none
	}
	var slots []string
	for _, g := range c.GPUs {
		slots = append(slots, g.Slot+" "+g.Profile)
	}
	return strings.Join(slots, ", ")
}

// held writes the devices a container holds, as a sentence's end.
func held(c apitype.Container) string {
	if holding(c) == none {
		return "no GPU"
	}
	var devices []string
	for _, g := range c.GPUs {
		devices = append(devices, fmt.Sprintf("GPU %s (%s, %s)", g.Slot, g.Profile, g.Model))
	}
	return strings.Join(devices, ", ")
}

// state writes a container's state with what an exit code says.
func state(c apitype.Container) string {
	switch {
	case c.Quarantined:
		return "quarantined"
	case c.State == apitype.StateExited, c.State == apitype.StateRestarting:
		if endedByWant(c) {
			return fmt.Sprintf("%s (%d, OOM)", c.State, c.ExitCode)
		}
		return fmt.Sprintf("%s (%d)", c.State, c.ExitCode)
	default:
		return c.State
	}
}

// endedByWant reports whether a container ended when a process of it was ended
// for want of memory.
func endedByWant(c apitype.Container) bool {
	k := c.OutOfMemory
	return k != nil && c.ExitCode != 0 && c.FinishedAt != nil && c.FinishedAt.Sub(k.At).Abs() < 5*time.Second
}

// size writes bytes for people.
func size(bytes int64) string { return quantity.ByteSize(bytes).Rounded() }

// percent writes a utilisation; -1 is unknown.
func percent(n int) string {
	if n < 0 {
		return none
	}
	return fmt.Sprintf("%d %%", n)
}
