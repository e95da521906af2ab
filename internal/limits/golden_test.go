package limits_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
)

var noon = time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)

// decode returns the document, and its warnings without "FILE:".
func decode(t testing.TB, text string, members ...string) (*limits.Document, []string) {
	t.Helper()
	files := map[string]limits.File{}
	for i := 0; i+1 < len(members); i += 2 {
		files[members[i]] = limits.File{Name: members[i] + ".members", Data: []byte(members[i+1])}
	}
	d, warnings, err := limits.Decode(limits.File{Name: "resource-limits.yaml", Data: []byte(text)}, files)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, w := range warnings {
		texts = append(texts, strings.TrimPrefix(w.String(), "resource-limits.yaml:"))
	}
	return d, texts
}

func load(t testing.TB, name string, members ...string) (*limits.Document, []string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, string(data), members...)
}

// resolved returns the values of a person by key, and their group.
func resolved(d *limits.Document, user string) (map[string]string, limits.Limits) {
	l := d.Resolve(account.Account{Name: user}, noon)
	values := map[string]string{}
	for _, v := range l.Values() {
		values[v.Key] = v.Text
	}
	return values, l
}

// wantValues compares only the keys that want names.
func wantValues(t *testing.T, got, want map[string]string) {
	t.Helper()
	picked := maps.Clone(want)
	for k := range want {
		picked[k] = got[k]
	}
	if diff := cmp.Diff(want, picked); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
}

func TestFixtureOfTheExistingDeployment(t *testing.T) {
	d, warnings := load(t, "fixture-2025-11.yaml")
	if len(warnings) > 0 {
		t.Errorf("warnings: %q", warnings)
	}
	short := map[string]string{
		"container_hold_after_stop": "36s", "gpu_hold_after_stop": "36s", "idle_timeout": "36s", "max_runtime": "1m 12s",
		"max_containers_per_user": "2", "pids_limit": "4096",
	}
	tests := map[string]struct {
		group    string
		override bool
		want     map[string]string
	}{
		"student1":    {"students", false, map[string]string{"max_cpus": "8", "max_mig_instances": "1", "memory": "32GiB", "memory_swap": "32GiB", "priority": "10", "shm_size": "16GiB"}},
		"researcher1": {"researchers", false, map[string]string{"max_cpus": "16", "max_mig_instances": "2", "memory": "64GiB", "memory_swap": "64GiB", "priority": "50", "shm_size": "32GiB"}},
		"admin1":      {"admins", false, map[string]string{"max_cpus": "32", "max_mig_instances": "unlimited", "memory": "128GiB", "memory_swap": "128GiB", "priority": "100", "shm_size": "64GiB"}},
		// An override used to lie over defaults; it lies over the group.
		"special_user": {"students", true, map[string]string{"max_cpus": "8", "max_mig_instances": "4", "memory": "32GiB", "max_runtime": "3m", "priority": "90"}},
		"unknown_user": {"students", false, map[string]string{"max_cpus": "8", "max_mig_instances": "1", "memory": "32GiB", "priority": "10"}},
	}
	for user, tt := range tests {
		t.Run(user, func(t *testing.T) {
			got, l := resolved(d, user)
			want := maps.Clone(short)
			maps.Copy(want, tt.want)
			wantValues(t, got, want)
			if l.Group != tt.group || l.Override != tt.override {
				t.Errorf("group %q, override %v; want %q, %v", l.Group, l.Override, tt.group, tt.override)
			}
		})
	}
}

