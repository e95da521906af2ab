package limits_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/quantity"
)

const sample = `defaults:
  max_mig_instances: 1
  memory: 32g
groups:
  student: {members: [alice]}
  researcher:
    members: [bob]
    memory: 64g
    max_cpus: 8
user_overrides:
  bob:
    max_mig_instances: 4
    reason: thesis
    expires: 2030-05-17
  carol: {max_mig_instances: 2, expires: "2030-05-17T12:00:00+02:00"}
  dave: {max_mig_instances: null, expires: never}
`

func TestEveryValueSaysWhereItComesFrom(t *testing.T) {
	d, _ := decode(t, sample)
	bob := d.Resolve(account.Account{Name: "bob"}, noon)
	for key, want := range map[string]string{
		"max_mig_instances": "user_overrides.bob, resource-limits.yaml:12",
		"memory":            "groups.researcher, resource-limits.yaml:8",
		"memory_swap":       "groups.researcher, resource-limits.yaml:8",
		"aggregate.memory":  "built-in", // 64GiB, which is no less than memory
		"pids_limit":        "built-in",
		"nonsense":          "",
	} {
		got := bob.Source(key).String()
		if got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	alice := d.Resolve(account.Account{Name: "alice"}, noon)
	if got := alice.Source("max_mig_instances").String(); got != "defaults, resource-limits.yaml:2" {
		t.Errorf("alice's devices: got %q", got)
	}
	for _, v := range bob.Values() {
		if v.Source != bob.Source(v.Key) {
			t.Errorf("%s: Values says %v, Source %v", v.Key, v.Source, bob.Source(v.Key))
		}
	}
}

func TestAnOverrideExpires(t *testing.T) {
	d, _ := decode(t, sample)
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tests := map[string]struct {
		user     string
		now      time.Time
		override bool
		devices  quantity.Limit[int]
	}{
		"not before its day":            {"bob", at("2030-05-16T23:00:00Z"), true, quantity.To(4)},
		"nor all through it":            {"bob", at("2030-05-17T23:59:59Z"), true, quantity.To(4)},
		"but with its end":              {"bob", at("2030-05-18T00:00:00Z"), false, quantity.To(1)},
		"up to its moment":              {"carol", at("2030-05-17T09:59:59Z"), true, quantity.To(2)},
		"at its moment in its own zone": {"carol", at("2030-05-17T10:00:00Z"), false, quantity.To(1)},
		"never if it says so":           {"dave", at("2999-01-01T00:00:00Z"), true, quantity.None[int]()},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := d.Resolve(account.Account{Name: tt.user}, tt.now)
			if l.Override != tt.override || l.MaxDevices != tt.devices {
				t.Errorf("got %v, %+v; want %v, %+v", l.Override, l.MaxDevices, tt.override, tt.devices)
			}
		})
	}
}

