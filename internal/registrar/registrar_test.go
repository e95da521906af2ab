package registrar_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ds01.dev/ds01/internal/allocator"
	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/docker/dockertest"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/registrar"
	"ds01.dev/ds01/internal/store"
	"ds01.dev/ds01/internal/volume"
)

const alice, bob = 1001, 1002

var errLost = errors.New("the answer was lost")

// A scene is a registrar with everything it works with.
type scene struct {
	*registrar.Registrar
	engine *dockertest.Engine
	store  *store.Store
	config config.Config
	served bool
	routes []netip.Prefix
	now    func() time.Time
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{engine: dockertest.New(time.Now), config: config.Default(), served: true, now: time.Now}
	var err error
	if s.store, err = store.Open(t.Context(), filepath.Join(t.TempDir(), "ds01.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	s.restart(t)
	return s
}

// restart makes the registrar anew, as a daemon does that was killed.
func (s *scene) restart(t *testing.T) {
	t.Helper()
	ledger, err := allocator.New(t.Context(), s.store, func() []gpu.Device { return nil }, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s.Registrar, err = registrar.New(t.Context(), registrar.Parts{
		Engine: s.engine, Store: s.store, Lock: ledger.Lock, Config: func() config.Config { return s.config }, Served: func() bool { return s.served },
		Routes: func() ([]netip.Prefix, error) { return s.routes, nil }, Log: slog.New(slog.DiscardHandler), Now: s.now,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *scene) volume(t *testing.T, uid int, name string) (volume.Record, error) {
	t.Helper()
	defer s.LockVolumes(s.VolumeName(uid, name))()
	return s.EnsureVolume(t.Context(), uid, name, false, map[string]string{"a": "b"})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantKind(t *testing.T, err, kind error, says string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want %q of kind %q", err, says, kind)
	}
}

func TestAVolumeIsItsOwners(t *testing.T) {
	s := newScene(t)
	v, err := s.volume(t, alice, "data")
	must(t, err)
	if v.EngineName != "data._.1001" || s.engine.LabelsOf("data._.1001")["a"] != "b" {
		t.Errorf("got %+v", v)
	}
	again, err := s.volume(t, alice, "data")
	if err != nil || again != v {
		t.Errorf("again: %+v, %v", again, err)
	}
	for _, name := range []string{"data", "data._.1001"} {
		if _, ok := s.Volume(bob, name); ok {
			t.Errorf("bob finds %s", name)
		}
		if _, ok := s.Volume(alice, name); !ok {
			t.Errorf("alice doesn't find %s", name)
		}
	}
	if _, err := s.volume(t, bob, "data"); err != nil {
		t.Error(err)
	}
	s.restart(t)
	if got := s.VolumesOf(alice); len(got) != 1 || got[0] != v {
		t.Errorf("after a restart: %+v", got)
	}
}

func TestMoreVolumesThanMayBeAreRefused(t *testing.T) {
	s := newScene(t)
	s.config.Volumes.PerPerson = 1
	_, err := s.volume(t, alice, "a")
	must(t, err)
	_, err = s.volume(t, alice, "b")
	wantKind(t, err, problem.ErrLimit, "you have 1 volumes, the limit is 1")
	must(t, s.RoomForVolumes(alice, 0))
	_, err = s.volume(t, bob, "b")
	must(t, err)
}

func TestAVolumeThatNobodyHasIsNobodys(t *testing.T) {
	s := newScene(t)
	must(t, s.engine.CreateVolume(t.Context(), "data._.1001", nil))
	must(t, s.Settle(t.Context()))
	_, err := s.volume(t, alice, "data")
	wantKind(t, err, problem.ErrConflict, "ds01 doesn't know")
	if got := s.VolumesOf(alice); len(got) > 0 {
		t.Errorf("alice has %v", got)
	}
}

func TestVolumesInOnesOwnContainerAreOnesOwn(t *testing.T) {
	s := newScene(t)
	unnamed := strings.Repeat("a0", 32)
	for _, name := range []string{unnamed, "data._.1001", "theirs._.1002", "foreign"} {
		must(t, s.engine.CreateVolume(t.Context(), name, nil))
	}
	mounted := []volume.Mounted{{Name: unnamed}, {Name: "data._.1001"}, {Name: "theirs._.1002"}, {Name: "foreign"}, {Name: strings.Repeat("b0", 32)}}
	must(t, s.FoundVolumes(t.Context(), alice, mounted))
	must(t, s.FoundVolumes(t.Context(), bob, mounted[:2])) // who has them keeps them
	var names []string
	for _, v := range s.VolumesOf(alice) {
		names = append(names, fmt.Sprintf("%.4s %t", v.Name, v.Anonymous))
	}
	if got := strings.Join(names, ", "); got != "a0a0 true, data false" {
		t.Errorf("alice has %s", got)
	}
	if got := s.VolumesOf(bob); len(got) > 0 {
		t.Errorf("bob has %v", got)
	}
}

func TestRecordsFollowTheEngine(t *testing.T) {
	s := newScene(t)
	for name, fault := range map[string]struct {
		err  error
		made bool
		left bool // the record, before anybody looked
	}{
		"refused":               {problem.ErrInvalid, false, false},
		"lost on its way":       {errLost, false, true},
		"done, and not told of": {errLost, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s.engine.Fail("CreateVolume", fault.err, fault.made)
			if _, err := s.volume(t, alice, "data"); !errors.Is(err, fault.err) {
				t.Errorf("got %v", err)
			}
			s.engine.Fail("CreateNetwork", fault.err, fault.made)
			if _, err := s.CreateNetwork(t.Context(), alice, "net", network.Spec{}); !errors.Is(err, fault.err) {
				t.Errorf("got %v", err)
			}
			s.restart(t)
			_, volume := s.Volume(alice, "data")
			_, known := s.NetworkAt("net._.1001")
			if _, err := s.Network(alice, "net"); volume != fault.left || known != fault.left || err == nil {
				t.Errorf("before: %t %t %v", volume, known, err)
			}
			must(t, s.Settle(t.Context()))
			_, volume = s.Volume(alice, "data")
			n, err := s.Network(alice, "net")
			if volume != fault.made || (err == nil) != fault.made || fault.made && n.ID == "" {
				t.Errorf("after: %t %+v %v", volume, n, err)
			}
			s.engine.DropVolume("data._.1001")
			s.engine.DropNetwork(n.ID)
			must(t, s.Settle(t.Context()))
			if _, ok := s.Volume(alice, "data"); ok || len(s.VolumesOf(alice)) > 0 {
				t.Error("a volume that is gone has a record")
			}
			if _, ok := s.NetworkAt("net._.1001"); ok {
				t.Error("a network that is gone has a record")
			}
		})
	}
}

func TestTheOwnerOfWhatWasRemovedIsRememberedForAMoment(t *testing.T) {
	s := newScene(t)
	now := time.Now()
	s.now = func() time.Time { return now }
	s.restart(t)
	_, err := s.volume(t, alice, "data")
	must(t, err)
	n, err := s.CreateNetwork(t.Context(), alice, "net", network.Spec{})
	must(t, err)
	check := func(when string, want bool) {
		t.Helper()
		volumes, v := s.OwnerOfVolume("data._.1001")
		networks, n := s.OwnerOfNetwork(n.ID, "net._.1001")
		if v != want || n != want || want && (volumes != alice || networks != alice) {
			t.Errorf("%s: %d %t, %d %t", when, volumes, v, networks, n)
		}
	}
	check("there", true)
	if _, ok := s.OwnerOfNetwork("another", "net._.1001"); ok {
		t.Error("another network of that name is hers")
	}
	s.engine.DropVolume("data._.1001")
	s.engine.DropNetwork(n.ID)
	must(t, s.Settle(t.Context()))
	check("gone", true)
	now = now.Add(time.Hour)
	_, err = s.volume(t, bob, "more") // whoever goes next, others are forgotten
	must(t, err)
	must(t, s.ForgetVolume(t.Context(), "more._.1002"))
	check("long gone", false)
}

func TestANetworkThatIsBeingMadeHasAnOwner(t *testing.T) {
	s := newScene(t)
	s.engine.Fail("CreateNetwork", errLost, true)
	if _, err := s.CreateNetwork(t.Context(), alice, "net", network.Spec{}); !errors.Is(err, errLost) {
		t.Fatal(err)
	}
	if uid, ok := s.OwnerOfNetwork("not told yet", "net._.1001"); !ok || uid != alice {
		t.Errorf("owner %d, %t", uid, ok)
	}
}

func TestAnEngineThatIsDownForgetsNothing(t *testing.T) {
	s := newScene(t)
	_, err := s.volume(t, alice, "data")
	must(t, err)
	n, err := s.DefaultNetwork(t.Context(), alice, nil)
	must(t, err)
	s.engine.SetDown(true)
	if s.Settle(t.Context()) == nil || s.SettleVolume(t.Context(), "data._.1001") == nil || s.SettleNetwork(t.Context(), n.EngineName) == nil {
		t.Error("it was asked nothing")
	}
	if _, ok := s.Volume(alice, "data"); !ok {
		t.Error("the volume is forgotten")
	}
	if _, err := s.Network(alice, "bridge"); err != nil {
		t.Error(err)
	}
}

func TestNetworksAreFoundByTheirOwner(t *testing.T) {
	s := newScene(t)
	n, err := s.CreateNetwork(t.Context(), alice, "net", network.Spec{})
	must(t, err)
	d, err := s.DefaultNetwork(t.Context(), alice, nil)
	must(t, err)
	if again, err := s.DefaultNetwork(t.Context(), alice, nil); again != d || err != nil {
		t.Errorf("again: %+v, %v", again, err)
	}
	for reference, want := range map[string]string{
		"net": n.ID, "net._.1001": n.ID, n.ID: n.ID, n.ID[:12]: n.ID, "bridge": d.ID, "default": d.ID, "default._.1001": d.ID,
	} {
		if got, err := s.Network(alice, reference); got.ID != want || err != nil {
			t.Errorf("%s: %+v, %v", reference, got, err)
		}
		_, err := s.Network(bob, reference)
		wantKind(t, err, problem.ErrNotFound, "not found")
	}
	if got, err := s.AnyNetwork(bob, "net._.1001"); got.ID != n.ID || err != nil {
		t.Errorf("an administrator: %+v, %v", got, err)
	}
	_, err = s.AnyNetwork(bob, "net")
	wantKind(t, err, problem.ErrNotFound, "")
	_, err = s.CreateNetwork(t.Context(), alice, "net", network.Spec{})
	wantKind(t, err, problem.ErrConflict, "already")
	s.config.Networks.PerPerson = 1
	_, err = s.CreateNetwork(t.Context(), alice, "more", network.Spec{})
	wantKind(t, err, problem.ErrLimit, "you have 1 networks, the limit is 1")
	s.served = false
	_, err = s.CreateNetwork(t.Context(), bob, "net", network.Spec{})
	wantKind(t, err, problem.ErrDenied, "runs without networks")
}

func TestSubnetsMeetNobodyElses(t *testing.T) {
	s := newScene(t)
	s.config.Networks = config.Networks{Pool: "10.192.0.0/24", Size: 26, PerPerson: 9}
	s.routes = []netip.Prefix{netip.MustParsePrefix("10.192.0.5/32")}
	_, err := s.engine.CreateNetwork(t.Context(), network.Spec{Name: "foreign", Subnet: netip.MustParsePrefix("10.192.0.64/27")})
	must(t, err)
	for i, want := range []string{"10.192.0.128/26", "10.192.0.192/26"} {
		if n, err := s.CreateNetwork(t.Context(), alice, fmt.Sprint("net", i), network.Spec{}); n.Subnet.String() != want || err != nil {
			t.Errorf("got %v, %v, want %s", n.Subnet, err, want)
		}
	}
	_, err = s.DefaultNetwork(t.Context(), bob, nil)
	wantKind(t, err, problem.ErrExhausted, "10.192.0.0/24")
	if _, known := s.NetworkAt("default._.1002"); known {
		t.Error("it is on record")
	}
}

func TestManyAtOnceGetOneDefaultNetworkEach(t *testing.T) {
	s := newScene(t)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			if _, err := s.DefaultNetwork(context.Background(), alice+i%4, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := map[netip.Prefix]bool{}
	listed, err := s.engine.Networks(t.Context())
	must(t, err)
	for _, n := range listed {
		if seen[n.Subnets[0]] {
			t.Errorf("%v twice", n.Subnets[0])
		}
		seen[n.Subnets[0]] = true
	}
	if len(listed) != 4 {
		t.Errorf("%d networks", len(listed))
	}
}

func TestARangeOfPortsStaysItsOwners(t *testing.T) {
	s := newScene(t)
	s.config.Ports = config.Ports{Range: "20000-20029", PerPerson: 10, Addresses: []string{"127.0.0.1"}}
	seen := map[string]int{}
	for _, uid := range []int{alice, bob, 1003, alice} {
		p, err := s.PortPolicy(t.Context(), uid)
		must(t, err)
		if other, taken := seen[p.Own.String()]; taken && other != uid {
			t.Errorf("%d and %d have %s", uid, other, p.Own)
		}
		seen[p.Own.String()] = uid
	}
	if len(seen) != 3 {
		t.Errorf("got %v", seen)
	}
	_, err := s.PortPolicy(t.Context(), 1004)
	wantKind(t, err, problem.ErrExhausted, "none is left")
	s.restart(t)
	p, err := s.PortPolicy(t.Context(), bob)
	if seen[p.Own.String()] != bob || err != nil {
		t.Errorf("after a restart bob has %v, %v", p.Own, err)
	}
}
