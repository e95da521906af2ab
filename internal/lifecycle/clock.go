package lifecycle

import "time"

// A Beat is one reading of a machine's clocks.
type Beat struct {
	Boot   string        `json:"boot"`   // since when the steady clock runs
	Steady time.Duration `json:"steady"` // never jumps, and stands still in suspend
	Wall   time.Time     `json:"wall"`
}

// steps shorter than this are a clock that is kept right.
const leastJump = 2 * time.Second

// Jump returns by how much the clock on the wall has gone on between two beats
// beyond the time that ds01 counts: it was set, or the machine was suspended or
// switched off. What is due at a moment is put off by it.
func Jump(last, now Beat) time.Duration {
	jump := now.Wall.Round(0).Sub(last.Wall.Round(0))
	if last.Boot == now.Boot {
		jump -= now.Steady - last.Steady
	}
	if last.Wall.IsZero() || jump.Abs() < leastJump {
		return 0
	}
	return jump
}
