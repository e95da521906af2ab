package gpu

import "time"

// A Way is one by which people are told of their devices.
type Way uint8

// Ways to tell people. They are stored.
const (
	OnTerminal Way = 1 << iota
	ByMail
)

// Told says by which ways somebody was told something, and from when on it is
// no news.
type Told struct {
	Ways Way
	Over time.Time
}
