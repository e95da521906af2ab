package admission_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// host returns the body of a create request with these fields in HostConfig.
func host(fields string) string { return `{"Image":"x","HostConfig":{` + fields + `}}` }

// top returns the body of a create request with these fields.
func top(fields string) string { return `{"Image":"x",` + fields + `}` }

func TestWhatReachesBeyondTheContainerIsRefused(t *testing.T) {
	for name, body := range map[string]string{
		"privileged":                           host(`"Privileged":true`),
		"privileged as text":                   host(`"Privileged":"yes"`),
		"a capability":                         host(`"CapAdd":["SYS_ADMIN"]`),
		"all capabilities, in small letters":   host(`"CapAdd":["all"]`),
		"a capability with its prefix":         host(`"CapAdd":["CAP_MKNOD"]`),
		"the old list of capabilities":         host(`"Capabilities":["CAP_SYS_ADMIN"]`),
		"the host's processes":                 host(`"PidMode":"host"`),
		"another container's processes":        host(`"PidMode":"container:victim"`),
		"the host's shared memory":             host(`"IpcMode":"host"`),
		"shared memory to share":               host(`"IpcMode":"shareable"`),
		"another container's shared memory":    host(`"IpcMode":"container:victim"`),
		"the host's network":                   host(`"NetworkMode":"host"`),
		"the host's network by its endpoint":   top(`"NetworkingConfig":{"EndpointsConfig":{"host":{}}}`),
		"a static address":                     top(`"NetworkingConfig":{"EndpointsConfig":{"bridge":{"IPAMConfig":{"IPv4Address":"10.0.0.9"}}}}`),
		"an address of the link layer":         top(`"NetworkingConfig":{"EndpointsConfig":{"bridge":{"MacAddress":"02:42:ac:11:00:02"}}}`),
		"a port of another protocol":           host(`"PortBindings":{"80/sctp":[{"HostPort":"20000"}]}`),
		"options of a network driver":          top(`"NetworkingConfig":{"EndpointsConfig":{"bridge":{"DriverOpts":{"a":"b"}}}}`),
		"the host's name":                      host(`"UTSMode":"host"`),
		"the host's cgroups":                   host(`"CgroupnsMode":"host"`),
		"the host's users":                     host(`"UsernsMode":"host"`),
		"a cgroup parent":                      host(`"CgroupParent":"/"`),
		"a cgroup":                             host(`"Cgroup":"container:victim"`),
		"a device":                             host(`"Devices":[{"PathOnHost":"/dev/sda","PathInContainer":"/dev/sda","CgroupPermissions":"rwm"}]`),
		"a rule for devices":                   host(`"DeviceCgroupRules":["c *:* rwm"]`),
		"a device beside a wish":               host(`"Devices":[{"PathOnHost":"ds01.io/gpu=1g.10gb"},{"PathOnHost":"/dev/sda"}]`),
		"a device that begins like a wish":     host(`"Devices":[{"PathOnHost":"./ds01.io/gpu=full"}]`),
		"a wish that lies elsewhere inside":    host(`"Devices":[{"PathOnHost":"ds01.io/gpu=full","PathInContainer":"/dev/sda"}]`),
		"a wish with other rights":             host(`"Devices":[{"PathOnHost":"ds01.io/gpu=full","CgroupPermissions":"rw"}]`),
		"another's CDI name as a device":       host(`"Devices":[{"PathOnHost":"nvidia.com/gpu=all","PathInContainer":"nvidia.com/gpu=all","CgroupPermissions":"rwm"}]`),
		"another's CDI name beside ours":       host(`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["ds01.io/gpu=full","nvidia.com/gpu=all"]}]`),
		"a count of CDI devices":               host(`"DeviceRequests":[{"Driver":"cdi","Count":1,"DeviceIDs":["ds01.io/gpu=full"]}]`),
		"options of a CDI device":              host(`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["ds01.io/gpu=full"],"Options":{"a":"b"}}]`),
		"a device request and a CDI name":      host(`"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]}],"Devices":[{"PathOnHost":"ds01.io/gpu=full"}]`),
		"devices by CDI":                       host(`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=all"]}]`),
		"devices with options":                 host(`"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]],"Options":{"a":"b"}}]`),
		"devices of another kind":              host(`"DeviceRequests":[{"Count":1,"Capabilities":[["tpu"]]}]`),
		"two requests for devices":             host(`"DeviceRequests":[{"Count":1,"Capabilities":[["gpu"]]},{"Count":1,"Capabilities":[["gpu"]]}]`),
		"another runtime":                      host(`"Runtime":"kata"`),
		"a runtime by its path":                host(`"Runtime":"/tmp/runc"`),
		"the root of the host's paths":         host(`"Binds":["/:/proc"]`),
		"a mount on /proc":                     host(`"Binds":["/home/alice:/proc/sys"]`),
		"a mount on /dev by a way around":      host(`"Binds":["/home/alice:/x/../dev"]`),
		"a mount on /sys":                      host(`"Mounts":[{"Type":"bind","Source":"/home/alice","Target":"/sys/fs/cgroup"}]`),
		"a mount that selects GPUs":            host(`"Binds":["/dev/null:/var/run/nvidia-container-devices/all"]`),
		"a mount that selects GPUs by CDI":     host(`"Binds":["/dev/null:/run//nvidia-container-devices/cdi/nvidia.com/gpu/all"]`),
		"a mount on /dev/shm":                  host(`"Tmpfs":{"/dev/shm":"size=100g"}`),
		"a named volume on /dev":               host(`"Binds":["data:/dev"]`),
		"a volume that selects GPUs":           host(`"Mounts":[{"Type":"volume","Target":"/var/run/nvidia-container-devices/all"}]`),
		"a volume with mount propagation":      host(`"Binds":["data:/data:rshared"]`),
		"shared propagation":                   host(`"Binds":["/home/alice:/a:rshared"]`),
		"slave propagation":                    host(`"Binds":["/home/alice:/a:ro,slave"]`),
		"shared propagation of a mount":        host(`"Mounts":[{"Type":"bind","Source":"/home/alice","Target":"/a","BindOptions":{"Propagation":"shared"}}]`),
		"a directory made as root":             host(`"Mounts":[{"Type":"bind","Source":"/home/alice/new","Target":"/a","BindOptions":{"CreateMountpoint":true}}]`),
		"a volume of another driver":           host(`"Mounts":[{"Type":"volume","Source":"data","Target":"/d","VolumeOptions":{"DriverConfig":{"Name":"nfs"}}}]`),
		"a part outside of a volume":           host(`"Mounts":[{"Type":"volume","Source":"data","Target":"/d","VolumeOptions":{"Subpath":"a/../.."}}]`),
		"an absolute part of a volume":         host(`"Mounts":[{"Type":"volume","Source":"data","Target":"/d","VolumeOptions":{"Subpath":"/etc"}}]`),
		"a volume with a label of ds01's":      host(`"Mounts":[{"Type":"volume","Source":"data","Target":"/d","VolumeOptions":{"Labels":{"aime.mlc.DS01_UID":"0"}}}]`),
		"a volume that mounts a disk":          host(`"Mounts":[{"Type":"volume","Target":"/d","VolumeOptions":{"DriverConfig":{"Options":{"o":"bind","device":"/"}}}}]`),
		"options of a volume on a bind":        host(`"Mounts":[{"Type":"bind","Source":"/home/alice","Target":"/a","VolumeOptions":{"Subpath":"../.."}}]`),
		"an image as a mount":                  host(`"Mounts":[{"Type":"image","Source":"x","Target":"/a"}]`),
		"a pipe":                               host(`"Mounts":[{"Type":"npipe","Source":"/a","Target":"/a"}]`),
		"a cluster volume":                     host(`"Mounts":[{"Type":"cluster","Source":"a","Target":"/a"}]`),
		"a mount of no type":                   host(`"Mounts":[{"Source":"/home/alice","Target":"/a"}]`),
		"an anonymous volume on /proc":         top(`"Volumes":{"/proc/x":{}}`),
		"a volume driver":                      host(`"VolumeDriver":"nfs"`),
		"volumes of another container":         host(`"VolumesFrom":["victim"]`),
		"no seccomp":                           host(`"SecurityOpt":["seccomp=unconfined"]`),
		"no AppArmor":                          host(`"SecurityOpt":["no-new-privileges","apparmor=unconfined"]`),
		"no masked paths by an option":         host(`"SecurityOpt":["systempaths=unconfined"]`),
		"new privileges after all":             host(`"SecurityOpt":["no-new-privileges:false"]`),
		"no masked paths":                      host(`"MaskedPaths":[]`),
		"no read-only paths":                   host(`"ReadonlyPaths":[]`),
		"kernel settings":                      host(`"Sysctls":{"net.ipv4.ip_forward":"1"}`),
		"others to pay for memory":             host(`"OomScoreAdj":-500`),
		"no end when memory is used up":        host(`"OomKillDisable":true`),
		"real-time scheduling":                 host(`"CpuRealtimeRuntime":950000`),
		"a quota in the old spelling":          host(`"CpuQuota":1000000`),
		"more than its part of the processors": host(`"CpuShares":262144`),
		"disk weight":                          host(`"BlkioWeight":1000`),
		"a log elsewhere":                      host(`"LogConfig":{"Type":"gelf","Config":{"gelf-address":"udp://evil:1"}}`),
		"notes to the runtime":                 host(`"Annotations":{"run.oci.keep_original_groups":"1"}`),
		"name servers":                         host(`"Dns":["10.0.0.1"]`),
		"the host's own services by a name":    host(`"ExtraHosts":["host.docker.internal:host-gateway"]`),
		"a domain":                             top(`"Domainname":"lab.example"`),
		"storage":                              host(`"StorageOpt":{"size":"1T"}`),
		"a umask":                              host(`"Umask":2`),
		"work in a leaked descriptor":          top(`"WorkingDir":"/proc/self/fd/8"`),
		"work in /proc by another name":        top(`"WorkingDir":"//proc//self/fd/8"`),
		"work in /proc by a way around":        top(`"WorkingDir":"/tmp/../proc/self/fd/8"`),
		"a health check without pause":         top(`"Healthcheck":{"Test":["CMD","true"],"Interval":1}`),
		"a limit nobody knows":                 host(`"Ulimits":[{"Name":"rtprio","Soft":99,"Hard":99}]`),
		"an option of tmpfs":                   host(`"Tmpfs":{"/a":"suid"}`),
		"devices in tmpfs":                     host(`"Tmpfs":{"/a":"size=1m,dev"}`),
		"options of a tmpfs mount":             host(`"Mounts":[{"Type":"tmpfs","Target":"/a","TmpfsOptions":{"Options":[["exec"]]}}]`),
		"a label of ours":                      top(`"Labels":{"aime.mlc.DS01_UID":"0"}`),
		"a label of ours in other letters":     top(`"Labels":{"AIME.MLC.ds01_uid":"0"}`),
		"a label of mlc's":                     top(`"Labels":{"aime.mlc":"bob"}`),
		"a label of the past":                  top(`"Labels":{"ds01.managed":"true"}`),
		"a label that only begins like ours":   top(`"Labels":{"ds01x":"1"}`),
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, mode admission.Isolation) {
				_, err := review(t, mode, body)
				wantProblem(t, err, problem.ErrDenied, "")
			})
		})
	}
}

