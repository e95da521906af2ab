package quantity

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// GPUShare is an amount of GPU compute in 840ths of one card. 840 divides by
// every number up to 8, so the slices of every card add up exactly.
type GPUShare int64

// FullGPU is one whole card.
const FullGPU GPUShare = 840

// ShareOf returns the share of slices compute slices on a card whose largest
// MIG profile has of, rounded down. It is never more than FullGPU; where of is
// not known (zero or less), a device counts as a whole card.
func ShareOf(slices, of int) GPUShare {
	switch {
	case slices <= 0:
		return 0
	case of <= 0 || slices >= of:
		return FullGPU
	default:
		return GPUShare(slices) * FullGPU / GPUShare(of)
	}
}

var fraction = regexp.MustCompile(`^(?:([0-9]{1,9}) )?([0-9]{1,9})/([0-9]{1,9})$`)

// ParseGPUShare reads a number of GPUs as a decimal ("1.5") or as String
// writes it ("1/7", "2 3/7"). What is finer than an 840th is dropped. Zero is
// a share like any other: no GPU.
func ParseGPUShare(text string) (GPUShare, error) {
	s := strings.TrimSpace(text)
	m := fraction.FindStringSubmatch(s)
	if m == nil {
		n, err := scaled(s, int64(FullGPU))
		return GPUShare(n), wrap(text, "number of GPUs", err)
	}
	whole, _ := strconv.ParseInt("0"+m[1], 10, 64) // digits, by the expression
	part, _ := strconv.ParseInt(m[2], 10, 64)
	of, _ := strconv.ParseInt(m[3], 10, 64)
	if of == 0 {
		return 0, fmt.Errorf("%q is not a number of GPUs: it divides by zero", text)
	}
	return GPUShare(whole)*FullGPU + GPUShare(part)*FullGPU/GPUShare(of), nil
}

// Float returns the share as a number of cards.
func (s GPUShare) Float() float64 { return float64(s) / float64(FullGPU) }

// String returns the exact share in cards: "1", "1/7", "2 3/7".
func (s GPUShare) String() string {
	whole, part, of := s/FullGPU, s%FullGPU, FullGPU
	if part == 0 {
		return fmt.Sprint(int64(whole))
	}
	d := gcd(part, of)
	if part < 0 {
		part = -part // the sign stands in front of the whole
	}
	text := fmt.Sprintf("%d/%d", part/d, of/d)
	switch {
	case whole != 0:
		return fmt.Sprintf("%d %s", whole, text)
	case s < 0:
		return "-" + text
	default:
		return text
	}
}

func gcd(a, b GPUShare) GPUShare {
	for b != 0 {
		a, b = b, a%b
	}
	return max(a, -a)
}
