package admission_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// storedAs returns the engine's inspection of a container that was made of a
// reviewed request, with changes to its HostConfig.
func storedAs(t testing.TB, c admission.Create, changes map[string]any) admission.Stored {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(encode(t, c)), &body); err != nil {
		t.Fatal(err)
	}
	host := map[string]any{
		"NetworkMode": "default", "IpcMode": "private", "ShmSize": 64 << 20, "Runtime": "runc", "ConsoleSize": []int{0, 0},
		"MemorySwappiness": nil, "OomKillDisable": false, "Binds": nil, "PortBindings": map[string]any{}, "Isolation": "",
		"MaskedPaths":   []string{"/proc/asound", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"},
		"ReadonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	if made, ok := body["HostConfig"].(map[string]any); ok {
		maps.Copy(host, made)
	}
	maps.Copy(host, changes)
	data, err := json.Marshal(map[string]any{"Id": "x", "Config": map[string]any{"User": body["User"]}, "HostConfig": host})
	if err != nil {
		t.Fatal(err)
	}
	st, err := admission.DecodeStored(data)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// made is a container with a GPU, a directory and a tmpfs, and what was granted
// to it.
func made(t testing.TB, mode admission.Isolation) (admission.Create, admission.Grant) {
	t.Helper()
	c, err := admission.DecodeCreate([]byte(host(`"Binds":["/home/alice/w:/w:ro"],"Tmpfs":{"/t":"size=1m"},"GroupAdd":["2000"]`)))
	if err != nil {
		t.Fatal(err)
	}
	ask, err := c.Ask()
	if err != nil {
		t.Fatal(err)
	}
	g := grant(ask)
	g.Devices = devices()[:1]
	reviewed, err := admission.Review(c, subject(t, mode), g)
	if err != nil {
		t.Fatal(err)
	}
	return reviewed, g
}

func TestWhatWasMadeWithinTheRulesMayStart(t *testing.T) {
	both(t, func(t *testing.T, mode admission.Isolation) {
		c, g := made(t, mode)
		for name, changes := range map[string]map[string]any{
			"as it was made":                     nil,
			"by an engine that hides by default": {"MaskedPaths": nil, "ReadonlyPaths": nil},
			"by an engine with more to say":      {"Future": "", "Sysctls": map[string]any{}, "MemorySwappiness": -1},
		} {
			if u, err := storedAs(t, c, changes).Check(subject(t, mode), g); err != nil || !u.Empty() {
				t.Errorf("%s: %+v, %v", name, u, err)
			}
		}
		g.Runtime = "crun"
		if _, err := storedAs(t, c, map[string]any{"Runtime": "crun"}).Check(subject(t, mode), g); err != nil {
			t.Errorf("the engine's own runtime: %v", err)
		}
	})
}

func TestWhatNobodyMayHaveIsNotStarted(t *testing.T) {
	bindMount := func(source, target string) map[string]any {
		return map[string]any{"Type": "bind", "Source": source, "Target": target}
	}
	for field, values := range map[string][]any{
		"Privileged": {true}, "CapAdd": {[]string{"SYS_ADMIN"}}, "PidMode": {"host", "container:x"}, "UTSMode": {"host"}, "UsernsMode": {"host"},
		"NetworkMode": {"host", "container:x", "theirs"}, "IpcMode": {"host", "shareable", "container:x"}, "CgroupnsMode": {"host"},
		"Devices":     {[]any{map[string]any{"PathOnHost": "/dev/sda"}}},
		"SecurityOpt": {[]string{"seccomp=unconfined"}, []string{"no-new-privileges", "apparmor=unconfined"}},
		"MaskedPaths": {[]string{}, []string{"/proc/kcore"}}, "ReadonlyPaths": {[]string{}, []string{"/proc/sys"}},
		"Runtime": {"nvidia", "/tmp/runc"}, "VolumesFrom": {[]string{"x"}}, "Sysctls": {map[string]string{"kernel.msgmax": "1"}},
		"OomKillDisable": {true}, "OomScoreAdj": {-5}, "CpuQuota": {100000}, "Annotations": {map[string]string{"a": "b"}},
		"CgroupParent": {"", "/", "/ds01/u1002"}, "CapDrop": {[]string{}, []string{"NET_RAW"}, nil},
		"LogConfig": {map[string]any{"Type": "json-file"}, map[string]any{"Type": "gelf"}},
		"Tmpfs":     {map[string]string{"/t": "size=1m"}},
		"Binds":     {[]string{"/etc:/etc"}, []string{"data:/data"}},
		"Mounts": {
			[]any{bindMount("/etc", "/etc")}, []any{bindMount("/run/ds01/mnt/c/0", "/w")}, // once read-only, now not
			[]any{bindMount("/run/ds01/dev/nvidia1", "/dev/nvidia1")}, []any{map[string]any{"Type": "volume", "Source": "x", "Target": "/x"}},
		},
		"DeviceCgroupRules": {[]string{"c *:* rwm"}, []string{"c 120:1 rw"}, []string{"c 120:0 rw", "c 120:255 rw", "c 120:1 rw"}},
		"DeviceRequests": {
			[]any{map[string]any{"Count": -1, "Capabilities": [][]string{{"gpu"}}}},
			[]any{map[string]any{"DeviceIDs": []string{"GPU-b"}}},
			[]any{map[string]any{"Driver": "cdi", "DeviceIDs": []string{"nvidia.com/gpu=all"}}},
		},
		"ShmSize": {2 << 30}, "Ulimits": {nil, []any{map[string]any{"Name": "nofile", "Soft": 5000, "Hard": 5000}}, []any{map[string]any{"Name": "rtprio", "Soft": 9, "Hard": 9}}},
		"Future": {"host", true, 1},
	} {
		for _, value := range values {
			t.Run(fmt.Sprintf("%s %v", field, value), func(t *testing.T) {
				both(t, func(t *testing.T, mode admission.Isolation) {
					c, g := made(t, mode)
					_, err := storedAs(t, c, map[string]any{field: value}).Check(subject(t, mode), g)
					if problem.ExitCode(err) != 5 {
						t.Fatalf("got %v", err)
					}
					wanted := map[string]string{"ShmSize": "--shm-size", "Ulimits": "limit"}[field]
					if wanted == "" {
						wanted = field
					}
					if !strings.Contains(err.Error(), "Container not started: ") || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(wanted)) &&
						!strings.Contains(err.Error(), "--security-opt") && !strings.Contains(err.Error(), "--oom-score-adj") {
						t.Errorf("%v", err)
					}
				})
			})
		}
	}
}

