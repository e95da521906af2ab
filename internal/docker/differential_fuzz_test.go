package docker_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dcontainer "github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/limits"
)

const tight = "defaults: {memory: 2g, memory_swap: 3g, shm_size: 1g, max_cpus: 2, pids_limit: 256, ulimit_nofile: 4096, stop_timeout: 10s}\n"

// FuzzCreateAsTheEngineReadsIt: whatever ds01 sends in a client's place, the
// engine's own types read as a container that is not privileged, shares
// nothing with the host, stays within the limits, mounts only what ds01 laid
// down and carries ds01's labels.
func FuzzCreateAsTheEngineReadsIt(f *testing.F) {
	paths, err := filepath.Glob("../admission/testdata/clients/*.json")
	if err != nil || len(paths) == 0 {
		f.Fatal(paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, true)
	}
	for _, body := range []string{
		`{"Image":"x","hostconfig":{"PRIVILEGED":true}}`,
		`{"HostConfig":{"Privileged":true},"HostConfig":{}}`,
		`{"WorkingDir":"/x/../proc/self/fd/8","Env":["NVIDIA_VISIBLE_DEVICES=all"],"Labels":{"aime.mlc.DS01_X":"1"}}`,
		`{"HostConfig":{"SecurityOpt":["seccomp=unconfined"]}}`,
		`{"HostConfig":{"NetworkMode":"host","IpcMode":"shareable","UTSMode":"host","PidMode":"host"}}`,
		`{"HostConfig":{"Memory":-1,"MemorySwap":-1,"PidsLimit":-1,"NanoCpus":0,"ShmSize":0}}`,
		`{"User":"0","HostConfig":{"Binds":["/home/alice:/a"]}}`,
		`{"HostConfig":{"Tmpfs":{"/a":"size=1m,exec"},"Ulimits":[{"Name":"core","Soft":-1,"Hard":-1}],"GroupAdd":["2000"]}}`,
	} {
		f.Add([]byte(body), false)
	}
	alice := account.Account{UID: 1001, GID: 1001, Name: "alice", Groups: []account.Group{{GID: 2000, Name: "vision"}}}
	doc, _, err := limits.Decode(limits.File{Name: "limits", Data: []byte(tight)}, nil)
	if err != nil {
		f.Fatal(err)
	}
	bound := doc.Resolve(alice, time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC))
	f.Fuzz(func(t *testing.T, data []byte, remap bool) {
		s := admission.Subject{Account: alice, Limits: bound, Isolation: admission.UID}
		if remap {
			s.Isolation = admission.UserNS
		}
		sent, ok := admit(data, s)
		if !ok {
			return
		}
		dec := json.NewDecoder(bytes.NewReader(sent))
		dec.DisallowUnknownFields()
		var got dcontainer.CreateRequest
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("the engine can't read %s: %v", sent, err)
		}
		if why := unsafe(got, remap); why != "" {
			t.Fatalf("%s: %s", why, sent)
		}
	})
}

// admit takes a body all the way, as the launcher does.
func admit(data []byte, s admission.Subject) ([]byte, bool) {
	c, err := admission.DecodeCreate(data)
	if err != nil {
		return nil, false
	}
	ask, err := c.Ask()
	if err != nil {
		return nil, false
	}
	g := admission.Grant{
		Labels:    map[string]string{label.UID: "1001", label.Claim: "0123456789abcdef", label.Managed: "true"},
		Libraries: admission.LibrariesNone, NodeFolder: "/run/ds01/dev", CgroupParent: "/ds01/u1001",
	}
	for i, m := range ask.Mounts {
		g.Mounts = append(g.Mounts, container.Mount{Target: m.Target, ReadOnly: m.ReadOnly, HostPath: fmt.Sprintf("/run/ds01/mnt/c/%d", i)})
	}
	reviewed, err := admission.Review(c, s, g)
	if err != nil {
		return nil, false
	}
	sent, err := admission.Encode(reviewed)
	return sent, err == nil
}

// unsafe says what is wrong with a request, "" when nothing is.
func unsafe(r dcontainer.CreateRequest, remap bool) string {
	h := r.HostConfig
	switch {
	case h.Privileged, len(h.CapAdd) > 0, len(h.Devices) > 0, len(h.DeviceRequests) > 0, len(h.DeviceCgroupRules) > 0:
		return "privileges"
	case !h.PidMode.Valid() || h.PidMode != "", h.IpcMode.IsHost() || h.IpcMode.IsContainer() || h.IpcMode.IsShareable(), h.UTSMode != "",
		h.UsernsMode != "", h.CgroupnsMode.IsHost(), h.Cgroup != "", h.NetworkMode != "" && h.NetworkMode.IsUserDefined(), h.NetworkMode.IsHost() || h.NetworkMode.IsContainer():
		return "a namespace of the host or of others"
	case h.Memory < 1 || h.Memory > 2<<30, h.MemorySwap < h.Memory || h.MemorySwap > 3<<30, h.NanoCPUs < 1 || h.NanoCPUs > 2e9,
		h.PidsLimit == nil || *h.PidsLimit < 1 || *h.PidsLimit > 256, h.ShmSize < 1 || h.ShmSize > 1<<30, h.CPUQuota != 0, h.CPUPeriod != 0,
		h.OomScoreAdj < 0, h.OomKillDisable != nil && *h.OomKillDisable:
		return "beyond the limits"
	case h.CgroupParent != "/ds01/u1001", !h.RestartPolicy.IsNone(), h.Runtime != "", len(h.Sysctls) > 0, h.MaskedPaths != nil, h.ReadonlyPaths != nil:
		return "ds01's own"
	case r.Labels[label.UID] != "1001", r.Labels[label.Claim] != "0123456789abcdef":
		return "labels"
	case len(h.Binds)+len(r.Volumes)+len(h.VolumesFrom) > 0, h.VolumeDriver != "", r.NetworkingConfig != nil && len(r.NetworkingConfig.EndpointsConfig) > 0:
		return "mounts or networks of the client's own making"
	case strings.HasPrefix(filepath.Clean("/"+r.WorkingDir)+"/", "/proc/"):
		return "a working directory in /proc"
	case !remap && len(h.Mounts) > 0 && (r.User != "1001:1001" || len(h.CapDrop) != 1 || h.CapDrop[0] != "ALL"):
		return "host mounts in a container that may be root"
	}
	for key := range r.Labels {
		if label.Reserved(key) && key != label.UID && key != label.Claim && key != label.Managed {
			return "a label of ds01's that it didn't write: " + key
		}
	}
	for _, option := range h.SecurityOpt {
		if !strings.HasPrefix(option, "no-new-privileges") {
			return "a loosened " + option
		}
	}
	for _, e := range r.Env {
		if strings.HasPrefix(e, "NVIDIA_") && e != "NVIDIA_VISIBLE_DEVICES=void" {
			return "a variable that selects devices: " + e
		}
	}
	return unsafeMount(h)
}

func unsafeMount(h *dcontainer.HostConfig) string {
	for _, m := range h.Mounts {
		if m.Type != mount.TypeBind || !strings.HasPrefix(m.Source, "/run/ds01/mnt/c/") || m.BindOptions.Propagation != mount.PropagationRPrivate {
			return "a mount that ds01 didn't lay down"
		}
	}
	for target, options := range h.Tmpfs {
		if !strings.HasPrefix(options, "nosuid,nodev") || strings.Contains(options[len("nosuid,nodev"):], "suid") || strings.HasPrefix(target, "/dev") {
			return "a tmpfs " + options
		}
	}
	return ""
}
