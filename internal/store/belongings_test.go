package store_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/port"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/store"
	"ds01.dev/ds01/internal/volume"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantConflict(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, problem.ErrConflict) {
		t.Errorf("got %v", err)
	}
}

func reopened(t *testing.T, s *store.Store, path string) *store.Store {
	t.Helper()
	must(t, s.Close())
	return open(t, path)
}

func TestAPortOfTheHostIsPublishedOnce(t *testing.T) {
	path := file(t)
	s := open(t, path)
	one, two := record("a"), record("b")
	one.Ports = []port.Port{{Address: "127.0.0.1", Protocol: "tcp", Host: 20000, Container: 80}, {Address: "127.0.0.1", Protocol: "udp", Host: 20000, Container: 53}}
	save(t, s, one, one)
	two.UID, two.Ports = 1002, []port.Port{{Address: "10.0.0.1", Protocol: "tcp", Host: 20000, Container: 81}}
	wantConflict(t, s.Save(t.Context(), two))
	s = reopened(t, s, path)
	wantRecords(t, s, one)
	must(t, s.Delete(t.Context(), one.ID))
	save(t, s, two)
	wantRecords(t, s, two)
}

func TestARangeOfPortsHasOneOwner(t *testing.T) {
	path := file(t)
	s := open(t, path)
	must(t, s.SavePortSlot(t.Context(), 1001, 0))
	wantConflict(t, s.SavePortSlot(t.Context(), 1002, 0))
	wantConflict(t, s.SavePortSlot(t.Context(), 1001, 1))
	must(t, s.SavePortSlot(t.Context(), 1002, 1))
	got, err := reopened(t, s, path).PortSlots(t.Context())
	if diff := cmp.Diff(map[int]int{1001: 0, 1002: 1}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

func TestAVolumeHasOneOwner(t *testing.T) {
	path := file(t)
	s := open(t, path)
	created := record("a").CreatedAt
	data := volume.Record{EngineName: "data._.1001", UID: 1001, Name: "data", CreatedAt: created}
	loose := volume.Record{EngineName: "f00d", UID: 1002, Name: "f00d", Anonymous: true, CreatedAt: created}
	must(t, s.SaveVolume(t.Context(), data))
	must(t, s.SaveVolume(t.Context(), loose))
	for _, used := range []bool{true, false, true} {
		must(t, s.MarkVolume(t.Context(), loose.EngineName, used))
	}
	must(t, s.MarkVolume(t.Context(), "none", true))
	loose.Used = true
	wantConflict(t, s.SaveVolume(t.Context(), volume.Record{EngineName: "data._.1001", UID: 1002, Name: "other"}))
	wantConflict(t, s.SaveVolume(t.Context(), volume.Record{EngineName: "x", UID: 1001, Name: "data"}))
	s = reopened(t, s, path)
	got, err := s.Volumes(t.Context())
	if diff := cmp.Diff([]volume.Record{data, loose}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	must(t, s.DeleteVolume(t.Context(), "f00d"))
	must(t, s.DeleteVolume(t.Context(), "f00d"))
	if got, err := s.Volumes(t.Context()); len(got) != 1 || err != nil {
		t.Error(got, err)
	}
}

func TestANetworkHasOneOwnerAndASubnetOfItsOwn(t *testing.T) {
	path := file(t)
	s := open(t, path)
	own := network.Record{EngineName: "net._.1001", UID: 1001, Name: "net", Subnet: netip.MustParsePrefix("10.192.0.0/26"), CreatedAt: record("a").CreatedAt}
	must(t, s.SaveNetwork(t.Context(), own))
	own.ID = "id"
	must(t, s.SaveNetwork(t.Context(), own))
	other := network.Record{EngineName: "default._.1002", UID: 1002, Name: "bridge", ID: "id2", Subnet: own.Subnet, CreatedAt: own.CreatedAt, Default: true}
	wantConflict(t, s.SaveNetwork(t.Context(), other))
	other.Subnet = netip.MustParsePrefix("10.192.0.64/26")
	must(t, s.SaveNetwork(t.Context(), other))
	s = reopened(t, s, path)
	got, err := s.Networks(t.Context())
	if diff := cmp.Diff([]network.Record{other, own}, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	must(t, s.DeleteNetwork(t.Context(), own.EngineName))
	if got, err := s.Networks(t.Context()); len(got) != 1 || err != nil {
		t.Error(got, err)
	}
}
