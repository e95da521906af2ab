package launcher_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/launcher"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// live is what running containers may open.
type live struct {
	impossible error
	may        map[string]bool
	openers    []launcher.Opener
	looked     []gpu.Node        // for which nodes the person's containers were looked through
	refuses    error             // what Allow answers
	lost       map[string]string // by node: "rule" or "node", which something took away
	restored   []string
}

func (l *live) Lost(_ int, _ container.Observed, n gpu.Node) (rule, shown bool, err error) {
	return l.lost[n.Name] == "rule", l.lost[n.Name] == "node", nil
}

func (l *live) Restore(_ context.Context, _ int, _ container.Observed, n gpu.Node) error {
	if l.refuses == nil {
		l.restored = append(l.restored, n.Name)
	}
	return l.refuses
}

func (l *live) Possible() error { return l.impossible }

func (l *live) Allow(_ context.Context, _ int, _ container.Observed, n gpu.Node) error {
	if l.refuses == nil {
		l.may[n.Name] = true
	}
	return l.refuses
}

func (l *live) Deny(_ context.Context, _ int, _ container.Observed, n gpu.Node) error {
	delete(l.may, n.Name)
	return nil
}

func (*live) Hide(int, container.Observed, gpu.Node) error { return nil }

func (l *live) Openers(_ int, id string, nodes []gpu.Node) ([]launcher.Opener, error) {
	if id == "" {
		l.looked = nodes
	}
	return l.openers, nil
}

func (l *live) EndOpeners(context.Context, int, string, []gpu.Node) error {
	l.openers = nil
	return nil
}

// runningWith is alice's container with as many of two MIG instances of one card.
func runningWith(t *testing.T, n int) (*scene, container.Record) {
	t.Helper()
	s := newScene(t, admission.UserNS)
	s.atStart = true
	s.Roles = func(account.Account) account.Roles { return account.Roles{Docker: true, GPU: true} }
	s.bound.MaxDevices, s.bound.MaxGPUsPerContainer = quantity.To(2), quantity.To(2)
	for i := range 2 {
		s.devices = append(s.devices, gpu.Device{
			UUID: fmt.Sprint("MIG-", i), Slot: fmt.Sprint("0.", i), Instance: i, Profile: "1g.10gb", Share: quantity.ShareOf(1, 7),
			Nodes: []gpu.Node{{Name: fmt.Sprint("cap", i), Major: 235, Minor: uint32(i)}, {Name: "nvidia0", Major: 195}},
		})
	}
	want := request()
	want.Body.HostConfig.DeviceRequests[0].Count = n
	r := s.create(t, want)
	if err := s.Start(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		s.live.may[fmt.Sprint("cap", i)], s.live.may["nvidia0"] = true, true
	}
	return s, s.record(t, r.ID)
}

// has checks what a container holds, may open, is given and asks for.
func (s *scene) has(t *testing.T, claim, asked string, uuids ...string) {
	t.Helper()
	r := s.record(t, claim)
	var held, nodes []string
	for _, d := range r.Devices {
		held = append(held, d.UUID)
		nodes = append(nodes, strings.Replace(d.UUID, "MIG-", "cap", 1))
	}
	if len(uuids) > 0 {
		nodes = append(nodes, "nvidia0")
	}
	may := []string{}
	for n := range s.live.may {
		may = append(may, n)
	}
	slices.Sort(may)
	if !slices.Equal(held, uuids) || !slices.Equal(may, nodes) || !slices.Equal(s.grants[r.ContainerID], uuids) || r.Asked != asked {
		t.Errorf("holds %v, may open %v, is given %v, asks for %q; want %v, %q", held, may, s.grants[r.ContainerID], r.Asked, uuids, asked)
	}
}

func TestWhatSomethingTookFromARunningContainerIsGivenBack(t *testing.T) {
	s, r := runningWith(t, 1)
	o := container.Observed{ID: r.ContainerID, State: "running"}
	wantLost := func(when string, want ...string) {
		t.Helper()
		if got, err := s.LostDevices(r, o); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: lost %v, %v; want %v", when, got, err, want)
		}
	}
	wantLost("at first")
	s.live.lost = map[string]string{"cap0": "rule", "nvidia0": "node", "cap1": "rule"} // it hasn't got the last
	wantLost("taken away", "cap0", "nvidia0")
	delete(s.live.may, "nvidia0")
	if err := s.MendDevices(t.Context(), r, o); err != nil || !slices.Equal(s.live.restored, []string{"cap0"}) || !s.live.may["nvidia0"] {
		t.Errorf("%v: the rule of %v is back, may open %v", err, s.live.restored, s.live.may)
	}
	s.live.refuses = errors.New("no")
	if err := s.MendDevices(t.Context(), r, o); err == nil {
		t.Error("a refusal is none")
	}
	o.State = "paused"
	wantLost("while it is paused")
}

