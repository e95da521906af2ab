package dockertest

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
)

// Belongings is what the contract on volumes and networks is about.
type Belongings interface {
	Volumes(ctx context.Context) ([]string, error)
	HasVolume(ctx context.Context, name string) (bool, error)
	CreateVolume(ctx context.Context, name string, labels map[string]string) error
	Networks(ctx context.Context) ([]network.Observed, error)
	CreateNetwork(ctx context.Context, s network.Spec) (id string, err error)
}

func volumes(t *testing.T, e Subject) {
	t.Helper()
	ctx := t.Context()
	has := func(name string, want bool) {
		t.Helper()
		ok, err := e.HasVolume(ctx, name)
		list, lerr := e.Volumes(ctx)
		if ok != want || err != nil || slices.Contains(list, name) != want || lerr != nil {
			t.Errorf("%s: %t, %v; in %v, %v", name, ok, err, list, lerr)
		}
	}
	has("contract-volume", false)
	must(t, e.CreateVolume(ctx, "contract-volume", map[string]string{"a": "b"}))
	must(t, e.CreateVolume(ctx, "contract-volume", map[string]string{"a": "b"}))
	has("contract-volume", true)
	id, _, err := e.Create(ctx, "contract-mounts", "", []byte(`{"Image":"busybox","Volumes":{"/loose":{}},"HostConfig":{"Mounts":[
		{"Type":"volume","Source":"contract-volume","Target":"/a"},{"Type":"volume","Source":"contract-implied","Target":"/b"},{"Type":"volume","Target":"/c"}]}}`))
	must(t, err)
	has("contract-implied", true)
	names := map[string]string{}
	for _, v := range inspect(t, e, id).Volumes {
		names[v.Target] = v.Name
		has(v.Name, true)
	}
	if len(names) != 4 || names["/a"] != "contract-volume" || names["/b"] != "contract-implied" || names["/c"] == "" || names["/loose"] == "" {
		t.Errorf("mounted: %v", names)
	}
	must(t, e.Remove(ctx, id, true))
	for target, left := range map[string]bool{"/a": true, "/b": true, "/c": false, "/loose": false} {
		has(names[target], left)
	}
}

func networks(t *testing.T, e Subject) {
	t.Helper()
	ctx := t.Context()
	spec := network.Spec{
		Name: "contract-net", Subnet: netip.MustParsePrefix("10.192.0.0/26"), Internal: true,
		Options: map[string]string{"com.docker.network.driver.mtu": "1400"}, Labels: map[string]string{"a": "b"},
	}
	id, err := e.CreateNetwork(ctx, spec)
	must(t, err)
	list, err := e.Networks(ctx)
	must(t, err)
	i := slices.IndexFunc(list, func(n network.Observed) bool { return n.ID == id })
	if i < 0 || len(id) != 64 || list[i].Name != "contract-net" || !slices.Equal(list[i].Subnets, []netip.Prefix{spec.Subnet}) {
		t.Errorf("%q in %+v", id, list)
	}
	spec.Subnet = netip.MustParsePrefix("10.192.1.0/26")
	_, err = e.CreateNetwork(ctx, spec)
	wantKind(t, "a name that is taken", err, problem.ErrConflict)
	spec.Name, spec.Subnet = "contract-other", netip.MustParsePrefix("10.192.0.0/24")
	_, err = e.CreateNetwork(ctx, spec)
	wantKind(t, "a subnet that is taken", err, problem.ErrDenied)
}
