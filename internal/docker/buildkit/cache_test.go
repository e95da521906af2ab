package buildkit_test

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/docker/buildkit"
)

// kept is what an engine has kept of builds of 1001 and 1002.
func kept() []*control.UsageRecord {
	return []*control.UsageRecord{
		{ID: "base", Description: "from local ", Size: 100, Shared: true},
		{ID: "step", Parent: "base", Description: "mount / from exec  ds01-step /ds01/u1001 /bin/sh -c ls", Size: 10},
		{ID: "narrow", Parent: "base", Description: "mount / from exec  ds01-step ds01-u1002-narrow_1_2_3.slice ls", Size: 10},
		{ID: "liar", Parent: "base", Description: "mount / from exec  ds01-step /ds01/u1002 x from exec  ds01-step /ds01/u1001 ls", Size: 10},
		{ID: "mount", Description: "cached mount /c from exec  ds01-step ds01-u1001.slice ls", Size: 10, RecordType: "exec.cachemount"},
		{ID: "files", Description: "local source for ds01-1001/context", Size: 10, RecordType: "source.local"},
		{ID: "older", Description: "local source for context", Size: 10},
		{ID: "onStep", Parent: "step", Description: "fileop target", Size: 10},
		{ID: "below", Parent: "base", Description: "fileop target", Size: 10},
		{ID: "onBelow", Parent: "below", Description: "mount / from exec  ds01-step /ds01/u1002 ls", Size: 10},
		{ID: "both", Parent: "base", Description: "fileop target", Size: 11},
		{ID: "unknown", Parent: "base", Description: "fileop target", Size: 10},
	}
}

func TestWhatIsKeptOfBuildsHasOwners(t *testing.T) {
	b := buildkit.New(engine{cache: kept()}.dial, time.Now, records{"both": {1001, 1002}, "step": {1002}, "gone": {1001}}, slog.New(slog.DiscardHandler))
	all, err := b.Cache(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	owners := map[string][]int{}
	for _, r := range all {
		owners[r.ID] = r.Owners
		if strings.Contains(r.Description, "ds01") && r.ID != "liar" {
			t.Errorf("%s is described as %q", r.ID, r.Description)
		}
	}
	alice, bob := []int{1001}, []int{1002}
	want := map[string][]int{
		"base": nil, "step": alice, "narrow": bob, "liar": bob, "mount": alice, "files": alice, "older": nil, "onStep": alice,
		"below": bob, "onBelow": bob, "both": {1001, 1002}, "unknown": nil,
	}
	if diff := cmp.Diff(want, owners); diff != "" {
		t.Error(diff)
	}
}

func TestAPruneTakesNothingOfOthers(t *testing.T) {
	b := buildkit.New(engine{cache: kept()}.dial, time.Now, records{"both": {1001, 1002}}, slog.New(slog.DiscardHandler))
	gone, err := b.Prune(t.Context(), 1001, container.CachePrune{All: true})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, r := range gone {
		ids = append(ids, r.ID)
	}
	slices.Sort(ids)
	if diff := cmp.Diff([]string{"files", "mount", "onStep", "step"}, ids); diff != "" {
		t.Error(diff)
	}
	if gone, err := b.Prune(t.Context(), 1003, container.CachePrune{All: true}); err != nil || len(gone) > 0 {
		t.Errorf("who has nothing prunes %+v, %v", gone, err)
	}
}

func TestBuildxSeesAndPrunesOnesOwn(t *testing.T) {
	c := speaksTo(t, buildkit.New(engine{cache: kept()}.dial, time.Now, records{"both": {1001, 1002}}, slog.New(slog.DiscardHandler)), nil)
	none := client.WithFilter([]string{""}) // as buildx writes it
	du, err := c.DiskUsage(t.Context(), none)
	var bytes int64
	for _, r := range du {
		bytes += r.Size
	}
	if err != nil || len(du) != 5 || bytes != 4*10+11/2 {
		t.Errorf("it sees %d of %d bytes, %v", len(du), bytes, err)
	}
	pruned := make(chan client.UsageInfo, 10)
	if err := c.Prune(t.Context(), pruned, client.PruneAll, none); err != nil || len(pruned) != 4 {
		t.Errorf("%d are pruned, %v", len(pruned), err)
	}
	narrow := client.WithFilter([]string{"", "id==narrow"})
	if _, err := c.DiskUsage(t.Context(), narrow); err == nil {
		t.Error("a filter of what is shown isn't read, and not said")
	}
	if err := c.Prune(t.Context(), nil, narrow); err == nil {
		t.Error("a filter isn't read, and not said")
	}
	history, err := c.ControlClient().ListenBuildHistory(t.Context(), &control.BuildHistoryRequest{EarlyExit: true})
	if err == nil {
		_, err = history.Recv()
	}
	if err == nil || err.Error() != "EOF" {
		t.Errorf("the history is %v", err)
	}
}

// memory keeps who may own what.
type memory struct{ records }

func (m memory) OwnCache(_ context.Context, record string, uid int) error {
	if !slices.Contains(m.records[record], uid) {
		m.records[record] = append(m.records[record], uid)
	}
	return nil
}

func TestCopiesAreOfWhoeverBuiltThen(t *testing.T) {
	var now engine
	m := memory{records{}}
	b := buildkit.New(func(ctx context.Context) (net.Conn, error) { return now.dial(ctx) }, time.Now, m, slog.New(slog.DiscardHandler)) //nolint:gocritic // it changes
	begin := func(uid int) *buildkit.Build {
		x, err := b.BeginBuild(t.Context(), uid)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	end := func(x *buildkit.Build) {
		if err := x.End(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	comes := func(id string) {
		now.cache = append(now.cache, &control.UsageRecord{ID: id, Description: "fileop target"})
	}
	comes("before")
	alice := begin(1001)
	comes("alone")
	bob := begin(1002)
	comes("beside")
	end(bob)
	comes("after")
	carol := begin(1003)
	end(alice)
	end(carol)
	for _, owners := range m.records {
		slices.Sort(owners)
	}
	want := records{"alone": {1001}, "beside": {1001, 1002}, "after": {1001}}
	if diff := cmp.Diff(want, m.records); diff != "" {
		t.Error(diff)
	}
}

func TestADockerfileSaysWhatItIsBuiltOn(t *testing.T) {
	const text = "# syntax=docker/dockerfile:1\nARG OF=evil.example/x\nFROM ${OF}:1 AS one\nRUN --mount=from=tools:2,target=/t true\nFROM busybox AS last\nCOPY --from=one / /\nCOPY --from=other / /\nFROM unused\n"
	got, err := buildkit.Bases(t.Context(), []byte(text), map[string]string{"target": "last", "filename": "x/Dockerfile"})
	slices.Sort(got)
	got = slices.Compact(got)
	if diff := cmp.Diff([]string{"busybox:latest", "evil.example/x:1", "other:latest", "tools:2"}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := buildkit.Bases(t.Context(), []byte("FORM x\n"), nil); err == nil {
		t.Error("what is no Dockerfile is read")
	}
}
