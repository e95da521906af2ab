package gpu

import (
	"math"
	"slices"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// HalfLife is how long it takes until what somebody used counts half in the
// order of the queue.
const HalfLife = 7 * 24 * time.Hour

// A Use is one time that somebody held devices.
type Use struct {
	Claim       string
	UID         int
	Share       quantity.GPUShare // of all the devices together
	From, Until time.Time
}

// A Tally is what somebody used lately, in GPU-hours that fade with HalfLife.
// Its zero value is nothing.
type Tally struct {
	hours float64
	at    time.Time
}

// Add returns the tally with one more use in it.
func (t Tally) Add(u Use) Tally {
	if !u.From.Before(u.Until) {
		return t
	}
	// The integral of the share over the time, each moment faded since.
	whole := u.Share.Float() * HalfLife.Hours() / math.Ln2 * (1 - fade(u.Until.Sub(u.From)))
	at := u.Until
	if t.at.After(at) {
		at = t.at
	}
	return Tally{hours: t.Hours(at) + whole*fade(at.Sub(u.Until)), at: at}
}

// Hours returns the tally as it is at now.
func (t Tally) Hours(now time.Time) float64 { return t.hours * fade(now.Sub(t.at)) }

func fade(age time.Duration) float64 {
	if age <= 0 {
		return 1
	}
	return math.Exp2(-age.Hours() / HalfLife.Hours())
}

// leastSeen is how many uses that lasted longer than this one there must be
// to say how much longer it may last.
const leastSeen = 3

// Expect says how much longer a use will last that has lasted elapsed, by the
// median of those uses seen that lasted longer. seen is sorted. ok is false
// where too few did.
func Expect(elapsed time.Duration, seen []time.Duration) (rest time.Duration, ok bool) {
	i, _ := slices.BinarySearch(seen, elapsed+1)
	longer := seen[i:]
	if len(longer) < leastSeen {
		return 0, false
	}
	return longer[len(longer)/2] - elapsed, true
}