func TestWhatMeansNothingIsInvalid(t *testing.T) {
	for name, body := range map[string]string{
		"a bind without a target":        host(`"Binds":["/home/alice"]`),
		"a bind of four parts":           host(`"Binds":["/home/alice:/a:ro:z"]`),
		"a bind to the root":             host(`"Binds":["/home/alice:/"]`),
		"a bind to the root, roundabout": host(`"Binds":["/home/alice:/a/.."]`),
		"a target that isn't absolute":   host(`"Binds":["/home/alice:a"]`),
		"an empty target":                host(`"Binds":["/home/alice::ro"]`),
		"two mounts on one path":         host(`"Binds":["/home/alice:/a","/home/alice/b:/a/"]`),
		"a bind and a tmpfs on one path": host(`"Binds":["/home/alice:/a"],"Mounts":[{"Type":"tmpfs","Target":"/a"}]`),
		"two spellings of one tmpfs":     host(`"Tmpfs":{"/a":"size=1m","/a/":"size=2m"}`),
		"no GPUs at all":                 host(`"DeviceRequests":[{"Count":0,"Capabilities":[["gpu"]]}]`),
		"a count and names":              host(`"DeviceRequests":[{"Count":1,"DeviceIDs":["full"],"Capabilities":[["gpu"]]}]`),
		"what names no device":           host(`"DeviceRequests":[{"DeviceIDs":["/dev/nvidia0"],"Capabilities":[["gpu"]]}]`),
		"a CDI name of nothing":          host(`"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["ds01.io/gpu="]}]`),
		"a CDI request without a name":   host(`"DeviceRequests":[{"Driver":"cdi"}]`),
		"the same slot twice":            host(`"DeviceRequests":[{"DeviceIDs":["1.0","1:0"],"Capabilities":[["gpu"]]}]`),
		"GPUs asked for in two old ways": host(`"Runtime":"nvidia","Devices":[{"PathOnHost":"ds01.io/gpu=full"}]},"Env":["NVIDIA_VISIBLE_DEVICES=0"],"Labels":{`),
		"less than no GPUs":              host(`"DeviceRequests":[{"Count":-2,"Capabilities":[["gpu"]]}]`),
		"less swap than memory":          host(`"Memory":2000000000,"MemorySwap":1000000000`),
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, mode admission.Isolation) {
				_, err := review(t, mode, body)
				wantProblem(t, err, problem.ErrInvalid, "")
			})
		})
	}
}

