package limits_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
)

func TestDecodeRefuses(t *testing.T) {
	tests := map[string]struct{ file, says string }{
		"an unknown key, and names the one that was meant":    {"defaults:\n  max_cpu: 8", `:2: unknown key "max_cpu" in defaults: did you mean max_cpus?`},
		"an unknown key like none, and lists those there are": {"defaults:\n  colour: red", `:2: unknown key "colour" in defaults; it has max_mig_instances, `},
		"an unknown section":                   {"default: {}", `:1: unknown key "default" in the file: did you mean defaults?`},
		"an unknown key of aggregate":          {"defaults:\n  aggregate: {cpu: 3}", `:2: unknown key "cpu" in defaults.aggregate: did you mean cpus?`},
		"an unknown key of a policy":           {"policies: {auto_stop: true}", `unknown key "auto_stop" in policies: did you mean auto_stop_idle?`},
		"an unknown container type":            {"container_types: {kubernetes: {}}", `unknown key "kubernetes" in container_types; it has orchestration`},
		"a section written as one key":         {"defaults: {aggregate.cpus: 3}", `unknown key "aggregate.cpus"`},
		"a repeated key":                       {"defaults:\n  memory: 8g\n  memory: 9g", ":3: defaults repeats memory of line 2: keep one"},
		"a repeated group":                     {"groups:\n  a: {}\n  a: {}", ":3: groups repeats a of line 2"},
		"a repeated section":                   {"defaults: {}\ndefaults: {}", ":2: the file repeats defaults of line 1"},
		"a bare number where a size is due":    {"defaults: {memory: 32}", `:1: defaults.memory: "32" needs a unit (b, k, m, g, t or p), such as 32g`},
		"a bare number where a time is due":    {"defaults: {idle_timeout: 48}", `"48" needs a unit (s, m, h, d or w), such as 48h`},
		"a bare zero where a time is due":      {"defaults: {gpu_hold_after_stop: 0}", `"0" needs a unit`},
		"a bare zero where a size is due":      {"defaults: {shm_size: 0}", `"0" needs a unit`},
		"no memory, which engines read as all": {"defaults: {memory: 0g}", `"0g" is too small: the least is 6MiB (null is no limit)`},
		"no CPUs, which engines read as all":   {"defaults: {max_cpus: 0}", `"0" is too small: the least is 0.01`},
		"no processes":                         {"defaults: {pids_limit: 0}", `"0" is too small: the least is 1`},
		"idle at once":                         {"defaults: {idle_timeout: 0s}", `"0s" is too small: the least is 1s`},
		"an invalid time":                      {"defaults: {idle_timeout: abc}", `defaults.idle_timeout: "abc" is not a duration`},
		"an empty time":                        {`defaults: {idle_timeout: ""}`, `"" is not a duration`},
		"a negative count":                     {"defaults: {max_mig_instances: -1}", `"-1" is not a whole number of 0 or more`},
		"a fraction of a device":               {"defaults: {max_mig_instances: 1.5}", `"1.5" is not a whole number`},
		"none where it may mean zero":          {"defaults: {max_mig_instances: none}", `"none" is not a whole number`},
		"yes for true":                         {"defaults: {allow_full_gpu: yes}", `"yes" is neither true nor false`},
		"no limit of a truth":                  {"defaults: {allow_full_gpu: null}", "defaults.allow_full_gpu: it can't be without limit"},
		"no limit of a rank":                   {"defaults: {priority: null}", "defaults.priority: it can't be without limit"},
		"no limit of mounts":                   {"defaults: {mounts: null}", "write [] for none"},
		"a relative mount":                     {"defaults: {mounts: [data]}", `defaults.mounts: "data" is not an absolute path`},
		"a mount that climbs":                  {"defaults: {mounts: [/data/../etc]}", "is not an absolute path without '..'"},
		"a list where a value belongs":         {"defaults: {memory: [1g]}", "defaults.memory: it holds a list where one value belongs"},
		"a value where a section belongs":      {"defaults: 5", `:1: defaults holds "5" where 'key: value' lines belong`},
		"a list at the top":                    {"- a", "the file holds a list"},
		"members that are no list":             {"groups: {a: {members: bob}}", `groups.a.members holds "bob" where a list belongs, such as [a, b]`},
		"a member that is nothing":             {"groups: {a: {members: [null]}}", "where a name belongs"},
		"a member with a space in it":          {"groups: {a: {members: [bob eve]}}", `"bob eve" is not a login name`},
		"a group that is a path":               {"groups: {../a: {}}", `"../a" can't be a group's name`},
		"an unknown default group":             {"default_group: nope\ngroups: {a: {}, b: {}}", `:1: default_group is "nope", which groups doesn't have (a, b)`},
		"a default group that is a list":       {"default_group: [a]\ngroups: {a: {}}", "default_group is a list"},
		"swap below memory in one rule":        {"defaults: {memory: 32g, memory_swap: 8g}", "defaults: memory_swap (8GiB) counts memory and swap together"},
		"no limit of memory above swap":        {"defaults: {memory: null, memory_swap: 8g}", "it can't be below memory (unlimited)"},
		"an expiry that is no date":            {"user_overrides: {a: {expires: soon}}", `user_overrides.a.expires is "soon" where a date belongs, such as 2030-01-31`},
		"an expiry that is a number":           {"user_overrides: {a: {expires: 5}}", "where a date belongs"},
		"a reservation that ends first":        {"user_overrides: {a: {reservation_start: 2030-02-01, reservation_end: 2030-01-01}}", "reservation_end is not after reservation_start"},
		"a reason that is a list":              {"user_overrides: {a: {reason: [b]}}", "user_overrides.a.reason holds a list where one value belongs"},
		"an alias":                             {"defaults: &d {memory: 1g}\ngroups: {a: *d}", ":2: anchors, aliases and merge keys are not read"},
		"a merge key":                          {"groups:\n  <<: {a: {}}", "anchors, aliases and merge keys are not read"},
		"a tag":                                {"defaults: {memory: !!binary aGk=}", "the tag !!binary is not read"},
		"two documents":                        {"defaults: {}\n---\ndefaults: {}", "a second YAML document"},
		"what isn't YAML":                      {"defaults:\n  a: b: c", ":2: not YAML: mapping values are not allowed"},
		"a tab":                                {"defaults:\n\tmemory: 1g", "not YAML: "},
		"a key that is a list":                 {"defaults: {[a]: b}", "defaults has a key that is not a name"},
		"a unit twice, in name and value":      {"defaults: {idle_timeout_h: 2h}", `defaults.idle_timeout_h: "2h" is not a number`},
		"a wrong value of an idle section":     {"policies: {auto_stop_idle: maybe}", `policies.auto_stop_idle: "maybe" is neither true nor false`},
		"a fraction above one":                 {"policies: {high_demand_threshold: 80}", `"80" is not a number from 0 to 1`},
		"a CPU quota without its sign":         {"defaults: {aggregate: {cpu_quota: 96}}", "a CPU quota ends in %: 100% is one CPU"},
		"a historic key with a wrong value":    {"defaults: {max_gpus_per_user: many}", `defaults.max_mig_instances: "many" is not a whole number`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, _, err := limits.Decode(limits.File{Name: "l.yaml", Data: []byte(tt.file)}, nil)
			if err == nil || d != nil || !errors.Is(err, problem.ErrInvalid) {
				t.Fatalf("got %v, %v; want an error that is ErrInvalid", d, err)
			}
			if !strings.Contains(err.Error(), tt.says) || !strings.HasPrefix(err.Error(), "l.yaml:") {
				t.Errorf("got %q; want it to say %q", err, tt.says)
			}
		})
	}
}

