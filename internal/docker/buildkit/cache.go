package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// Whose a record of BuildKit's cache is, it says by itself where ds01 has put it
// there: into the arguments of a step, and the name of local files. What COPY
// and WORKDIR have made says nothing. It is of whoever's step it stands on, else
// of everybody whose builds ran when it came to be, and whose steps stand on it.

// Records keep who may have made what the cache says nobody of.
type Records interface {
	CacheOwners(ctx context.Context) (map[string][]int, error)
	OwnCache(ctx context.Context, record string, uid int) error
	ForgetCache(ctx context.Context, record string) error
}

// copied is how BuildKit describes what COPY, ADD and WORKDIR have made.
const copied = "fileop target"

// localOf is what local files of a person's are called at the engine, before
// their name.
func localOf(uid int) string { return fmt.Sprintf("ds01-%d/", uid) }

// Cache returns what BuildKit has kept of builds, with whose it may be.
func (b *Builder) Cache(ctx context.Context) ([]container.CacheRecord, error) {
	engine, err := b.engine(ctx)
	if err != nil {
		return nil, err
	}
	defer engine.Close() //nolint:errcheck // everything was said
	return b.cache(ctx, engine)
}

func (b *Builder) cache(ctx context.Context, engine *client.Client) ([]container.CacheRecord, error) {
	known, err := b.makers.records.CacheOwners(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := engine.ControlClient().DiskUsage(ctx, &control.DiskUsageRequest{})
	if err != nil {
		return nil, fmt.Errorf("look at the build cache: %w", err)
	}
	all := make([]container.CacheRecord, len(resp.Record))
	for i, r := range resp.Record {
		all[i] = record(r)
	}
	for id := range known { // the engine has let go of it by itself
		if !slices.ContainsFunc(all, func(r container.CacheRecord) bool { return r.ID == id }) {
			if err := b.makers.records.ForgetCache(ctx, id); err != nil {
				return nil, err
			}
		}
	}
	attribute(all, known)
	return all, nil
}

func record(r *control.UsageRecord) container.CacheRecord {
	c := container.CacheRecord{
		ID: r.ID, Parent: r.Parent, Kind: r.RecordType, Description: r.Description, Size: r.Size, Uses: int(r.UsageCount), InUse: r.InUse, Shared: r.Shared, //nolint:staticcheck // what 20.10 has
	}
	if len(r.Parents) > 0 {
		c.Parent = r.Parents[0]
	}
	if r.CreatedAt != nil {
		c.CreatedAt = r.CreatedAt.AsTime()
	}
	if r.LastUsedAt != nil {
		c.LastUsedAt = r.LastUsedAt.AsTime()
	}
	return c
}

// attribute fills in whose the records are.
func attribute(all []container.CacheRecord, known map[string][]int) {
	certain, parent := map[string]int{}, map[string]string{}
	for i := range all {
		r := &all[i]
		parent[r.ID] = r.Parent
		uid, shown := admission.KitOwner(r.Description)
		if r.Description = shown; uid >= 0 {
			certain[r.ID], r.Owners = uid, []int{uid}
		}
	}
	above := map[string][]int{} // of whose steps stand on it
	for id, uid := range certain {
		for p := parent[id]; p != "" && !slices.Contains(above[p], uid); p = parent[p] {
			above[p] = append(above[p], uid)
		}
	}
	for i := range all {
		if r := &all[i]; r.Description == copied {
			r.Owners = copiers(r.ID, certain, parent)
			if len(r.Owners) == 0 {
				r.Owners = slices.Concat(known[r.ID], above[r.ID])
				slices.Sort(r.Owners)
				r.Owners = slices.Compact(r.Owners)
			}
		}
	}
}

// copiers returns on whose step a copy stands, if on any.
func copiers(id string, certain map[string]int, parent map[string]string) []int {
	for p := parent[id]; p != ""; p = parent[p] {
		if uid, ok := certain[p]; ok {
			return []int{uid}
		}
	}
	return nil
}

// Prune removes what p picks of a person's own, and returns what is gone.
func (b *Builder) Prune(ctx context.Context, uid int, p container.CachePrune) ([]container.CacheRecord, error) {
	engine, err := b.engine(ctx)
	if err != nil {
		return nil, err
	}
	defer engine.Close() //nolint:errcheck // everything was said
	all, err := b.cache(ctx, engine)
	if err != nil {
		return nil, err
	}
	picked := p.Picks(all, uid)
	if len(picked) == 0 {
		return nil, nil // no filter would be everything
	}
	request := &control.PruneRequest{All: true} // what is shared was left out
	for _, r := range picked {
		request.Filter = append(request.Filter, "id=="+r.ID)
	}
	removed, err := engine.ControlClient().Prune(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("prune the build cache: %w", err)
	}
	var gone []container.CacheRecord
	for {
		r, err := removed.Recv()
		if errors.Is(err, io.EOF) {
			return gone, nil
		}
		if err != nil {
			return gone, fmt.Errorf("prune the build cache: %w", err)
		}
		if i := slices.IndexFunc(picked, func(p container.CacheRecord) bool { return p.ID == r.ID }); i >= 0 {
			gone = append(gone, picked[i])
		}
		if err := b.makers.records.ForgetCache(ctx, r.ID); err != nil {
			return gone, err
		}
	}
}

// makers know which builds run or ran beside one another.
type makers struct {
	records Records

	mu  sync.Mutex
	all []*making // those that run, and those that one of them ran beside
}

// A making is a build, by what of copies the cache had before and after it.
type making struct {
	uid           int
	before, after map[string]bool // after is nil while it runs
	beside        []*making
}

// beginMaking notes that a build begins.
func (b *Builder) beginMaking(ctx context.Context, engine *client.Client, uid int) (*making, error) {
	before, err := copies(ctx, engine)
	if err != nil {
		return nil, err
	}
	m := &making{uid: uid, before: before}
	b.makers.mu.Lock()
	defer b.makers.mu.Unlock()
	for _, other := range b.makers.all {
		if other.after == nil {
			other.beside, m.beside = append(other.beside, m), append(m.beside, other)
		}
	}
	b.makers.all = append(b.makers.all, m)
	return m, nil
}

// endTimeout is how long ds01 looks at what a build has left.
const endTimeout = 10 * time.Second

// endMaking notes whose the copies may be that came with a build: of everybody
// whose build may have made them. If that can't be known, or kept, they are
// nobody's: the build has been.
func (b *Builder) endMaking(ctx context.Context, engine *client.Client, m *making) {
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	after, _ := copies(ctx, engine)
	b.makers.mu.Lock()
	defer b.makers.mu.Unlock()
	if m.after = after; m.after == nil {
		m.after = map[string]bool{}
	}
	for id := range m.after {
		for _, who := range append([]*making{m}, m.beside...) {
			if !m.before[id] && who.mayHaveMade(id) {
				_ = b.makers.records.OwnCache(ctx, id, who.uid)
			}
		}
	}
	b.makers.all = slices.DeleteFunc(b.makers.all, func(m *making) bool { return m.after != nil })
}

func (m *making) mayHaveMade(id string) bool { return !m.before[id] && (m.after == nil || m.after[id]) }

// copies returns what COPY and its like have left in the cache.
func copies(ctx context.Context, engine *client.Client) (map[string]bool, error) {
	resp, err := engine.ControlClient().DiskUsage(ctx, &control.DiskUsageRequest{})
	if err != nil {
		return nil, fmt.Errorf("look at the build cache: %w", err)
	}
	all := map[string]bool{}
	for _, r := range resp.Record {
		if r.Description == copied {
			all[r.ID] = true
		}
	}
	return all, nil
}

// DiskUsage shows what may be of the person's builds, and no filter of it.
func (c *controller) DiskUsage(ctx context.Context, req *control.DiskUsageRequest) (*control.DiskUsageResponse, error) {
	if err := noFilter("Cache not shown", req.Filter); err != nil {
		return nil, failed(err)
	}
	all, err := c.builder.Cache(ctx)
	if err != nil {
		return nil, failed(err)
	}
	shown := &control.DiskUsageResponse{}
	for _, r := range all {
		if r.Of(c.uid) {
			shown.Record = append(shown.Record, usage(r))
		}
	}
	return shown, nil
}

// noFilter refuses filters. Of none buildx makes one that is empty.
func noFilter(what string, filters []string) error {
	filters = slices.DeleteFunc(filters, func(f string) bool { return f == "" })
	if len(filters) == 0 {
		return nil
	}
	return &problem.Error{
		What: what, Why: problem.Because(problem.ErrInvalid, "of filters only until is read, not "+strings.Join(filters, ", ")), Next: "Leave the filter away.",
	}
}

// usage is a record as its owner is charged for it.
func usage(r container.CacheRecord) *control.UsageRecord {
	u := &control.UsageRecord{
		ID: r.ID, RecordType: r.Kind, Description: r.Description, Size: r.Charged(), UsageCount: int64(r.Uses), InUse: r.InUse, Shared: r.Shared,
		CreatedAt: timestamppb.New(r.CreatedAt),
	}
	if r.Parent != "" {
		u.Parents = []string{r.Parent}
	}
	if !r.LastUsedAt.IsZero() {
		u.LastUsedAt = timestamppb.New(r.LastUsedAt)
	}
	return u
}

// Prune removes the person's own cache.
func (c *controller) Prune(req *control.PruneRequest, to grpc.ServerStreamingServer[control.UsageRecord]) error {
	if err := noFilter("Nothing pruned", req.Filter); err != nil {
		return failed(err)
	}
	p := container.CachePrune{All: req.All, Keep: max(req.ReservedSpace, req.MaxUsedSpace)}
	if req.KeepDuration > 0 {
		p.Until = c.builder.now().Add(-time.Duration(req.KeepDuration))
	}
	gone, err := c.builder.Prune(to.Context(), c.uid, p)
	for _, r := range gone {
		if err := to.Send(usage(r)); err != nil {
			return err
		}
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// ListenBuildHistory tells of no build: ds01 and the engine keep none.
func (*controller) ListenBuildHistory(*control.BuildHistoryRequest, grpc.ServerStreamingServer[control.BuildHistoryEvent]) error {
	return nil
}
