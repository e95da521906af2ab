// Package quantity reads and writes amounts: bytes, CPUs, shares of a GPU and
// durations. It is the one parser for the whole system. It knows nothing of
// what an amount limits, and the words for "no limit" (null, never …) are its
// callers' affair.
package quantity

import (
	"fmt"
	"math/big"
	"regexp"
	"strings"
)

// A Limit is an amount that may be absent. The zero value is a limit of zero,
// not the absence of one.
type Limit[T any] struct {
	Value     T    // meaningless when Unlimited
	Unlimited bool // nothing bounds the amount
}

// To returns a limit of v.
func To[T any](v T) Limit[T] { return Limit[T]{Value: v} }

// None returns the absence of a limit.
func None[T any]() Limit[T] { return Limit[T]{Unlimited: true} }

// maxDigits bounds what is worth reading as a number.
const maxDigits = 40

var decimal = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// scaled returns the decimal number text times unit, rounded down, so that no
// amount is ever larger than what was written.
func scaled(text string, unit int64) (int64, error) {
	if len(text) > maxDigits || !decimal.MatchString(text) {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	r.Mul(r, new(big.Rat).SetInt64(unit))
	n := new(big.Int).Quo(r.Num(), r.Denom())
	if !n.IsInt64() {
		return 0, fmt.Errorf("%q is too large", text)
	}
	return n.Int64(), nil
}

// pointed writes the decimal number whole + rest/unit without trailing zeros.
// unit is a power of ten above rest; neither number is negative.
func pointed(whole, rest, unit int64) string {
	if rest == 0 {
		return fmt.Sprint(whole)
	}
	width := len(fmt.Sprint(unit)) - 1
	return fmt.Sprintf("%d.%s", whole, strings.TrimRight(fmt.Sprintf("%0*d", width, rest), "0"))
}