func TestDecodeReportsEverythingAtOnceInTheOrderOfLines(t *testing.T) {
	_, _, err := limits.Decode(limits.File{Name: "l.yaml", Data: []byte("default_group: x\ngroups:\n  a: {memory: 1}\ndefaults:\n  foo: 1\n  pids_limit: x\n")},
		map[string]limits.File{"a": {Name: "a.members", Data: []byte("ok\nbob eve\n")}})
	var lines []string
	for line := range strings.Lines(err.Error()) {
		where, _, _ := strings.Cut(line, ": ")
		lines = append(lines, where)
	}
	if diff := cmp.Diff([]string{"a.members:2", "l.yaml:1", "l.yaml:3", "l.yaml:5", "l.yaml:6"}, lines); diff != "" {
		t.Errorf("(-want +got):\n%s\n%v", diff, err)
	}
}

// The edge cases of the existing deployment's parsers, as they should be.
func TestDecodeEdgeCases(t *testing.T) {
	tests := map[string]struct {
		file, user string
		group      string
		override   bool
		want       map[string]string
	}{
		"an empty file means what is built in":    {"", "x", "", false, map[string]string{"max_cpus": "16", "memory": "32GiB", "max_mig_instances": "1"}},
		"comments alone are an empty file":        {"# nothing\n", "x", "", false, map[string]string{"max_cpus": "16"}},
		"a null file is an empty file":            {"null", "x", "", false, map[string]string{"max_cpus": "16"}},
		"defaults alone leave the rest bounded":   {"defaults: {max_cpus: 8}", "x", "", false, map[string]string{"max_cpus": "8", "memory": "32GiB", "aggregate.memory": "64GiB"}},
		"null groups are no groups":               {"defaults: {max_cpus: 8}\ngroups:", "x", "", false, map[string]string{"max_cpus": "8"}},
		"a null group is an empty one":            {"defaults: {max_cpus: 8}\ngroups:\n  student:", "x", "student", false, map[string]string{"max_cpus": "8"}},
		"null members are nobody":                 {"defaults: {max_cpus: 8}\ngroups:\n  student: {members: null}", "x", "student", false, map[string]string{"max_cpus": "8"}},
		"null defaults are empty ones":            {"defaults:\ngroups: {}", "x", "", false, map[string]string{"max_cpus": "16"}},
		"a null override changes nothing":         {"user_overrides: {x: null}", "x", "", true, map[string]string{"max_cpus": "16"}},
		"a null default group is the usual one":   {"default_group:\ngroups: {student: {max_cpus: 3}}", "x", "student", false, map[string]string{"max_cpus": "3"}},
		"null sections are empty ones":            {"policies:\ngpu_allocation:\ncontainer_types:\nbare_metal_access:\nuser_overrides:", "x", "", false, map[string]string{"max_cpus": "16"}},
		"the first of several groups applies":     {"groups:\n  student: {members: [x], max_cpus: 4}\n  researcher: {members: [x], max_cpus: 2}", "x", "student", false, map[string]string{"max_cpus": "4"}},
		"an override lies over the group":         {"defaults: {max_cpus: 8, memory: 32g}\ngroups:\n  researcher: {members: [x], memory: 64g, priority: 50}\nuser_overrides:\n  x: {max_cpus: 99}", "x", "researcher", true, map[string]string{"max_cpus": "99", "memory": "64GiB", "priority": "50"}},
		"an override is the login name's alone":   {"user_overrides: {h-baker-at-x: {max_cpus: 3}}", "h.baker@x", "", false, map[string]string{"max_cpus": "16"}},
		"null lifts the limit of defaults":        {"defaults: {idle_timeout: 2h}\ngroups:\n  a: {members: [x], idle_timeout: null}", "x", "a", false, map[string]string{"idle_timeout": "unlimited"}},
		"a number can be a login name":            {"groups:\n  g: {members: [204214]}", "204214", "g", false, nil},
		"a number can be overridden":              {"user_overrides:\n  204214: {max_cpus: 3}", "204214", "", true, map[string]string{"max_cpus": "3"}},
		"Windows line ends and a byte order mark": {"\ufeffdefaults:\r\n  max_cpus: 8\r\n", "x", "", false, map[string]string{"max_cpus": "8"}},
		"words for no limit":                      {"defaults: {idle_timeout: never, max_runtime: Indefinite, memory: unlimited, max_mig_instances: ~, gpu_hold_after_stop: None}", "x", "", false, map[string]string{"idle_timeout": "unlimited", "max_runtime": "unlimited", "memory": "unlimited", "memory_swap": "unlimited", "max_mig_instances": "unlimited", "gpu_hold_after_stop": "unlimited"}},
		"null aggregate is no total":              {"defaults: {aggregate: null}", "x", "", false, map[string]string{"aggregate.cpus": "unlimited", "aggregate.memory": "unlimited", "aggregate.memory_high": "unlimited", "aggregate.tasks": "unlimited"}},
		"aggregates merge key by key":             {"defaults: {aggregate: {cpus: 4, memory: 8g}}\ngroups: {student: {aggregate: {cpus: 2}}}", "x", "student", false, map[string]string{"aggregate.cpus": "2", "aggregate.memory": "8GiB", "aggregate.memory_high": "8GiB"}},
		"memory brings its own swap":              {"defaults: {memory: 32g, memory_swap: 40g}\ngroups: {student: {memory: 64g}}", "x", "student", false, map[string]string{"memory": "64GiB", "memory_swap": "64GiB"}},
		"swap below what is inherited holds":      {"defaults: {memory: 32g}\ngroups: {student: {memory_swap: 16g}}", "x", "student", false, map[string]string{"memory": "16GiB", "memory_swap": "16GiB"}},
		"max_tasks is the person's total":         {"defaults: {max_tasks: 300}", "x", "", false, map[string]string{"max_tasks": "300", "aggregate.tasks": "300"}},
		"aggregate.tasks wins over max_tasks":     {"defaults: {max_tasks: 300, aggregate: {tasks: 200}}", "x", "", false, map[string]string{"max_tasks": "300", "aggregate.tasks": "200"}},
		"a built-in total fits one container":     {"defaults: {max_cpus: 100, memory: null, pids_limit: 9000}", "x", "", false, map[string]string{"aggregate.cpus": "100", "aggregate.memory": "unlimited", "aggregate.memory_high": "unlimited", "aggregate.tasks": "9000"}},
		"no aggregate is not no limit":            {"groups: {admin: {members: [x], max_cpus: 64, memory: 128g, max_tasks: null}}", "x", "admin", false, map[string]string{"aggregate.cpus": "64", "aggregate.memory": "128GiB", "aggregate.tasks": "unlimited"}},
		"devices alone aren't bounded by share":   {"defaults: {max_mig_instances: 3}", "x", "", false, map[string]string{"max_mig_instances": "3", "max_gpu_share": "unlimited"}},
		"a share alone isn't bounded by devices":  {"defaults: {max_gpu_share: 3/7}", "x", "", false, map[string]string{"max_mig_instances": "unlimited", "max_gpu_share": "3/7"}},
		"of two spellings the stricter applies":   {"defaults: {max_gpu_share: 2, max_gpu_equivalents: 3, aggregate: {memory_max: 3g, memory: 4g}}", "x", "", false, map[string]string{"max_gpu_share": "2", "aggregate.memory": "3GiB"}},
		"zero devices are none":                   {"defaults: {max_mig_instances: 0, max_gpu_share: 0, gpu_hold_after_stop: 0s}", "x", "", false, map[string]string{"max_mig_instances": "0", "max_gpu_share": "0", "gpu_hold_after_stop": "0s"}},
		"mounts are a list":                       {"defaults: {mounts: [~, /data, {path: /models, mode: ro}, {path: ~/x, mode: rw}, /scratch/$USER]}", "x", "", false, map[string]string{"mounts": "~ /data /models:ro ~/x /scratch/$USER"}},
		"no mounts":                               {"defaults: {mounts: []}", "x", "", false, map[string]string{"mounts": "none"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d, _ := decode(t, tt.file)
			got, l := resolved(d, tt.user)
			wantValues(t, got, tt.want)
			if l.Group != tt.group || l.Override != tt.override {
				t.Errorf("group %q, override %v; want %q, %v", l.Group, l.Override, tt.group, tt.override)
			}
		})
	}
}