func TestProductionFileOfNovember2025(t *testing.T) {
	d, warnings := load(t, "production-2025-11.yaml")
	student := map[string]string{
		"allow_full_gpu": "false", "container_hold_after_stop": "30m", "gpu_hold_after_stop": "15m", "idle_timeout": "2h",
		"io_read_bps": "500MiB", "io_write_bps": "200MiB", "max_containers_per_user": "3", "max_cpus": "16",
		"max_gpus_per_container": "1", "max_mig_instances": "2", "max_gpu_share": "unlimited", "max_runtime": "1d",
		"max_tasks": "512", "aggregate.tasks": "512",
		"memory": "32GiB", "memory_swap": "32GiB", "pids_limit": "4096", "shm_size": "16GiB", "storage_data": "200GiB",
		"storage_tmp": "50GiB", "storage_workspace": "100GiB", "ulimit_nofile": "65535", "priority": "10",
	}
	admin := map[string]string{
		"allow_full_gpu": "true", "gpu_hold_after_stop": "1h",
		// These used to fall through to defaults in the lifecycle scripts.
		"container_hold_after_stop": "unlimited", "idle_timeout": "unlimited", "max_runtime": "unlimited",
		"max_containers_per_user": "10", "max_cpus": "64", "max_gpus_per_container": "unlimited",
		"max_mig_instances": "unlimited", "max_gpu_share": "unlimited", "max_tasks": "unlimited", "aggregate.tasks": "unlimited",
		"memory": "128GiB", "memory_swap": "128GiB", "shm_size": "64GiB", "storage_data": "5TiB", "storage_tmp": "50GiB",
		"storage_workspace": "2TiB", "ulimit_nofile": "65535", "priority": "10",
		"aggregate.memory": "128GiB", "aggregate.cpus": "64",
	}
	for user, tt := range map[string]struct {
		group string
		want  map[string]string
	}{"anyone": {"student", student}, "datasciencelab": {"admin", admin}, "h.baker@example.lan": {"student", student}} {
		t.Run(user, func(t *testing.T) {
			got, l := resolved(d, user)
			wantValues(t, got, tt.want)
			if l.Group != tt.group {
				t.Errorf("group %q, want %q", l.Group, tt.group)
			}
		})
	}
	wantWarning(t, warnings, "not applied: defaults.gpu_memory")
	wantWarning(t, warnings, "not applied: policies.checkpoint_warning: write first_warning")
	wantWarning(t, warnings, "not applied: gpu_allocation.mig_gpus: what cards are cut into")
	wantWarning(t, warnings, "not applied: advanced: ")
	wantWarning(t, warnings, "not applied: wizard: ")
}

