package container

import (
	"cmp"
	"slices"
	"time"
)

// A CacheRecord is something that BuildKit has kept of a build.
type CacheRecord struct {
	ID, Parent  string
	Kind        string // "regular", "source.local", "exec.cachemount"
	Description string
	Size        int64 // bytes
	Uses        int
	InUse       bool
	Shared      bool // an image has it, too
	CreatedAt   time.Time
	LastUsedAt  time.Time // zero: it never was

	// Owners are the people of whose builds it may be, in order: one where it
	// is certain, none where nobody knows.
	Owners []int
}

// Charged returns the bytes that each owner is charged: theirs where the record
// is one person's, else an equal part.
func (r CacheRecord) Charged() int64 { return r.Size / int64(max(1, len(r.Owners))) }

// Of reports whether the record may be of a person's builds.
func (r CacheRecord) Of(uid int) bool { return slices.Contains(r.Owners, uid) }

// A CachePrune says what is to go of a person's own cache. The zero value is
// what no image has.
type CachePrune struct {
	All   bool      // also what images have
	Until time.Time // only what was last used before; zero is any time
	Keep  int64     // bytes that may stay: what was used last stays
}

// Picks returns the records of one person's alone that p takes, those unused
// for longest first. What may be others' as well, nobody takes from them.
func (p CachePrune) Picks(all []CacheRecord, uid int) (taken []CacheRecord) {
	var total int64
	var own []CacheRecord
	for _, r := range all {
		if len(r.Owners) != 1 || r.Owners[0] != uid {
			continue
		}
		total += r.Size
		if !r.InUse && (p.All || !r.Shared) && (p.Until.IsZero() || r.lastUsed().Before(p.Until)) {
			own = append(own, r)
		}
	}
	slices.SortFunc(own, func(a, b CacheRecord) int {
		return cmp.Or(a.lastUsed().Compare(b.lastUsed()), cmp.Compare(a.ID, b.ID))
	})
	for _, r := range own {
		if p.Keep > 0 && total <= p.Keep {
			return taken
		}
		total -= r.Size
		taken = append(taken, r)
	}
	return taken
}

func (r CacheRecord) lastUsed() time.Time {
	if r.LastUsedAt.IsZero() {
		return r.CreatedAt
	}
	return r.LastUsedAt
}