func TestDecodeWarns(t *testing.T) {
	tests := map[string]struct{ file, says string }{
		"of a historic key it reads":           {"defaults:\n  max_mig_per_container: 2", "2: defaults.max_mig_per_container is read as max_gpus_per_container: write that"},
		"loudly of a unit in a key's name":     {"defaults:\n  idle_timeout_h: 0.5", "2: not applied: defaults.idle_timeout_h: write idle_timeout: 0.5h"},
		"of an unlimited one too":              {"groups: {a: {max_runtime_h: null}}", "1: not applied: groups.a.max_runtime_h: write max_runtime: null"},
		"of a key nothing reads":               {"defaults: {gpu_memory: 10}", "1: not applied: defaults.gpu_memory: "},
		"of two spellings that differ":         {"defaults: {max_gpu_share: 2, max_gpu_equivalents: 3}", "defaults.max_gpu_share is written twice, as 2 and 3: the stricter applies"},
		"of reservations of nothing":           {"user_overrides: {a: {reservation_start: 2030-01-01, reservation_end: 2030-01-02}}", "not applied: user_overrides.a reserves from or until a time, but no reserved_gpus"},
		"of a section's key nothing enforces":  {"bare_metal_access: {exempt_users: [a]}", "not applied: bare_metal_access.exempt_users: who may open the host's own devices is said by"},
		"of a bare number the old files wrote": {"policies: {network_idle_threshold: 1048576}", "1: policies.network_idle_threshold is a bare number: write 1048576b"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, warnings := decode(t, tt.file)
			wantWarning(t, warnings, tt.says)
		})
	}
	t.Run("not of the alias max_gpu_equivalents", func(t *testing.T) {
		if _, warnings := decode(t, "defaults: {max_gpu_equivalents: 2.0}"); len(warnings) > 0 {
			t.Errorf("warnings: %q", warnings)
		}
	})
	t.Run("of a members file without a group", func(t *testing.T) {
		_, warnings := decode(t, "groups: {a: {}}", "b", "x\n")
		wantWarning(t, warnings, `b.members:1: not applied: the limits file has no group "b"`)
	})
}

