package limits

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/quantity"
)

// A kind is how the value of a key is written.
type kind int

const (
	count     kind = iota // a whole number
	rank                  // a whole number that null doesn't fit
	truth                 // true or false
	cpus                  // CPUs, in billionths
	size                  // bytes
	share                 // GPUs, in 840ths
	percent               // per cent, in thousandths
	duration              // nanoseconds
	rootList              // folders to mount from
	hoursList             // times of the week
	fraction              // 0 to 1, in thousandths
	word                  // text that nothing reads yet
	wordList              // a list of such
	anything              // whatever it holds
)

var wholeNumber = regexp.MustCompile(`^[0-9]{1,15}$`)

// maxPercent is well above what 1000 busy CPUs show.
const maxPercent = 1_000_000

// parse reads a scalar value.
func (k kind) parse(text string) (int64, error) {
	switch k {
	case truth:
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil || len(text) < len("true") {
			return 0, fmt.Errorf("%q is neither true nor false", text)
		}
		if b {
			return 1, nil
		}
		return 0, nil
	case cpus:
		n, err := quantity.ParseCPUs(text)
		return int64(n), err
	case size:
		n, err := quantity.ParseByteSize(text)
		return int64(n), err
	case share:
		n, err := quantity.ParseGPUShare(text)
		return int64(n), err
	case duration:
		n, err := quantity.ParseDuration(text)
		return int64(n), err
	case percent:
		return thousandths(strings.TrimSuffix(text, "%"), maxPercent)
	case fraction:
		return thousandths(text, 1)
	case word:
		return 0, nil
	default:
		if !wholeNumber.MatchString(text) {
			return 0, fmt.Errorf("%q is not a whole number of 0 or more", text)
		}
		return strconv.ParseInt(text, 10, 64)
	}
}

// thousandths reads a decimal number from 0 to most.
func thousandths(text string, most float64) (int64, error) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > most {
		return 0, fmt.Errorf("%q is not a number from 0 to %v", text, most)
	}
	return int64(f * 1000), nil
}

// format writes a value as parse reads it.
func (k kind) format(n int64) string {
	switch k {
	case truth:
		return strconv.FormatBool(n != 0)
	case cpus:
		return quantity.CPUs(n).String()
	case size:
		return quantity.ByteSize(n).String()
	case share:
		return quantity.GPUShare(n).String()
	case duration:
		return quantity.FormatDuration(time.Duration(n))
	case percent:
		return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64) + "%"
	case fraction:
		return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64)
	default:
		return strconv.FormatInt(n, 10)
	}
}

// unlimited reports whether text says that there is no limit. "None" says so
// for durations alone, as the existing deployment read it: elsewhere it may
// as well mean zero.
func (k kind) unlimited(text string) bool {
	switch strings.ToLower(text) {
	case "null", "~", "never", "indefinite", "unlimited":
		return true
	case "none":
		return k == duration
	}
	return false
}

// boundless reports whether a value of this kind can be without limit.
func (k kind) boundless() bool {
	return k != truth && k != rank && k != rootList && k != hoursList && k != fraction
}

// cpuQuota reads systemd's CPUQuota, in which 100% is one CPU.
func cpuQuota(text string) (int64, error) {
	number, ok := strings.CutSuffix(text, "%")
	if !ok {
		return 0, errors.New("a CPU quota ends in %: 100% is one CPU")
	}
	n, err := quantity.ParseCPUs(number)
	return int64(n) / 100, err
}
