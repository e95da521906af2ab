package gpu

import (
	"strconv"

	"ds01.dev/ds01/internal/quantity"
)

// leastHistory is how many past uses there must be to say what people ask for.
const leastHistory = 50

// Learn returns the mix of what was used: uses counts them by their share of a
// card that has so many compute slices. It is nil where there were too few, or
// where none is a whole number of slices. The parts come to about a hundred:
// one more use seldom makes another mix of it.
func Learn(uses map[quantity.GPUShare]int, slicesOfCard int) Mix {
	total, of := 0, make(map[int]int)
	for n := 1; n <= slicesOfCard; n++ {
		of[n] = uses[quantity.ShareOf(n, slicesOfCard)]
		total += of[n]
	}
	if total < leastHistory {
		return nil
	}
	mix := Mix{}
	for n, count := range of {
		if parts := (100*count + total/2) / total; parts > 0 {
			mix[strconv.Itoa(n)+"g"] = parts
		}
	}
	return mix
}