func TestMembership(t *testing.T) {
	d, _ := decode(t, "default_group: student\ngroups:\n  admin: {members: [ann]}\n  researcher: {}\n  student: {}\n",
		"researcher", "# one name a line\nbob # PhD\n\nann\n204214@example.lan\n")
	tests := map[string]struct {
		account account.Account
		group   string
		others  []string
	}{
		"the file's members":                 {account.Account{Name: "ann"}, "admin", []string{"researcher"}},
		"a members file's":                   {account.Account{Name: "bob"}, "researcher", nil},
		"a number with a domain":             {account.Account{Name: "204214@example.lan"}, "researcher", nil},
		"the Unix group of the same name":    {account.Account{Name: "eve", Groups: []account.Group{{Name: "users"}, {Name: "student"}, {Name: "admin"}}}, "admin", []string{"student"}},
		"in a file and in the Unix group":    {account.Account{Name: "bob", Groups: []account.Group{{Name: "researcher"}}}, "researcher", nil},
		"nobody's, so in the default group":  {account.Account{Name: "zoe"}, "student", nil},
		"names differ in case, as logins do": {account.Account{Name: "Bob"}, "student", nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := d.Resolve(tt.account, noon)
			if l.Group != tt.group || cmp.Diff(tt.others, l.OtherGroups) != "" {
				t.Errorf("got %q and %q; want %q and %q", l.Group, l.OtherGroups, tt.group, tt.others)
			}
		})
	}
	if diff := cmp.Diff([]string{"204214@example.lan", "ann", "bob"}, d.KnownUsers()); diff != "" {
		t.Errorf("known users (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"admin", "researcher", "student"}, d.GroupsInOrder()); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}
