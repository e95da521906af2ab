package quantity

import (
	"fmt"
	"regexp"
	"strings"
)

// ByteSize is a number of bytes.
type ByteSize int64

type byteUnit struct {
	name  string
	bytes int64
}

// byteUnits lists the units from the largest down.
func byteUnits() []byteUnit {
	return []byteUnit{{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}
}

var byteSize = regexp.MustCompile(`(?i)^([0-9.]+) ?(b|[kmgtp](?:i?b)?)$`)

// ParseByteSize reads a size such as "32g", "500M", "1.5GiB" or "80 mb". Units
// are b, k, m, g, t and p in either case, alone or with "b" or "ib" behind
// them, and always powers of 1024, as docker reads them. The unit is required:
// a bare number, also 0, is an error. A fraction of a byte is dropped.
// The result may be zero ("0b"): a caller for whom zero means "no limit" has
// to refuse it.
func ParseByteSize(text string) (ByteSize, error) {
	m := byteSize.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return 0, withUnit(text, "size", "b, k, m, g, t or p", "g")
	}
	for _, u := range byteUnits() {
		if strings.EqualFold(u.name[:1], m[2][:1]) {
			n, err := scaled(m[1], u.bytes)
			return ByteSize(n), wrap(text, "size", err)
		}
	}
	return 0, withUnit(text, "size", "b, k, m, g, t or p", "g")
}

// String returns the exact size, in the largest unit of which it is a whole
// number of quarters: "32GiB", "1.5GiB", "1234567B". A negative size is
// written in bytes.
func (b ByteSize) String() string {
	for _, u := range byteUnits() {
		quarter := max(u.bytes/4, 1)
		if int64(b) >= u.bytes && int64(b)%quarter == 0 {
			hundredths := int64(b) % u.bytes / quarter * 25
			return pointed(int64(b)/u.bytes, hundredths, 100) + u.name
		}
	}
	return fmt.Sprintf("%dB", int64(b))
}

// Rounded returns the size for people's eyes: in the largest unit of which it
// holds at least one, rounded down to a tenth, such as "62.7GiB".
func (b ByteSize) Rounded() string {
	for _, u := range byteUnits() {
		if int64(b) >= u.bytes {
			tenths := int64(float64(int64(b)%u.bytes) / float64(u.bytes) * 10)
			return pointed(int64(b)/u.bytes, tenths, 10) + u.name
		}
	}
	return b.String()
}

// withUnit explains what is wrong with text, which should be a number with
// one of units behind it.
func withUnit(text, kind, units, example string) error {
	number := strings.TrimSpace(text)
	if decimal.MatchString(number) && len(number) <= maxDigits {
		return fmt.Errorf("%q needs a unit (%s), such as %s%s", text, units, number, example)
	}
	return fmt.Errorf("%q is not a %s: write a number and a unit (%s), such as 2%s", text, kind, units, example)
}

// wrap names the whole text in an error about its number.
func wrap(text, kind string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q is not a %s: %w", text, kind, err)
}