func TestBesideMountsOnAnEngineWithoutRemappingTheOwnerRunsIt(t *testing.T) {
	c, g := made(t, admission.UserNS)
	if _, err := storedAs(t, c, nil).Check(subject(t, admission.UID), g); problem.ExitCode(err) != 5 {
		t.Errorf("made while the engine remapped users: %v", err)
	}
	c, g = made(t, admission.UID)
	other := c
	other.User = "0:0"
	if _, err := storedAs(t, other, nil).Check(subject(t, admission.UID), g); problem.ExitCode(err) != 5 {
		t.Errorf("it runs as root: %v", err)
	}
	for field, value := range map[string]any{"SecurityOpt": nil, "CapDrop": []string{"MKNOD"}, "GroupAdd": []string{"2000", "6"}} {
		if _, err := storedAs(t, c, map[string]any{field: value}).Check(subject(t, admission.UID), g); problem.ExitCode(err) != 5 {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// limits are: memory 2g, swap 3g, cpus 2, pids 256.
// A container whose mounts' ids can't be mapped shares the host's user
// namespace, as its owner and nobody else.
func TestBesideMountsThatCannotBeMappedTheOwnerRunsIt(t *testing.T) {
	c, err := admission.DecodeCreate([]byte(host(`"Binds":["/home/alice/w:/w:ro"]`)))
	if err != nil {
		t.Fatal(err)
	}
	ask, err := c.Ask()
	if err != nil {
		t.Fatal(err)
	}
	s, g := subject(t, admission.UserNS), grant(ask)
	g.Mounts[0].Plain = true
	reviewed, err := admission.Review(c, s, g)
	if err != nil {
		t.Fatal(err)
	}
	if u, err := storedAs(t, reviewed, nil).Check(s, g); err != nil || !u.Empty() {
		t.Errorf("as it was made: %+v, %v", u, err)
	}
	for name, changes := range map[string]map[string]any{
		"with capabilities": {"CapDrop": []string{"MKNOD"}}, "with privileges to gain": {"SecurityOpt": nil}, "in groups of others": {"GroupAdd": []string{"6"}},
	} {
		if _, err := storedAs(t, reviewed, changes).Check(s, g); problem.ExitCode(err) != 5 {
			t.Errorf("%s: %v", name, err)
		}
	}
	reviewed.User = "0"
	if _, err := storedAs(t, reviewed, nil).Check(s, g); problem.ExitCode(err) != 5 {
		t.Errorf("as root: %v", err)
	}
}

func TestWhatIsAboveALimitIsBroughtWithinIt(t *testing.T) {
	for name, c := range map[string]struct {
		changes map[string]any
		want    string
	}{
		"memory":             {map[string]any{"Memory": 4 << 30, "MemorySwap": 5 << 30}, `{"Memory":2147483648,"MemorySwap":3221225472}`},
		"no limit of memory": {map[string]any{"Memory": 0, "MemorySwap": 0}, `{"Memory":2147483648,"MemorySwap":3221225472}`},
		"swap":               {map[string]any{"Memory": 1 << 30, "MemorySwap": -1}, `{"Memory":1073741824,"MemorySwap":2147483648}`},
		"processors":         {map[string]any{"NanoCpus": 3_000_000_000}, `{"NanoCpus":2000000000}`},
		"any processors":     {map[string]any{"NanoCpus": 0}, `{"NanoCpus":2000000000}`},
		"processes":          {map[string]any{"PidsLimit": 1000}, `{"PidsLimit":256}`},
		"any processes":      {map[string]any{"PidsLimit": -1}, `{"PidsLimit":256}`},
		"any processes, too": {map[string]any{"PidsLimit": nil}, `{"PidsLimit":256}`},
		"its share":          {map[string]any{"CpuShares": 200_000}, `{"CpuShares":1024}`},
		"the engine's own restarts": {
			map[string]any{"RestartPolicy": map[string]any{"Name": "always", "MaximumRetryCount": 0}}, `{"RestartPolicy":{"Name":"no"}}`,
		},
		"less than the limits": {map[string]any{"Memory": 1 << 20, "MemorySwap": 1 << 20, "NanoCpus": 1, "PidsLimit": 1, "CpuShares": 2}, `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			made, g := made(t, admission.UserNS)
			for who, check := range map[string]func(admission.Stored) (admission.Update, error){
				"ours": func(st admission.Stored) (admission.Update, error) { return st.Check(subject(t, admission.UserNS), g) },
				"adopted": func(st admission.Stored) (admission.Update, error) {
					return st.CheckAdopted(subject(t, admission.UserNS), admission.Grant{})
				},
			} {
				st := storedAs(t, made, c.changes)
				if who == "adopted" {
					changes := maps.Clone(c.changes)
					changes["Mounts"] = nil
					st = storedAs(t, made, changes)
				}
				if u, err := check(st); err != nil || encode(t, u) != c.want {
					t.Errorf("%s: %s, %v", who, encode(t, u), err)
				}
			}
		})
	}
}

func TestAnAdoptedContainerKeepsWhatItWasMadeWith(t *testing.T) {
	plain := admission.Create{HostConfig: admission.HostConfig{
		CgroupnsMode: "host", LogConfig: admission.LogConfig{Type: "json-file"}, DeviceCgroupRules: []string{"c 120:0 rw"},
		Mounts: []admission.MountPoint{{Type: "bind", Source: "/dev/nvidia0", Target: "/dev/nvidia0"}, {Type: "volume", Source: "x", Target: "/x"}},
	}}
	check := func(changes map[string]any) error {
		_, err := storedAs(t, plain, changes).CheckAdopted(subject(t, admission.UserNS), admission.Grant{CgroupParent: "/ds01/u1001"})
		return err
	}
	if err := check(nil); err != nil {
		t.Error(err)
	}
	for name, changes := range map[string]map[string]any{
		"privileged":           {"Privileged": true},
		"a capability":         {"CapAdd": []string{"SYS_PTRACE"}},
		"the host's network":   {"NetworkMode": "host"},
		"a bind of the host":   {"Binds": []string{"/raid:/raid"}},
		"a mount of the host":  {"Mounts": []any{map[string]any{"Type": "bind", "Source": "/", "Target": "/host"}}},
		"what nobody knows of": {"Future": "x"},
	} {
		if err := check(changes); problem.ExitCode(err) != 5 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
