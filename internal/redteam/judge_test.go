package redteam_test

import (
	"encoding/json"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/redteam"
)

// plain is a container as ds01 makes one that asks for nothing.
const plain = `{"Id":"1","Name":"/x._.1001","Config":{"Env":["PATH=/bin","NVIDIA_VISIBLE_DEVICES=void"],"Labels":{"aime.mlc.DS01_UID":"1001"}},
"HostConfig":{"CapDrop":["MKNOD"],"CgroupnsMode":"private","IpcMode":"private","NetworkMode":"default","CgroupParent":"/ds01/u1001","Runtime":"runc",
"MaskedPaths":["/proc/kcore"],"ReadonlyPaths":["/proc/sys"],"Memory":100,"MemorySwap":100,"NanoCpus":1000,"PidsLimit":10,"ShmSize":64,
"LogConfig":{"Type":"json-file","Config":{"max-size":"10m"}},"RestartPolicy":{"Name":"no"}}}`

func inspection(t *testing.T, texts ...string) redteam.Inspection {
	t.Helper()
	var i redteam.Inspection
	for _, text := range texts {
		if err := json.Unmarshal([]byte(text), &i); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct{ over, want string }{
		"the plain container":                {`{}`, ""},
		"less than the limits":               {`{"HostConfig":{"Memory":50,"MemorySwap":50,"PidsLimit":5}}`, ""},
		"every capability dropped":           {`{"HostConfig":{"CapDrop":["ALL"]}}`, ""},
		"a mount that ds01 laid":             {`{"Mounts":[{"Type":"bind","Source":"/run/ds01/mnt/a/0","Destination":"/w","Propagation":"rprivate"}]}`, ""},
		"a granted device":                   {`{"HostConfig":{"DeviceCgroupRules":["c 195:0 rw"]}}`, ""},
		"a memory mount":                     {`{"HostConfig":{"Tmpfs":{"/t":"nosuid,nodev,size=1m"}}}`, ""},
		"privileged":                         {`{"HostConfig":{"Privileged":true}}`, "every privilege"},
		"a capability":                       {`{"HostConfig":{"CapAdd":["SYS_ADMIN"]}}`, "added capabilities"},
		"mknod not dropped":                  {`{"HostConfig":{"CapDrop":["NET_RAW"]}}`, "MKNOD"},
		"the host's processes":               {`{"HostConfig":{"PidMode":"host"}}`, "PidMode"},
		"another's shared memory":            {`{"HostConfig":{"IpcMode":"container:2"}}`, "IpcMode"},
		"the host's name":                    {`{"HostConfig":{"UTSMode":"host"}}`, "UTSMode"},
		"the host's users":                   {`{"HostConfig":{"UsernsMode":"host"}}`, "UsernsMode"},
		"the host's groups":                  {`{"HostConfig":{"CgroupnsMode":"host"}}`, "CgroupnsMode"},
		"the host's network":                 {`{"HostConfig":{"NetworkMode":"host"}}`, "network"},
		"another cgroup":                     {`{"HostConfig":{"CgroupParent":"/"}}`, "cgroup parent"},
		"another runtime":                    {`{"HostConfig":{"Runtime":"nvidia"}}`, "runtime"},
		"no seccomp":                         {`{"HostConfig":{"SecurityOpt":["seccomp=unconfined"]}}`, "security option"},
		"nothing masked":                     {`{"HostConfig":{"MaskedPaths":[]}}`, "/proc/kcore uncovered"},
		"nothing read-only":                  {`{"HostConfig":{"ReadonlyPaths":null}}`, "/proc/sys writable"},
		"a kernel setting":                   {`{"HostConfig":{"Sysctls":{"kernel.x":"1"}}}`, "kernel setting"},
		"annotations":                        {`{"HostConfig":{"Annotations":{"a":"b"}}}`, "annotations"},
		"a leaked descriptor":                {`{"Config":{"WorkingDir":"/proc/self/fd/8"}}`, "working directory"},
		"a device":                           {`{"HostConfig":{"Devices":[{"PathOnHost":"/dev/kmsg"}]}}`, "devices"},
		"every device":                       {`{"HostConfig":{"DeviceCgroupRules":["c *:* rwm"]}}`, "device rule"},
		"every GPU":                          {`{"HostConfig":{"DeviceRequests":[{"Count":-1}]}}`, "device request"},
		"the host's root":                    {`{"Mounts":[{"Type":"bind","Source":"/","Destination":"/h"}]}`, "/ of the host at /h"},
		"a folder whose name begins alike":   {`{"Mounts":[{"Type":"bind","Source":"/run/ds01evil","Destination":"/h"}]}`, "/run/ds01evil"},
		"mounts that travel":                 {`{"Mounts":[{"Type":"bind","Source":"/run/ds01/mnt/a/0","Propagation":"rshared"}]}`, "travel"},
		"a memory mount with setuid files":   {`{"HostConfig":{"Tmpfs":{"/t":"nodev"}}}`, "nosuid"},
		"all GPUs by the variable":           {`{"Config":{"Env":["NVIDIA_VISIBLE_DEVICES=all"]}}`, "NVIDIA_VISIBLE_DEVICES=all"},
		"a port of the host's":               {`{"HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"22"}]}}}`, "port 80/tcp"},
		"another's label":                    {`{"Config":{"Labels":{"aime.mlc.DS01_UID":"0"}}}`, "label of uid"},
		"no limit of memory":                 {`{"HostConfig":{"Memory":0}}`, "memory 0"},
		"unlimited swap":                     {`{"HostConfig":{"MemorySwap":-1}}`, "swap -1"},
		"more processors":                    {`{"HostConfig":{"NanoCpus":1001}}`, "nano-processors"},
		"no limit of processes":              {`{"HostConfig":{"PidsLimit":null}}`, "0 processes"},
		"shared memory without end":          {`{"HostConfig":{"ShmSize":1000}}`, "shared memory"},
		"never killed":                       {`{"HostConfig":{"OomKillDisable":true,"OomScoreAdj":-5}}`, "no end over its memory"},
		"real time":                          {`{"HostConfig":{"CpuRealtimeRuntime":5}}`, "real-time"},
		"logs elsewhere":                     {`{"HostConfig":{"LogConfig":{"Type":"syslog"}}}`, "log driver"},
		"logs without end":                   {`{"HostConfig":{"LogConfig":{"Type":"json-file","Config":{"max-size":"-1"}}}}`, "logs of"},
		"restarts by the engine":             {`{"HostConfig":{"RestartPolicy":{"Name":"always"}}}`, "restart policy"},
		"volumes of a container by its name": {`{"HostConfig":{"VolumesFrom":["db"]}}`, "volumes from"},
	} {
		t.Run(name, func(t *testing.T) {
			found := strings.Join(redteam.Judge(inspection(t, plain, c.over), inspection(t, plain), "/run/ds01", 1001), "; ")
			if (found == "") != (c.want == "") || !strings.Contains(found, c.want) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}
