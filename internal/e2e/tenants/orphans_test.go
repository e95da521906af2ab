package tenants_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/event"
)

// TestOrphansAreFoundAndTakenAway plants one of each kind that can be left over
// beside what alice has in use.
func TestOrphansAreFoundAndTakenAway(t *testing.T) {
	l := start(t, lab.Options{AtStart: true, NetNS: true, Users: []string{"alice", "bob"}})
	data := filepath.Join(l.Home("alice"), "data")
	l.OK("alice", "mkdir", data)
	l.OK("alice", "docker", "network", "create", "lab")
	l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "--network", "lab", "-v", data+":/data", "-v", "files:/files", "busybox", "sleep", "1000")
	if left := leftOver(t, l, "root"); len(left) > 0 {
		t.Fatalf("before anything is: %+v", left)
	}

	askedForIsLeftAlone(t, l)
	plants := plant(t, l)
	safe, unsafe := plants(true), plants(false)
	if got := names(leftOver(t, l, "root")); !slices.Equal(got, slices.Sorted(slices.Values(append(slices.Clone(safe), unsafe...)))) {
		t.Errorf("an administrator sees\n%s\nwant\n%s\n%s", strings.Join(got, "\n"), strings.Join(safe, "\n"), strings.Join(unsafe, "\n"))
	}
	for _, o := range leftOver(t, l, "alice") {
		if o.UID != l.UID("alice") {
			t.Errorf("alice sees %+v", o)
		}
	}
	if got := names(leftOver(t, l, "bob")); !slices.Equal(got, []string{"network " + l.EngineName("bob", "used")}) {
		t.Errorf("bob sees %q", got)
	}
	if r := l.DS01("alice", "doctor", "--fix", "--yes"); r.Code != 5 {
		t.Errorf("alice takes things away: %+v", r)
	}
	if r := l.DS01("root", "doctor", "--fix"); r.Code != 2 || len(leftOver(t, l, "root")) != len(safe)+len(unsafe) {
		t.Errorf("without anybody to ask: %+v", r)
	}

	before := len(events(t, l))
	if r := l.DS01("root", "doctor", "--fix", "--yes"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if got := names(leftOver(t, l, "root")); !slices.Equal(got, slices.Sorted(slices.Values(unsafe))) {
		t.Errorf("left over are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(unsafe, "\n"))
	}
	var written []string
	for _, e := range since(t, l, before) {
		if e.Action == "take away" && e.Door == event.Daemon && strings.HasPrefix(e.Why, "asked for by root: ") {
			written = append(written, e.Object)
		}
	}
	if slices.Sort(written); !slices.Equal(written, slices.Sorted(slices.Values(safe))) {
		t.Errorf("written down are %q", written)
	}
	l.OK("alice", "docker", "exec", "web", "sh", "-c", "touch /data/a /files/b")
	if r := l.Docker("alice", "exec", "web", "sh", "-c", "exec 3<>/dev/nvidia0"); !strings.Contains(r.Out+r.Err, mayOpen) {
		t.Errorf("alice's card: %+v", r)
	}
	for _, o := range unsafe {
		if kind, name, _ := strings.Cut(o, " "); kind == "volume" {
			l.AtEngine("volume", "rm", name)
		}
	}
	l.AtEngine("rm", "past", l.EngineName("alice", "prepared"))
	l.AtEngine("network", "rm", l.EngineName("bob", "used"))
	l.AtEngine("image", "rm", "busybox:"+l.EngineName("alice", "made"))
	l.ClearAll()
	l.OK("alice", "docker", "network", "rm", "lab")
}

// askedForIsLeftAlone has root ask for what alice uses, past the command.
func askedForIsLeftAlone(t *testing.T, l *lab.Lab) {
	t.Helper()
	mounts, err := filepath.Glob(filepath.Join(l.Root, "run/ds01/mnt/*/0"))
	if err != nil || len(mounts) != 1 {
		t.Fatalf("alice's mounts: %v, %v", mounts, err)
	}
	claim := filepath.Base(filepath.Dir(mounts[0]))
	var want []string
	for kind, object := range map[string]string{
		"mount": claim + "/0", "claim": claim, "network": l.EngineName("alice", "lab"), "volume record": l.EngineName("alice", "files"),
		"control group": fmt.Sprintf("u%d", l.UID("alice")),
	} {
		want = append(want, fmt.Sprintf(`{"kind": %q, "object": %q, "uid": -1, "why": ""}`, kind, object))
	}
	body := `{"orphans": [` + strings.Join(want, ",") + `]}`
	said := l.OK("root", "curl", "-s", "--unix-socket", filepath.Join(l.Root, "run/ds01/ds01.sock"), "-d", body, "http://ds01/v1/doctor/fix")
	if n := strings.Count(said, "isn't left over any more"); n != len(want) {
		t.Errorf("of %d things that alice uses %d are left alone: %s", len(want), n, said)
	}
}

// plant leaves something of each kind and returns their names: of those that are
// safe to be taken away, and of the others.
func plant(t *testing.T, l *lab.Lab) func(safe bool) []string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const claim = "deadbeefdeadbeef"
	gone := strings.Repeat("ab", 32)
	at := func(parts ...string) string { return filepath.Join(append([]string{l.Root, "run/ds01"}, parts...)...) }

	must(os.MkdirAll(at("mnt", claim, "0"), 0o700))
	must(syscall.Mount(l.Home("alice"), at("mnt", claim, "0"), "", syscall.MS_BIND, ""))
	must(os.WriteFile(at("dev/given", gone+".json"), []byte(`{"nodes":[],"uuids":[]}`), 0o600))
	must(os.WriteFile(at("doors", claim), nil, 0o600))
	hers := fmt.Sprintf("u%d", l.UID("alice"))
	busy := strings.Repeat("cd", 32)
	levels := []string{hers + "/" + gone, hers + "/narrow_1_2_3", "u3999999999", hers + "/" + busy}
	for _, level := range levels {
		for _, controller := range []string{"memory", "devices", "pids"} {
			must(os.MkdirAll(filepath.Join("/sys/fs/cgroup", controller, l.Engine.CgroupParent(), "people", level), 0o755))
		}
	}
	busyGroup := filepath.Join("/sys/fs/cgroup/pids", l.Engine.CgroupParent(), "people", hers, busy)
	sleeper := exec.Command("sleep", "1000")
	must(sleeper.Start())
	must(os.WriteFile(filepath.Join(busyGroup, "cgroup.procs"), fmt.Append(nil, sleeper.Process.Pid), 0o600))
	t.Cleanup(func() {
		_ = sleeper.Process.Kill()
		_ = sleeper.Wait()
		for _, controller := range []string{"memory", "devices", "pids"} {
			_ = os.Remove(filepath.Join("/sys/fs/cgroup", controller, l.Engine.CgroupParent(), "people", hers, busy)) // gone where the test failed early
		}
	})
	l.AtEngine("network", "create", l.EngineName("alice", "old"))
	l.AtEngine("network", "create", l.EngineName("bob", "used"))
	l.AtEngine("create", "--name", "past", "--network", l.EngineName("bob", "used"), "busybox")
	l.AtEngine("volume", "create", l.EngineName("alice", "old"))
	l.AtEngine("create", "--name", l.EngineName("alice", "prepared"), "busybox")
	l.AtEngine("tag", "busybox", "busybox:"+l.EngineName("alice", "made"))
	l.Eventually("what was made past ds01 is known", l.Patience(10e9), func() bool {
		return strings.Count(l.DS01("root", "container", "list", "--all-users").Out, "quarantined") >= 2
	})
	return func(safe bool) []string {
		if safe {
			return []string{
				"device grant " + gone, "mount " + claim + "/0", "door " + claim, "control group " + levels[0], "control group " + levels[1],
				"control group " + levels[2], "network " + l.EngineName("alice", "old"),
			}
		}
		return []string{
			"control group " + levels[3], "network " + l.EngineName("bob", "used"), "volume " + l.EngineName("alice", "old"),
			"container " + l.EngineName("alice", "prepared"), "image busybox:" + l.EngineName("alice", "made"),
		}
	}
}

// leftOver returns what doctor tells somebody of.
func leftOver(t *testing.T, l *lab.Lab, who string) []apitype.Orphan {
	t.Helper()
	var d apitype.Doctor
	r := l.DS01(who, "doctor", "--json")
	if err := json.Unmarshal([]byte(r.Out), &d); err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	return d.Orphans
}

func names(orphans []apitype.Orphan) []string {
	all := make([]string, len(orphans))
	for i, o := range orphans {
		all[i] = o.Kind + " " + o.Object
	}
	slices.Sort(all)
	return all
}
