package admission_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gpu"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

const tight = `
defaults:
  memory: 2g
  memory_swap: 3g
  shm_size: 1g
  max_cpus: 2
  pids_limit: 256
  ulimit_nofile: 4096
  stop_timeout: 10s
  aggregate: {cpus: 4}
`

func alice() account.Account {
	return account.Account{
		UID: 1001, GID: 1001, Name: "alice", Home: "/home/alice",
		Groups: []account.Group{{GID: 1001, Name: "alice"}, {GID: 2000, Name: "vision"}},
	}
}

// subject is alice under tight limits.
func subject(t testing.TB, isolation admission.Isolation) admission.Subject {
	t.Helper()
	doc, _, err := limits.Decode(limits.File{Name: "resource-limits.yaml", Data: []byte(tight)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)
	return admission.Subject{Account: alice(), Limits: doc.Resolve(alice(), now), Isolation: isolation}
}

func ours() map[string]string {
	return map[string]string{
		label.Managed: "true", label.UID: "1001", label.Interface: "docker", label.Claim: "0123456789abcdef",
	}
}

func devices() []gpu.Device {
	node := func(name string, minor uint32) gpu.Node { return gpu.Node{Name: name, Major: 120, Minor: minor} }
	return []gpu.Device{
		{UUID: "GPU-a", Slot: "0", Share: quantity.FullGPU, Nodes: []gpu.Node{node("nvidia0", 0), node("nvidiactl", 255)}},
		{UUID: "GPU-b", Slot: "1", Card: 1, Share: quantity.FullGPU, Nodes: []gpu.Node{node("nvidia1", 1), node("nvidiactl", 255)}},
	}
}

// grant gives c the mounts it asks for, where ds01 would put them.
func grant(ask admission.Ask) admission.Grant {
	g := admission.Grant{Labels: ours(), Libraries: admission.LibrariesNone, NodeFolder: "/run/ds01/dev", CgroupParent: "/ds01/u1001"}
	for i, m := range ask.Mounts {
		g.Mounts = append(g.Mounts, container.Mount{
			Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, HostPath: filepath.Join("/run/ds01/mnt/c", string(rune('0'+i%10))),
		})
	}
	for _, v := range ask.Volumes {
		granted := admission.VolumeGrant{VolumeAsk: v}
		if v.Name != "" {
			granted.EngineName = v.Name + "._.1001"
		}
		g.Volumes = append(g.Volumes, granted)
	}
	for _, name := range ask.Network.Names {
		g.Networks.Mode = "default._.1001"
		g.Networks.Endpoints = map[string][]string{"default._.1001": append(ask.Network.Aliases[name], "web")}
	}
	return g
}

// review takes a body all the way, as the launcher does.
func review(t testing.TB, isolation admission.Isolation, body string) (admission.Create, error) {
	t.Helper()
	c, err := admission.DecodeCreate([]byte(body))
	if err != nil {
		return admission.Create{}, err
	}
	ask, err := c.Ask()
	if err != nil {
		return admission.Create{}, err
	}
	return admission.Review(c, subject(t, isolation), grant(ask))
}

func mustReview(t testing.TB, isolation admission.Isolation, body string) admission.Create {
	t.Helper()
	c, err := review(t, isolation, body)
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return c
}

func encode(t testing.TB, v any) string {
	t.Helper()
	data, err := admission.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// wantProblem wants an error of a kind that says what it must and what to do
// next.
func wantProblem(t testing.TB, err, kind error, says string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("got %v, want one of kind %q", err, kind)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("%q doesn't say %q", err, says)
	}
	if p, ok := errors.AsType[*problem.Error](err); !ok || p.What == "" || p.Next == "" {
		t.Errorf("%q doesn't say what failed and what to do next", err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// both runs a test in both isolation modes.
func both(t *testing.T, test func(*testing.T, admission.Isolation)) {
	t.Helper()
	for _, mode := range []admission.Isolation{admission.UserNS, admission.UID} {
		t.Run(string(mode), func(t *testing.T) { test(t, mode) })
	}
}