func TestAboveALimitIsRefusedWithNumberLimitAndSource(t *testing.T) {
	for name, c := range map[string]struct{ body, asked, limit, source, code string }{
		"memory":      {host(`"Memory":4294967296`), "--memory 4GiB", "2GiB", "(memory: defaults, resource-limits.yaml:3)", "LIMIT_MEMORY"},
		"swap":        {host(`"MemorySwap":4294967296`), "--memory-swap 4GiB", "3GiB", "(memory_swap: defaults, resource-limits.yaml:4)", "LIMIT_MEMORY_SWAP"},
		"shm":         {host(`"ShmSize":2147483648`), "--shm-size 2GiB", "1GiB", "(shm_size: defaults, resource-limits.yaml:5)", "LIMIT_SHM_SIZE"},
		"processors":  {host(`"NanoCpus":2500000000`), "--cpus 2.5", "2", "(max_cpus: defaults, resource-limits.yaml:6)", "LIMIT_MAX_CPUS"},
		"processes":   {host(`"PidsLimit":257`), "--pids-limit 257", "256", "(pids_limit: defaults, resource-limits.yaml:7)", "LIMIT_PIDS_LIMIT"},
		"open files":  {host(`"Ulimits":[{"Name":"nofile","Soft":1,"Hard":4097}]`), "--ulimit nofile 4097", "4096", "(ulimit_nofile: defaults, resource-limits.yaml:8)", "LIMIT_ULIMIT_NOFILE"},
		"one too far": {host(`"Memory":2147483649`), "--memory", "2GiB", "resource-limits.yaml:3", "LIMIT_MEMORY"},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, mode admission.Isolation) {
				_, err := review(t, mode, c.body)
				wantProblem(t, err, problem.ErrLimit, c.asked)
				for _, part := range []string{c.limit, c.source} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q doesn't say %q", err, part)
					}
				}
				if got := problem.Describe(err).Code; got != c.code {
					t.Errorf("code %s", got)
				}
			})
		})
	}
}