func TestTypedFields(t *testing.T) {
	d, _ := decode(t, `
defaults:
  {max_mig_instances: 3, max_gpus_per_container: 2, allow_full_gpu: false, max_gpu_share: 1.5, priority: 20, max_cpus: 0.5,
   memory: 1g, memory_swap: 2g, shm_size: 3m, pids_limit: 4, max_tasks: 5, io_read_bps: 6k, io_write_bps: 7k, ulimit_nofile: 8,
   storage_workspace: 9g, storage_data: 10g, storage_tmp: 11g, storage_scratch: 12g, max_containers_per_user: 13, max_runtime: 14h,
   idle_timeout: 15m, gpu_hold_after_stop: 16m, container_hold_after_stop: 17m, stop_timeout: 18s, mounts: [/data],
   aggregate: {cpus: 19, memory: 20g, memory_high: 21g, tasks: 22}, max_extension: 23h, keep: {containers: 24, duration: 25d, disk: 26g},
   without_gpu: {max_runtime: 27h, idle_timeout: 28h, container_hold_after_stop: 29h},
   policies: {auto_stop_idle: false, gpu_idle_threshold: 30, cpu_idle_threshold: 3.1%, network_idle_threshold: 32k, disk_idle_threshold: 33k,
     idle_detection_window: 34, grace_period: 35m, created_container_timeout: 36m, keepalive_max_duration: 37h, first_warning: 0.38, last_warning: 0.39,
     high_demand_threshold: 0.4, high_demand_idle_reduction: 0.41, calendar: [{days: "sat-mon", hours: "20:00-24:00", idle_factor: 4.2}, {days: "wed", idle_factor: null}]}}`)
	got := d.Resolve(account.Account{Name: "x"}, noon)
	g := func(n quantity.ByteSize) quantity.Limit[quantity.ByteSize] { return quantity.To(n << 30) }
	want := limits.Limits{
		MaxDevices: quantity.To(3), MaxGPUsPerContainer: quantity.To(2), MaxGPUShare: quantity.To[quantity.GPUShare](1260), Priority: 20,
		MaxCPUs: quantity.To[quantity.CPUs](5e8), Memory: g(1), MemorySwap: g(2), ShmSize: quantity.To[quantity.ByteSize](3 << 20),
		PidsLimit: quantity.To[int64](4), MaxTasks: quantity.To[int64](5), IOReadBPS: quantity.To[quantity.ByteSize](6 << 10),
		IOWriteBPS: quantity.To[quantity.ByteSize](7 << 10), UlimitNofile: quantity.To[int64](8),
		Storage:       limits.Storage{Workspace: g(9), Data: g(10), Tmp: g(11), Scratch: g(12)},
		MaxContainers: quantity.To(13), MaxRuntime: quantity.To(14 * time.Hour), IdleTimeout: quantity.To(15 * time.Minute),
		GPUHoldAfterStop: quantity.To(16 * time.Minute), ContainerHoldAfterStop: quantity.To(17 * time.Minute), StopTimeout: quantity.To(18 * time.Second),
		Mounts:       []limits.MountRoot{{Path: "/data"}},
		Aggregate:    limits.Aggregate{CPUs: quantity.To[quantity.CPUs](19e9), Memory: g(20), MemoryHigh: g(21), Tasks: quantity.To[int64](22)},
		MaxExtension: quantity.To(23 * time.Hour),
		Keep:         limits.Keep{Containers: quantity.To(24), Duration: quantity.To(25 * 24 * time.Hour), Disk: g(26)},
		WithoutGPU: limits.WithoutGPU{
			MaxRuntime: quantity.To(27 * time.Hour), IdleTimeout: quantity.To(28 * time.Hour), ContainerHoldAfterStop: quantity.To(29 * time.Hour),
		},
		Policies: limits.Policies{
			GPUIdleThreshold: 30, CPUIdleThreshold: 3.1, NetworkIdleThreshold: quantity.To[quantity.ByteSize](32 << 10), DiskIdleThreshold: quantity.To[quantity.ByteSize](33 << 10),
			IdleWindow: 34, Grace: quantity.To(35 * time.Minute), CreatedTimeout: quantity.To(36 * time.Minute), KeepAlive: quantity.To(37 * time.Hour),
			FirstWarning: 0.38, LastWarning: 0.39, DemandThreshold: 0.4, DemandReduction: 0.41,
			Calendar: []limits.Hours{{Days: [7]bool{0: true, 1: true, 6: true}, From: 1200, Factor: 4.2}, {Days: [7]bool{3: true}, Leave: true}},
		},
	}
	if diff := cmp.Diff(want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".settings" }, cmp.Ignore())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestValuesSayWhatNothingEnforces(t *testing.T) {
	d, _ := decode(t, "")
	enforced := map[string]bool{}
	for k := range strings.FieldsSeq(`max_mig_instances max_gpus_per_container allow_full_gpu max_gpu_share max_cpus memory memory_swap
		shm_size pids_limit io_read_bps io_write_bps ulimit_nofile max_containers_per_user priority gpu_hold_after_stop stop_timeout mounts
		max_runtime idle_timeout container_hold_after_stop max_extension keep.containers keep.duration keep.disk
		without_gpu.max_runtime without_gpu.idle_timeout without_gpu.container_hold_after_stop
		policies.gpu_idle_threshold policies.cpu_idle_threshold policies.network_idle_threshold policies.disk_idle_threshold
		policies.idle_detection_window policies.auto_stop_idle policies.grace_period policies.created_container_timeout
		policies.keepalive_max_duration policies.first_warning policies.last_warning policies.high_demand_threshold
		policies.high_demand_idle_reduction policies.calendar
		aggregate.cpus aggregate.tasks aggregate.memory aggregate.memory_high`) {
		enforced[k] = true
	}
	for _, v := range d.Resolve(account.Account{Name: "x"}, noon).ClampTo(limits.Host{CgroupV2: true}).Values() {
		if enforced[v.Key] != (v.Inactive == "") {
			t.Errorf("%s: inactive %q", v.Key, v.Inactive)
		}
	}
	if l := (limits.Limits{}); l.Values() != nil || l.Source("memory") != (limits.Source{}) || l.ClampTo(limits.Host{}).Values() != nil {
		t.Error("the zero Limits say something")
	}
}

