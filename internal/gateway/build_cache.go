package gateway

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"ds01.dev/ds01/internal/container"
)

// A cacheView is a record of the build cache as the engine writes it.
type cacheView struct {
	ID          string
	Parent      string
	Type        string
	Description string
	InUse       bool
	Shared      bool
	Size        int64
	CreatedAt   time.Time
	LastUsedAt  *time.Time
	UsageCount  int
}

func viewCache(r container.CacheRecord) cacheView {
	v := cacheView{
		ID: r.ID, Parent: r.Parent, Type: r.Kind, Description: r.Description, InUse: r.InUse, Shared: r.Shared,
		Size: r.Charged(), CreatedAt: r.CreatedAt, UsageCount: r.Uses,
	}
	if !r.LastUsedAt.IsZero() {
		v.LastUsedAt = &r.LastUsedAt
	}
	return v
}

// usedByCache shows what BuildKit has kept of the caller's builds.
func (c *call) usedByCache(own *usage) error {
	all, err := c.Kit.Cache(c.r.Context())
	for _, r := range all {
		if c.roles.Admin || r.Of(c.who.UID) {
			v := viewCache(r)
			own.BuildCache = append(own.BuildCache, v)
			own.BuilderSize += v.Size
		}
	}
	return err
}

// buildPrune removes what BuildKit has kept of the caller's own builds.
// Administrators, too, prune their own.
func (c *call) buildPrune() error {
	p, err := c.cachePrune()
	if err != nil {
		return err
	}
	gone, err := c.Kit.Prune(context.WithoutCancel(c.r.Context()), c.who.UID, p)
	if err != nil {
		return err
	}
	pruned := struct {
		CachesDeleted  []string
		SpaceReclaimed int64
	}{CachesDeleted: []string{}}
	for _, r := range gone {
		pruned.CachesDeleted = append(pruned.CachesDeleted, r.ID)
		pruned.SpaceReclaimed += r.Size
	}
	return c.json(http.StatusOK, pruned)
}

// cachePrune reads what a prune of the build cache is to take.
func (c *call) cachePrune() (p container.CachePrune, err error) {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return p, err
	}
	if err := filters.allow("until", "unused-for"); err != nil {
		return p, err
	}
	if p.Until, err = pruneUntil(append(filters["until"], filters["unused-for"]...), c.Now()); err != nil {
		return p, err
	}
	p.All = c.truth("all")
	for _, key := range []string{"keep-storage", "reserved-space", "max-used-space"} {
		text := c.match.Query.Get(key)
		if text == "" {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			return p, badFilter(key + " is no number of bytes")
		}
		p.Keep = max(p.Keep, n)
	}
	if v := c.match.Query.Get("min-free-space"); v != "" && v != "0" {
		return p, badFilter("min-free-space is the host's to keep")
	}
	return p, nil
}
