package systemd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// fakeSystemd keeps units as systemd does: one that is known, but not active,
// can't be made again.
type fakeSystemd struct {
	units  map[string]map[string]any
	calls  []string
	gone   bool   // the connection has ended
	dies   bool   // it will at the next call
	result string // how jobs end
}

var errGone = errors.New("use of closed connection")

func (f *fakeSystemd) GetAllPropertiesContext(_ context.Context, unit string) (map[string]any, error) {
	if f.gone = f.gone || f.dies; f.gone {
		return nil, errGone
	}
	if u, ok := f.units[unit]; ok {
		return maps.Clone(u), nil
	}
	return map[string]any{"ActiveState": "inactive"}, nil
}

func (f *fakeSystemd) change(unit string, properties []dbus.Property) {
	for _, p := range properties {
		f.units[unit][p.Name] = p.Value.Value()
	}
}

func (f *fakeSystemd) SetUnitPropertiesContext(_ context.Context, name string, _ bool, properties ...dbus.Property) error {
	f.calls = append(f.calls, "set")
	f.change(name, properties)
	return nil
}

func (f *fakeSystemd) StartTransientUnitContext(_ context.Context, name, _ string, properties []dbus.Property, ch chan<- string) (int, error) {
	f.calls = append(f.calls, "make")
	if _, known := f.units[name]; known {
		return 0, godbus.Error{Name: "org.freedesktop.systemd1.UnitExists"}
	}
	f.units[name] = map[string]any{}
	f.change(name, properties)
	f.calls = f.calls[:len(f.calls)-1]
	return f.job(name, "make", ch)
}

func (f *fakeSystemd) StartUnitContext(_ context.Context, name, _ string, ch chan<- string) (int, error) {
	return f.job(name, "start", ch)
}

func (f *fakeSystemd) StopUnitContext(_ context.Context, name, _ string, ch chan<- string) (int, error) {
	if _, known := f.units[name]; !known {
		return 0, godbus.Error{Name: "org.freedesktop.systemd1.NoSuchUnit"}
	}
	return f.job(name, "stop", ch)
}

func (f *fakeSystemd) ReloadUnitContext(_ context.Context, name, _ string, ch chan<- string) (int, error) {
	return f.job(name, "reload", ch)
}

func (f *fakeSystemd) ResetFailedUnitContext(context.Context, string) error {
	f.calls = append(f.calls, "reset")
	return nil
}

func (f *fakeSystemd) ReloadContext(context.Context) error {
	f.calls = append(f.calls, "read")
	return nil
}

func (f *fakeSystemd) job(name, call string, ch chan<- string) (int, error) {
	f.calls = append(f.calls, call)
	f.units[name]["ActiveState"] = "active"
	ch <- f.result
	return 1, nil
}

func (f *fakeSystemd) Connected() bool { return !f.gone }
func (f *fakeSystemd) Close()          { f.gone = true }

func fake() (*fakeSystemd, *Connection) {
	f := &fakeSystemd{units: map[string]map[string]any{}, result: "done"}
	return f, &Connection{dial: func(context.Context) (bus, error) { return f, nil }}
}

func some() Limits {
	return Limits{
		CPUs: quantity.To(quantity.CPUs(1_500_000_000)), Memory: quantity.To(quantity.ByteSize(32 << 30)),
		MemoryHigh: quantity.To(quantity.ByteSize(30 << 30)), Tasks: quantity.To(int64(4096)),
	}
}