func TestNothingAskedAndNoLimitAskedBecomeTheLimit(t *testing.T) {
	for name, body := range map[string]string{
		"nothing": host(``),
		"zero":    host(`"Memory":0,"MemorySwap":0,"NanoCpus":0,"PidsLimit":0,"ShmSize":0,"Ulimits":[{"Name":"nofile","Soft":0,"Hard":0}]`),
		"minus":   host(`"Memory":-1,"MemorySwap":-1,"NanoCpus":-1,"PidsLimit":-1,"ShmSize":-1,"Ulimits":[{"Name":"nofile","Soft":-1,"Hard":-1}]`),
		"limit": host(`"Memory":2147483648,"MemorySwap":3221225472,"NanoCpus":2000000000,"PidsLimit":256,"ShmSize":1073741824,
			"Ulimits":[{"Name":"nofile","Soft":4096,"Hard":4096}]`),
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, mode admission.Isolation) {
				h := mustReview(t, mode, body).HostConfig
				got := []int64{h.Memory, h.MemorySwap, h.ShmSize, h.NanoCPUs, *h.PidsLimit}
				if diff := cmp.Diff([]int64{2 << 30, 3 << 30, 1 << 30, 2e9, 256}, got); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff([]admission.Ulimit{{Name: "nofile", Soft: 4096, Hard: 4096}}, h.Ulimits); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestBelowTheLimitIsKept(t *testing.T) {
	both(t, func(t *testing.T, mode admission.Isolation) {
		h := mustReview(t, mode, host(`"Memory":1073741824,"NanoCpus":500000000,"PidsLimit":7,"ShmSize":1048576,"MemoryReservation":1000000,
			"CpuShares":512,"CpusetCpus":"0","Ulimits":[{"Name":"core","Soft":0,"Hard":0},{"Name":"nofile","Soft":10,"Hard":20}]`)).HostConfig
		if h.Memory != 1<<30 || h.MemorySwap != 2<<30 || h.NanoCPUs != 5e8 || *h.PidsLimit != 7 || h.ShmSize != 1<<20 || h.MemoryReservation != 1e6 || h.CPUShares != 512 || h.CpusetCpus != "0" {
			t.Errorf("got %+v", h)
		}
		want := []admission.Ulimit{{Name: "core"}, {Name: "nofile", Soft: 10, Hard: 20}}
		if diff := cmp.Diff(want, h.Ulimits); diff != "" {
			t.Error(diff)
		}
	})
}

func TestStopTimeoutIsKeptWithinTheLimit(t *testing.T) {
	for asked, want := range map[string]int{``: 10, `"StopTimeout":9999`: 10, `"StopTimeout":-1`: 10, `"StopTimeout":3`: 3, `"StopTimeout":0`: 0} {
		c := mustReview(t, admission.UserNS, `{"Image":"x"`+strings.TrimSuffix(","+asked, ",")+`}`)
		if *c.StopTimeout != want {
			t.Errorf("%q became %d, want %d", asked, *c.StopTimeout, want)
		}
	}
}

func TestWhatOnlyWeWrite(t *testing.T) {
	both(t, func(t *testing.T, mode admission.Isolation) {
		c := mustReview(t, mode, `{"Image":"x","Env":["A=b","NVIDIA_VISIBLE_DEVICES=all","NVIDIA_DRIVER_CAPABILITIES=all","NVIDIA_DISABLE_REQUIRE"],
			"Labels":{"team":"vision","aime.mlc.DS01_UID":"1001"},"NetworkingConfig":{"EndpointsConfig":{"default":null}},
			"HostConfig":{"CapDrop":["NET_RAW"],"LogConfig":{"Type":"json-file","Config":{"max-size":"100g"}},
			"MaskedPaths":null,"ReadonlyPaths":null,"ContainerIDFile":"/etc/cid","RestartPolicy":{"Name":"","MaximumRetryCount":9}}}`)
		h := c.HostConfig
		if diff := cmp.Diff([]string{"A=b", "NVIDIA_VISIBLE_DEVICES=void"}, c.Env); diff != "" {
			t.Error(diff)
		}
		if c.Labels["aime.mlc.DS01_UID"] != "1001" || c.Labels["team"] != "vision" || c.Labels["aime.mlc.DS01_CLAIM"] == "" {
			t.Errorf("labels are %v", c.Labels)
		}
		if diff := cmp.Diff(admission.LogConfig{Type: "json-file", Config: map[string]string{"max-size": "10m", "max-file": "3"}}, h.LogConfig); diff != "" {
			t.Error(diff)
		}
		if h.CgroupParent != "/ds01/u1001" || h.RestartPolicy != (admission.RestartPolicy{Name: "no"}) || !slices.Contains(h.CapDrop, "MKNOD") || !slices.Contains(h.CapDrop, "NET_RAW") {
			t.Errorf("got %+v", h)
		}
		if text := encode(t, c); strings.Contains(text, `"default"`) || strings.Contains(text, "ContainerIDFile") {
			t.Errorf("sent: %s", text)
		}
	})
}

func TestReservedLabelsOfAnImageAreOverwritten(t *testing.T) {
	c, err := admission.DecodeCreate([]byte(`{"Image":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	g := grant(admission.Ask{})
	g.ImageLabels = map[string]string{"aime.mlc.DS01_UID": "0", "aime.mlc.DS01_PROTECTED": "true", "ds01.owner": "bob", "maintainer": "a, b"}
	c, err = admission.Review(c, subject(t, admission.UserNS), g)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"aime.mlc.DS01_UID": "1001", "aime.mlc.DS01_PROTECTED": "", "ds01.owner": ""} {
		if got, ok := c.Labels[key]; !ok || got != want {
			t.Errorf("%s is %q", key, got)
		}
	}
	if _, ok := c.Labels["maintainer"]; ok {
		t.Error("a label of the image that harms nobody was touched")
	}
}

func TestMountsAreReplacedByOurs(t *testing.T) {
	both(t, func(t *testing.T, mode admission.Isolation) {
		c := mustReview(t, mode, host(`"Binds":["/home/alice/../alice/work:/work:ro,Z"],"Mounts":[{"Type":"bind","Source":"/home/alice/d,x","Target":"/d","BindOptions":{"Propagation":"rprivate","NonRecursive":true}}]`))
		rprivate := &admission.BindOptions{Propagation: "rprivate"}
		want := []admission.MountPoint{
			{Type: "bind", Source: "/run/ds01/mnt/c/0", Target: "/work", ReadOnly: true, BindOptions: rprivate},
			{Type: "bind", Source: "/run/ds01/mnt/c/1", Target: "/d", BindOptions: rprivate},
		}
		if text := encode(t, c); strings.Contains(text, "/home/alice") || len(c.HostConfig.Binds) > 0 {
			t.Errorf("the person's path is sent: %s", text)
		}
		if got, want := encode(t, c.HostConfig.Mounts), encode(t, want); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
		if !slices.Contains(c.HostConfig.GroupAdd, "2000") || slices.Contains(c.HostConfig.GroupAdd, "1001") {
			t.Errorf("groups are %v", c.HostConfig.GroupAdd)
		}
	})
}

func TestContainersWithMountsRunAsTheCallerWhereTheEngineDoesNotRemap(t *testing.T) {
	const mounted = `"HostConfig":{"Binds":["/home/alice/work:/work"]}`
	for _, user := range []string{"", "1001", "1001:1001"} {
		c := mustReview(t, admission.UID, fmt.Sprintf(`{"Image":"x","User":%q,%s}`, user, mounted))
		h := c.HostConfig
		if c.User != "1001:1001" || !slices.Equal(h.CapDrop, []string{"ALL"}) || !slices.Equal(h.SecurityOpt, []string{"no-new-privileges"}) {
			t.Errorf("%q: runs as %q with %v %v", user, c.User, h.CapDrop, h.SecurityOpt)
		}
	}
	for _, user := range []string{"0", "root", "1002", "1001:0", "alice"} {
		_, err := review(t, admission.UID, fmt.Sprintf(`{"Image":"x","User":%q,%s}`, user, mounted))
		wantProblem(t, err, problem.ErrDenied, user)
	}
	if c := mustReview(t, admission.UserNS, `{"Image":"x","User":"0",`+mounted+`}`); c.User != "0" {
		t.Errorf("where root is nobody on the host, it became %q", c.User)
	}
}

func TestGroupsAreOnesOwnWhereTheEngineDoesNotRemap(t *testing.T) {
	mustReview(t, admission.UID, host(`"GroupAdd":["2000"]`))
	mustReview(t, admission.UserNS, host(`"GroupAdd":["disk"]`))
	for _, group := range []string{"disk", "0", "6", "docker"} {
		_, err := review(t, admission.UID, host(fmt.Sprintf(`"GroupAdd":[%q]`, group)))
		wantProblem(t, err, problem.ErrDenied, group)
	}
}

func TestTmpfsIsNosuidAndNodev(t *testing.T) {
	both(t, func(t *testing.T, mode admission.Isolation) {
		c := mustReview(t, mode, host(`"Tmpfs":{"/a":"size=64m,exec,mode=1777","/b/":"","/c":"nosuid,nodev,ro"},
			"Mounts":[{"Type":"tmpfs","Target":"/d","ReadOnly":true,"TmpfsOptions":{"SizeBytes":1048576,"Mode":960}},{"Type":"tmpfs","Target":"/e"}]`))
		want := map[string]string{
			"/a": "nosuid,nodev,exec,mode=1777,size=67108864", "/b": "nosuid,nodev,size=2147483648", "/c": "nosuid,nodev,ro,size=2147483648",
			"/d": "nosuid,nodev,mode=1700,ro,size=1048576", "/e": "nosuid,nodev,size=2147483648",
		}
		if diff := cmp.Diff(want, c.HostConfig.Tmpfs); diff != "" {
			t.Error(diff)
		}
		if len(c.HostConfig.Mounts) != 0 {
			t.Errorf("mounts are %v", c.HostConfig.Mounts)
		}
	})
}

func TestDevicesAreGrantedByMountAndRule(t *testing.T) {
	c, err := admission.DecodeCreate([]byte(host(`"DeviceRequests":[{"Count":2,"Capabilities":[["gpu","compute"]]}]`)))
	if err != nil {
		t.Fatal(err)
	}
	ask, err := c.Ask()
	if err != nil || ask.GPU == nil || ask.GPU.Count != 2 {
		t.Fatalf("ask is %+v, %v", ask.GPU, err)
	}
	g := grant(ask)
	g.Devices = devices()
	s := subject(t, admission.UserNS)
	granted, err := admission.Review(c, s, g)
	if err != nil {
		t.Fatal(err)
	}
	h, rules := granted.HostConfig, []string{"c 120:0 rw", "c 120:255 rw", "c 120:1 rw"}
	if diff := cmp.Diff(rules, h.DeviceCgroupRules); diff != "" {
		t.Error(diff)
	}
	if len(h.DeviceRequests) != 0 || len(h.Mounts) != 3 || h.Mounts[2].Source != "/run/ds01/dev/nvidia1" || h.Mounts[2].Target != "/dev/nvidia1" {
		t.Errorf("got %+v", h)
	}
	g.Libraries = admission.LibrariesCDI
	if granted, err = admission.Review(c, s, g); err != nil || encode(t, granted.HostConfig.DeviceRequests) != `[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=GPU-a","nvidia.com/gpu=GPU-b"]}]` {
		t.Errorf("CDI: %s, %v", encode(t, granted.HostConfig.DeviceRequests), err)
	}
	g.Libraries = admission.LibrariesHook
	granted, err = admission.Review(c, s, g)
	if err != nil || granted.HostConfig.DeviceRequests[0].Driver != "nvidia" || !slices.Equal(granted.HostConfig.DeviceRequests[0].DeviceIDs, []string{"GPU-a", "GPU-b"}) {
		t.Errorf("hook: %+v, %v", granted.HostConfig.DeviceRequests, err)
	}
	if diff := cmp.Diff(rules, granted.HostConfig.DeviceCgroupRules); diff != "" || len(granted.HostConfig.Mounts) != 0 {
		t.Errorf("hook: %s, %+v", diff, granted.HostConfig.Mounts)
	}
	if slices.Contains(granted.Env, "NVIDIA_VISIBLE_DEVICES=void") || !slices.Contains(granted.Env, "NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b") {
		t.Errorf("the hook would be told %q", granted.Env)
	}
}

func TestWhatComesAtEachStartIsNotStored(t *testing.T) {
	c, err := admission.DecodeCreate([]byte(host(`"DeviceRequests":[{"Count":2,"Capabilities":[["gpu"]]}]`)))
	if err != nil {
		t.Fatal(err)
	}
	for libraries, requests := range map[string]int{admission.LibrariesNone: 0, admission.LibrariesHook: 1} {
		g := grant(admission.Ask{})
		g.Libraries, g.Devices, g.AtStart = libraries, devices(), true
		granted, err := admission.Review(c, subject(t, admission.UserNS), g)
		if err != nil {
			t.Fatal(err)
		}
		h := granted.HostConfig
		if h.Runtime != "ds01" || len(h.DeviceCgroupRules)+len(h.Mounts) != 0 || len(h.DeviceRequests) != requests {
			t.Errorf("%s: %+v", libraries, h)
		}
		now := g
		now.Devices = devices()[:1] // it has others by now
		for name, changes := range map[string]map[string]any{
			"":                              {},
			"HostConfig.DeviceCgroupRules:": {"DeviceCgroupRules": []string{"c 120:0 rw"}},
			"HostConfig.Runtime:":           {"Runtime": "runc"},
			"HostConfig.DeviceRequests:":    {"DeviceRequests": []map[string]any{{"Driver": "cdi", "DeviceIDs": []string{"nvidia.com/gpu=GPU-b"}}}},
		} {
			_, err := storedAs(t, granted, changes).Check(subject(t, admission.UserNS), now)
			if name == "" && err != nil || name != "" && (err == nil || !strings.Contains(err.Error(), name)) {
				t.Errorf("%s, stored with %v: %v", libraries, changes, err)
			}
		}
		now.AtStart = false
		if _, err := storedAs(t, granted, nil).Check(subject(t, admission.UserNS), now); err == nil {
			t.Errorf("%s: what was made otherwise has the runtime", libraries)
		}
	}
}

func TestNoDeviceReachesAContainerThatWasGrantedNone(t *testing.T) {
	for _, libraries := range []string{admission.LibrariesNone, admission.LibrariesCDI, admission.LibrariesHook} {
		c, err := admission.DecodeCreate([]byte(host(`"DeviceRequests":[{"Count":-1,"Capabilities":[["gpu"]]}]`)))
		if err != nil {
			t.Fatal(err)
		}
		if ask, err := c.Ask(); err != nil || !ask.GPU.All {
			t.Fatalf("ask is %+v, %v", ask.GPU, err)
		}
		g := grant(admission.Ask{})
		g.Libraries = libraries
		granted, err := admission.Review(c, subject(t, admission.UserNS), g)
		if err != nil {
			t.Fatal(err)
		}
		if h := granted.HostConfig; len(h.DeviceRequests)+len(h.DeviceCgroupRules)+len(h.Mounts) != 0 || !slices.Contains(granted.Env, "NVIDIA_VISIBLE_DEVICES=void") {
			t.Errorf("%s: %s", libraries, encode(t, granted))
		}
	}
}

func TestReviewLeavesItsArgumentAlone(t *testing.T) {
	c, err := admission.DecodeCreate([]byte(host(`"CapDrop":["NET_RAW"],"GroupAdd":["2000"]`)))
	if err != nil {
		t.Fatal(err)
	}
	before := encode(t, c)
	first, err := admission.Review(c, subject(t, admission.UID), grant(admission.Ask{}))
	if err != nil {
		t.Fatal(err)
	}
	second, err := admission.Review(c, subject(t, admission.UID), grant(admission.Ask{}))
	if err != nil || encode(t, first) != encode(t, second) || encode(t, c) != before {
		t.Errorf("the second review differs: %v", err)
	}
}

func TestNamesOfHostsAreAddresses(t *testing.T) {
	for _, line := range []string{"licence:10.1.2.3", "licence.lab:fd00::1", "a:::1"} {
		c, err := review(t, admission.UserNS, host(fmt.Sprintf(`"ExtraHosts":[%q]`, line)))
		if err != nil || !slices.Equal(c.HostConfig.ExtraHosts, []string{line}) {
			t.Errorf("%s: %v, %v", line, c.HostConfig.ExtraHosts, err)
		}
	}
	for _, line := range []string{"licence", "licence:", ":10.1.2.3", "a b:10.1.2.3", "a:10.1.2.3 b", "a:fe80::1%eth0", `a:10.1.2.3\n10.1.2.4 b`, `a\n10.1.2.4 b:10.1.2.3`, "licence=10.1.2.3", "a:host-gatewayx"} {
		_, err := review(t, admission.UserNS, host(`"ExtraHosts":["`+line+`"]`))
		wantProblem(t, err, problem.ErrInvalid, "NAME:ADDRESS")
	}
}

func TestDockerodesBodiesAreRead(t *testing.T) {
	if _, err := review(t, admission.UserNS, `{"name":"web","platform":"linux/amd64","Image":"x","VolumesFrom":[]}`); err != nil {
		t.Error(err)
	}
	if s, err := admission.ReviewExecStart([]byte(`{"hijack":true,"stdin":true}`)); err != nil || encode(t, s) != "{}" {
		t.Error(encode(t, s), err)
	}
	silent, err := admission.ReviewCommit(nil)
	if err != nil {
		t.Fatal(err)
	}
	body := `{"container":"0123","repo":"mine","tag":"1","comment":"c","author":"a","pause":true,"changes":"CMD x"}`
	if c, err := admission.ReviewCommit([]byte(body)); err != nil || encode(t, c) != encode(t, silent) {
		t.Error(encode(t, c), err)
	}
}