func TestProductionFileOfJuly2026(t *testing.T) {
	d, warnings := load(t, "production-2026-07.yaml",
		"researcher", "u_researcher\n", "faculty", "# professors\nu_faculty # head\n\n", "admin", "u_admin\r\n")
	tests := map[string]map[string]string{
		"anyone": {
			"allow_full_gpu": "true", "max_containers_per_user": "3", "max_cpus": "32", "max_gpu_share": "2", "max_mig_instances": "unlimited",
			"max_gpus_per_container": "2", "max_tasks": "32768", "memory": "32GiB", "memory_swap": "32GiB", "pids_limit": "4096", "shm_size": "16GiB",
			"aggregate.cpus": "96", "aggregate.memory": "96GiB", "aggregate.memory_high": "86GiB", "aggregate.tasks": "12288",
		},
		"u_researcher": {
			"max_containers_per_user": "5", "max_cpus": "48", "max_gpu_share": "4", "max_gpus_per_container": "3", "max_tasks": "65536",
			"memory": "64GiB", "memory_swap": "64GiB", "shm_size": "32GiB",
			"aggregate.cpus": "240", "aggregate.memory": "320GiB", "aggregate.memory_high": "288GiB", "aggregate.tasks": "327680",
		},
		"u_faculty": {
			"max_cpus": "64", "max_gpu_share": "4", "max_gpus_per_container": "4", "memory": "128GiB", "memory_swap": "128GiB", "shm_size": "64GiB",
			"aggregate.cpus": "320", "aggregate.memory": "640GiB", "aggregate.memory_high": "576GiB", "aggregate.tasks": "327680",
		},
		"u_admin": {
			"max_containers_per_user": "10", "max_cpus": "64", "max_gpu_share": "unlimited", "max_gpus_per_container": "unlimited", "max_tasks": "unlimited",
			"memory": "128GiB", "aggregate.cpus": "unlimited", "aggregate.memory": "unlimited", "aggregate.memory_high": "unlimited", "aggregate.tasks": "unlimited",
		},
	}
	for user, want := range tests {
		t.Run(user, func(t *testing.T) {
			got, _ := resolved(d, user)
			wantValues(t, got, want)
			// Times with their unit in the key are for ds01 import; what is built in holds.
			wantValues(t, got, map[string]string{"idle_timeout": "2h", "max_runtime": "1d", "gpu_hold_after_stop": "15m"})
		})
	}
	for _, want := range []string{
		"not applied: defaults.idle_timeout_h: write idle_timeout: 0.5h",
		"not applied: groups.researcher.max_runtime_h: write max_runtime: 48h",
		"not applied: policies.grace_period_m: write grace_period: 30m",
		"not applied: policies.sigterm_grace_s: write stop_timeout under defaults, a group or an override: 60s",
		"not applied: container_types.devcontainer.idle_timeout_h: write idle_timeout: null",
		"not applied: container_types.docker.sigterm_grace_s: write stop_timeout: 60s",
		"not applied: bare_metal_access.default_grant_duration_h: write default_grant_duration: 24h",
		"groups.student.aggregate.cpu_quota is read as aggregate.cpus: write that",
		"groups.student.aggregate.gpu_limit is read as max_gpu_share: write that",
		"defaults.max_gpu_slots_per_container is read as max_gpus_per_container: write that",
		" policies.network_idle_threshold is a bare number: write 1048576b",
		"not applied: enforcement: ", "not applied: monitoring: ", "not applied: access_control: ",
	} {
		wantWarning(t, warnings, want)
	}
}

// Rows of the existing deployment's tests of lifecycle policies.
func TestPoliciesAreInherited(t *testing.T) {
	const file = `
policies: {gpu_idle_threshold: 5, cpu_idle_threshold: 2.0, network_idle_threshold: 1MiB, idle_detection_window: 3}
groups:
  student: {members: [alice], policies: {gpu_idle_threshold: 5, cpu_idle_threshold: 2.0, idle_detection_window: 3}}
  researcher: {members: [carol], policies: {cpu_idle_threshold: 3.0, idle_detection_window: 4}}
  faculty: {members: [dave], policies: {cpu_idle_threshold: 3.0, idle_detection_window: 4}}
  admin: {members: [root_user]}
user_overrides:
  special: {policies: {cpu_idle_threshold: 5.0, idle_detection_window: 6}}
`
	tests := map[string]struct{ file, cpu, window, gpu, network string }{
		"alice":          {file, "2%", "3", "5%", "1MiB"},
		"carol":          {file, "3%", "4", "5%", "1MiB"},
		"dave":           {file, "3%", "4", "5%", "1MiB"},
		"root_user":      {file, "2%", "3", "5%", "1MiB"},
		"unknown_person": {file, "2%", "3", "5%", "1MiB"},
		"special":        {file, "5%", "6", "5%", "1MiB"},
		"nobody":         {"", "2%", "3", "5%", "1MiB"},
	}
	for user, tt := range tests {
		t.Run(user, func(t *testing.T) {
			d, _ := decode(t, tt.file)
			got, _ := resolved(d, user)
			wantValues(t, got, map[string]string{
				"policies.cpu_idle_threshold": tt.cpu, "policies.idle_detection_window": tt.window,
				"policies.gpu_idle_threshold": tt.gpu, "policies.network_idle_threshold": tt.network,
			})
		})
	}
}

func wantWarning(t *testing.T, warnings []string, part string) {
	t.Helper()
	if !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, part) }) {
		t.Errorf("no warning says %q in:\n%s", part, strings.Join(warnings, "\n"))
	}
}