func TestLimitsInSystemdsWords(t *testing.T) {
	accounting := map[string]any{"CPUAccounting": true, "MemoryAccounting": true, "TasksAccounting": true}
	const infinity = uint64(math.MaxUint64)
	for name, c := range map[string]struct {
		limits Limits
		want   map[string]any
	}{
		"each of them": {some(), map[string]any{
			"CPUQuotaPerSecUSec": uint64(1_500_000), "MemoryMax": uint64(32 << 30), "MemoryHigh": uint64(30 << 30),
			"MemorySwapMax": uint64(0), "TasksMax": uint64(4096),
		}},
		"none": {Limits{quantity.None[quantity.CPUs](), quantity.None[quantity.ByteSize](), quantity.None[quantity.ByteSize](), quantity.None[int64]()}, map[string]any{
			"CPUQuotaPerSecUSec": infinity, "MemoryMax": infinity, "MemoryHigh": infinity, "MemorySwapMax": infinity, "TasksMax": infinity,
		}},
		"nothing at all, which systemd doesn't take": {Limits{}, map[string]any{
			"CPUQuotaPerSecUSec": uint64(1), "MemoryMax": uint64(1), "MemoryHigh": uint64(1), "MemorySwapMax": uint64(0), "TasksMax": uint64(1),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f, conn := fake()
			if err := conn.Ensure(context.Background(), "ds01-u1001.slice", c.limits); err != nil {
				t.Fatal(err)
			}
			got := f.units["ds01-u1001.slice"]
			delete(got, "Description")
			delete(got, "ActiveState")
			maps.Copy(c.want, accounting)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSystemdIsToldOnlyWhatChanges(t *testing.T) {
	f, conn := fake()
	ensure := func(l Limits, want ...string) {
		t.Helper()
		f.calls = nil
		if err := conn.Ensure(context.Background(), "ds01-u1001.slice", l); err != nil || !slices.Equal(f.calls, want) {
			t.Errorf("calls %q, %v; want %q", f.calls, err, want)
		}
	}
	ensure(some(), "make")
	ensure(some())
	lower := some()
	lower.Memory = quantity.To(quantity.ByteSize(1 << 30))
	ensure(lower, "set")
	if got := f.units["ds01-u1001.slice"]["MemoryMax"]; got != uint64(1<<30) {
		t.Errorf("memory is %v", got)
	}
	ensure(lower)
	// An administrator changes it by hand, and stops it.
	f.units["ds01-u1001.slice"]["TasksMax"] = uint64(math.MaxUint64)
	ensure(lower, "set")
	f.units["ds01-u1001.slice"]["ActiveState"] = "inactive"
	ensure(lower, "make", "set", "start")
	ensure(lower)
}

func TestAStartThatFailsIsAnError(t *testing.T) {
	f, conn := fake()
	f.result = "failed"
	if err := conn.Ensure(context.Background(), "ds01-u1001.slice", some()); err == nil || !strings.Contains(err.Error(), "failed") {
		t.Errorf("%v", err)
	}
}

func TestALostConnectionIsMadeAgain(t *testing.T) {
	var all []*fakeSystemd
	conn := &Connection{dial: func(context.Context) (bus, error) {
		f, _ := fake()
		all = append(all, f)
		return f, nil
	}}
	ctx := context.Background()
	for i := range 4 {
		if err := conn.Ensure(ctx, "ds01-u1001.slice", some()); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			all[len(all)-1].gone = true
		} else {
			all[len(all)-1].dies = true
		}
	}
	if len(all) != 4 {
		t.Errorf("connected %d times, want 4", len(all))
	}
	if err := errors.Join(conn.Close(), conn.Close()); err != nil {
		t.Error(err)
	}
}

func TestWithoutSystemdItIsUnavailable(t *testing.T) {
	conn := &Connection{dial: func(context.Context) (bus, error) { return nil, errGone }}
	if err := conn.Ensure(context.Background(), "ds01-u1001.slice", some()); !errors.Is(err, problem.ErrUnavailable) {
		t.Errorf("%v, want kind ErrUnavailable", err)
	}
}

func TestAPersonsSliceLiesInItsParentByItsName(t *testing.T) {
	if got := Slice("ds01.slice", 1001); got != "ds01-u1001.slice" {
		t.Error(got)
	}
	if got := Within("ds01-u1001.slice", "narrow_1"); got != "ds01-u1001-narrow_1.slice" {
		t.Error(got)
	}
}

func TestAllowingADeviceIsKeptBySystemd(t *testing.T) {
	f, conn := fake()
	f.units["docker-abc.scope"] = map[string]any{}
	if err := conn.AllowDevice(t.Context(), "docker-abc.scope", 195, 3); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%+v", f.units["docker-abc.scope"]["DeviceAllow"]); got != "[{Path:/dev/char/195:3 Rights:rw}]" {
		t.Errorf("systemd is told %s", got)
	}
}

func TestADeviceIsTakenFromThoseThatSystemdAllows(t *testing.T) {
	f, conn := fake()
	f.units["docker-abc.scope"] = map[string]any{"DeviceAllow": [][]any{{"/dev/char/195:3", "rw"}, {"char-pts", "rwm"}, {"/dev/char/195:30", "rw"}}}
	for range 2 { // once more is no more
		if err := conn.DenyDevice(t.Context(), "docker-abc.scope", 195, 3); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprintf("%+v", f.units["docker-abc.scope"]["DeviceAllow"]); got != "[{Path:char-pts Rights:rwm} {Path:/dev/char/195:30 Rights:rw}]" || len(f.calls) != 1 {
		t.Errorf("systemd is told %s in %v", got, f.calls)
	}
}
