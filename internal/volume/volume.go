// Package volume knows a person's volume as plain values. It decides and does
// nothing.
package volume

import (
	"regexp"
	"time"

	"ds01.dev/ds01/internal/account"
)

// A Record is ds01's own record of one volume. The record, not the engine's
// labels, says whose it is.
type Record struct {
	EngineName string
	UID        int
	Name       string // as the owner calls it
	Anonymous  bool   // nobody gave it a name
	Used       bool   // a container was made with it, and can have handed it on
	CreatedAt  time.Time
}

// Mounted is a volume as the engine shows it in a container.
type Mounted struct {
	Name     string // at the engine
	Source   string // path on the host
	Target   string // path in the container
	ReadOnly bool
}

// unnamed is how the engine calls a volume that nobody gave a name.
var unnamed = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Of returns the record of a volume that the engine shows in a container of
// uid's: named by ds01, or by the engine where nobody gave it a name. ok is
// false for any other, which somebody made at the engine itself.
func Of(engineName string, uid int, now time.Time) (r Record, ok bool) {
	if name, owner, ok := account.SplitEngineName(engineName); ok && owner == uid {
		return Record{EngineName: engineName, UID: uid, Name: name, Used: true, CreatedAt: now}, true
	}
	return Record{EngineName: engineName, UID: uid, Name: engineName, Anonymous: true, Used: true, CreatedAt: now}, unnamed.MatchString(engineName)
}