func TestARunningContainerGetsADevice(t *testing.T) {
	s, r := runningWith(t, 1)
	if err := s.AddDevices(t.Context(), r.ID, gpu.Request{Count: 1}); err != nil {
		t.Fatal(err)
	}
	s.has(t, r.ID, "2", "MIG-0", "MIG-1")
	if err := s.AddDevices(t.Context(), r.ID, gpu.Request{Count: 1}); !errors.Is(err, problem.ErrLimit) {
		t.Errorf("over the limit: %v", err)
	}
	s.has(t, r.ID, "2", "MIG-0", "MIG-1")
}

func TestADeviceThatCantBeOpenedIsGivenBack(t *testing.T) {
	s, r := runningWith(t, 1)
	s.live.refuses = errors.New("no such group")
	if err := s.AddDevices(t.Context(), r.ID, gpu.Request{Count: 1}); !errors.Is(err, s.live.refuses) {
		t.Fatalf("got %v", err)
	}
	s.has(t, r.ID, "1", "MIG-0")
}

func TestARunningContainerGivesADeviceUp(t *testing.T) {
	s, r := runningWith(t, 2)
	s.live.openers = []launcher.Opener{{PID: 42, Name: "python"}}
	err := s.ReleaseDevices(t.Context(), r.ID, []string{"0.1"}, false)
	if !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), "python (process 42)") {
		t.Errorf("open: %v", err)
	}
	s.has(t, r.ID, "2", "MIG-0", "MIG-1")
	if err := s.ReleaseDevices(t.Context(), r.ID, []string{"0.1"}, true); err != nil {
		t.Fatal(err)
	}
	s.has(t, r.ID, "1", "MIG-0") // and the card's own node, which both need
	if err := s.ReleaseDevices(t.Context(), r.ID, []string{"0.1"}, true); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("twice: %v", err)
	}
	if err := s.ReleaseDevices(t.Context(), r.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	s.has(t, r.ID, "")
}

func TestWhatAnotherContainerHasOpenByRightIsLeftAlone(t *testing.T) {
	s, r := runningWith(t, 1)
	second := request()
	second.Name = "other"
	s.create(t, second) // with the other instance of the card
	if err := s.ReleaseDevices(t.Context(), r.ID, nil, false); err != nil {
		t.Fatal(err)
	}
	if len(s.live.looked) != 1 || s.live.looked[0].Name != "cap0" {
		t.Errorf("the other container was looked through for %v", s.live.looked)
	}
}

func TestDevicesOfWhatRunsChangeOnlyWhereTheyCan(t *testing.T) {
	s, r := runningWith(t, 1)
	s.live.impossible = problem.Because(problem.ErrUnavailable, "the kernel lets it load no program")
	if err := s.ReleaseDevices(t.Context(), r.ID, nil, true); !errors.Is(err, problem.ErrUnavailable) || !strings.Contains(err.Error(), "no program") {
		t.Errorf("got %v", err)
	}
	s.has(t, r.ID, "1", "MIG-0")
	s.engine.Exit(r.ContainerID, 0)
	if err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State = gpu.Held }); err != nil {
		t.Fatal(err)
	}
	if err := s.AddDevices(t.Context(), r.ID, gpu.Request{Count: 1}); err != nil {
		t.Fatal(err)
	}
	if got := s.record(t, r.ID); len(got.Devices) != 2 || got.Asked != "2" {
		t.Errorf("stopped, it holds %v and asks for %s", got.Devices, got.Asked)
	}
	if err := s.Ledger.Update(t.Context(), r.ID, func(c *container.Record) { c.State = gpu.Released }); err != nil {
		t.Fatal(err)
	}
	if err := s.ReleaseDevices(t.Context(), r.ID, []string{"0.0"}, false); err != nil {
		t.Fatal(err)
	}
	if got := s.record(t, r.ID); got.State != gpu.Released || got.Asked != "1" {
		t.Errorf("released, it asks for %q", got.Asked)
	}
}

func TestWhatWasHalfChangedIsFinished(t *testing.T) {
	s, r := runningWith(t, 2)
	s.grants[r.ContainerID] = []string{"MIG-0"}
	delete(s.live.may, "cap1")
	o, err := s.engine.Inspect(t.Context(), r.ContainerID)
	if err == nil {
		err = s.SettleDevices(t.Context(), r, o)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.has(t, r.ID, "2", "MIG-0", "MIG-1")
}

func TestDevicesThatAreForGoodDontChange(t *testing.T) {
	s := newScene(t, admission.UserNS)
	r := s.create(t, request())
	if err := s.ReleaseDevices(t.Context(), r.ID, nil, false); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("got %v", err)
	}
}
