package systemd

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAUnitIsToldAsItIs(t *testing.T) {
	f, c := fake()
	f.units["docker.service"] = map[string]any{
		"LoadState": "loaded", "ActiveState": "active", "MainPID": uint32(62), "KillMode": "process",
		"ExecStart":  [][]any{{"/usr/sbin/dockerd", []string{"/usr/sbin/dockerd", "-H", "fd://"}, false}},
		"RequiredBy": []string{"web.service"}, "BoundBy": []string{"web.service", "job.service"}, "ConsistsOf": []string{},
	}
	f.units["docker.socket"] = map[string]any{
		"LoadState": "loaded", "ActiveState": "failed", "Listen": [][]any{{"Stream", "/run/docker.sock"}},
	}
	for name, want := range map[string]Unit{
		"docker.service": {
			Loaded: true, Active: true, MainPID: 62, KillMode: "process", Command: []string{"/usr/sbin/dockerd", "-H", "fd://"},
			Needs: []string{"web.service", "job.service"},
		},
		"docker.socket": {Loaded: true, Listens: []string{"/run/docker.sock"}},
		"none.service":  {},
	} {
		got, err := c.Unit(t.Context(), name)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	f.dies = true
	if _, err := c.Unit(t.Context(), "docker.service"); err == nil {
		t.Error("a connection that dies is no error")
	}
}

func TestUnitsAreStartedStoppedAndRead(t *testing.T) {
	f, c := fake()
	f.units["a.service"] = map[string]any{}
	for name, one := range map[string]struct {
		do    func() error
		calls []string
	}{
		"started":           {func() error { return c.Start(t.Context(), "a.service") }, []string{"reset", "start"}},
		"stopped":           {func() error { return c.Stop(t.Context(), "a.service") }, []string{"stop"}},
		"reloaded":          {func() error { return c.Reread(t.Context(), "a.service") }, []string{"reload"}},
		"stopped, unknown":  {func() error { return c.Stop(t.Context(), "b.service") }, nil},
		"unit files' reads": {func() error { return c.ReadUnits(t.Context()) }, []string{"read"}},
	} {
		f.calls = nil
		if err := one.do(); err != nil || !slices.Equal(f.calls, one.calls) {
			t.Errorf("%s: %v, %v", name, f.calls, err)
		}
	}
	f.result = "failed"
	if err := c.Start(t.Context(), "a.service"); err == nil {
		t.Error("a start that failed is no error")
	}
}