func TestClampTo(t *testing.T) {
	d, _ := decode(t, "defaults: {max_cpus: 16, memory: 128g, memory_swap: 130g, aggregate: {memory_high: 100g}, max_runtime: null, shm_size: null}")
	host := limits.Host{CPUs: 2 * quantity.OneCPU, Memory: 67430821888, Nofile: 1024, NoRates: "it has no disk"}
	l := d.Resolve(account.Account{Name: "x"}, noon).ClampTo(host)
	texts := map[string]limits.Value{}
	for _, v := range l.Values() {
		texts[v.Key] = v
	}
	for key, want := range map[string]string{
		"max_cpus": "16, host has 2", "memory": "128GiB, host has 62.7GiB", "memory_swap": "130GiB, host has 62.7GiB",
		"aggregate.memory": "128GiB, host has 62.7GiB", "ulimit_nofile": "65535, host has 1024", "shm_size": "unlimited", "pids_limit": "4096",
	} {
		if texts[key].Text != want {
			t.Errorf("%s: got %q, want %q", key, texts[key].Text, want)
		}
	}
	if l.MaxCPUs.Value != host.CPUs || l.Memory.Value != host.Memory || l.MemorySwap.Value != host.Memory+2<<30 || l.UlimitNofile.Value != 1024 {
		t.Errorf("not clamped: %+v", l)
	}
	if got := l.Source("memory").String(); got != "host" {
		t.Errorf("source: got %q", got)
	}
	if got := texts["aggregate.memory_high"].Inactive; got != "not enforced: this host has cgroup v1" {
		t.Errorf("memory_high: inactive %q", got)
	}
	for _, key := range []string{"io_read_bps", "io_write_bps"} {
		if got := texts[key].Inactive; got != "not enforced: it has no disk" {
			t.Errorf("%s: inactive %q", key, got)
		}
	}
	if again := d.Resolve(account.Account{Name: "x"}, noon); again.MaxCPUs.Value != 16*quantity.OneCPU || again.Source("max_cpus").Rule != "defaults" {
		t.Error("clamping one person's limits changed the document")
	}
	if l := d.Resolve(account.Account{Name: "x"}, noon).ClampTo(limits.Host{CgroupV2: true}); l.MaxCPUs.Value != 16*quantity.OneCPU {
		t.Error("an unknown host clamps")
	}
}

func TestDiff(t *testing.T) {
	before, _ := decode(t, "defaults: {max_cpus: 4}\ngroups: {student: {}}")
	after, _ := decode(t, "groups: {student: {max_cpus: 4}, staff: {members: [bob], idle_timeout: null}}\nuser_overrides: {alice: {memory: 40g}}")
	got := limits.Diff(before, after, []account.Account{{Name: "carol"}, {Name: "bob"}, {Name: "alice"}}, noon)
	want := []limits.Change{
		{"alice", "memory", "32GiB", "40GiB"},
		{"alice", "memory_swap", "32GiB", "40GiB"},
		{"bob", "group", "student", "staff"},
		{"bob", "max_cpus", "4", "16"},
		{"bob", "idle_timeout", "2h", "unlimited"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := limits.Diff(after, after, []account.Account{{Name: "bob"}}, noon); got != nil {
		t.Errorf("nothing changed, got %v", got)
	}
}

// Whatever the three rules say, the closest to the person that says anything
// is the one that holds.
func TestTheClosestRuleHolds(t *testing.T) {
	values := map[string][2]string{"1": {"1", "1"}, "2": {"2", "2"}, "7": {"7", "7"}, "null": {"null", "unlimited"}}
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		want := map[string]string{}
		for _, rule := range []string{"defaults:\n", "groups:\n  g:\n    members: [x]\n", "user_overrides:\n  x:\n    reason: y\n"} {
			text.WriteString(rule)
			for _, key := range []string{"max_mig_instances", "max_gpus_per_container", "max_containers_per_user", "max_gpu_share", "pids_limit", "ulimit_nofile"} {
				v, set := values[rapid.SampledFrom([]string{"", "1", "2", "7", "null"}).Draw(t, rule+key)]
				if set {
					indent := strings.Repeat("  ", strings.Count(rule, "\n"))
					if rule != "defaults:\n" {
						indent = "    "
					}
					fmt.Fprintf(&text, "%s%s: %s\n", indent, key, v[0])
					want[key] = v[1]
				}
			}
		}
		d, _, err := limits.Decode(limits.File{Name: "f", Data: []byte(text.String())}, nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, text.String())
		}
		got, l := resolved(d, "x")
		for key, w := range want {
			if got[key] != w {
				t.Fatalf("%s: got %s, want %s\n%s", key, got[key], w, text.String())
			}
		}
		if !l.Override || l.Group != "g" {
			t.Fatalf("group %q, override %v", l.Group, l.Override)
		}
	})
}

func BenchmarkResolve(b *testing.B) {
	d, _ := decode(b, sample)
	groups := []account.Group{{Name: "users"}, {Name: "docker-users"}, {Name: "gpu-users"}, {Name: "student"}}
	for name, a := range map[string]account.Account{"group": {Name: "alice", Groups: groups}, "override": {Name: "bob", Groups: groups}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				d.Resolve(a, noon)
			}
		})
	}
}
