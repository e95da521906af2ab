package config

import "ds01.dev/ds01/internal/quantity"

// Audit says how much of the audit log is kept.
type Audit struct {
	MaxSize Size `yaml:"max_size"` // a file that would grow over it is moved aside
	Keep    int  `yaml:"keep"`     // how many files that were moved aside are kept
}

// Size is a number of bytes, written with its unit.
type Size quantity.ByteSize

// UnmarshalText reads "100MiB".
func (s *Size) UnmarshalText(text []byte) error {
	size, err := quantity.ParseByteSize(string(text))
	*s = Size(size)
	return err
}

// Bounds of Audit: a file holds at least some events, and the numbers of files
// stay in sight.
const (
	minAuditSize = 64 << 10
	maxAuditKeep = 1000
)

func defaultAudit() Audit { return Audit{MaxSize: 100 << 20, Keep: 10} }

func (a Audit) validate() error {
	if a.MaxSize < minAuditSize {
		return fault("audit.max_size", "%s is less than 64KiB", quantity.ByteSize(a.MaxSize))
	}
	if a.Keep < 1 || a.Keep > maxAuditKeep {
		return fault("audit.keep", "%d is not from 1 to %d", a.Keep, maxAuditKeep)
	}
	return nil
}
