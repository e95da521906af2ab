package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/config"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

//nolint:dupword // four cards of one model
const sample = `# ds01.yaml
version: 1
engine:  {host: "unix:///run/ds01/engine.sock"}
gateway: {listen: "unix:///run/docker.sock"}
gpu:
  provider: nvml          # nvml | sim
  libraries: auto         # driver libraries in containers: auto | cdi | hook | none (sim: none)
  mig:                    # off | static | dynamic
    {mode: static, keep_full: 0, hysteresis: 1m}
  sim:
    gpus: [a100-80gb, a100-80gb, a100-80gb, a100-80gb]
    mig: {1: [3g.40gb, 2g.20gb, 1g.10gb, 1g.10gb]}   # fits only with 3g at 4: place by table, not greedily
cgroup:  {parent: auto}     # /ds01 or ds01.slice
images:  {default: ""}        # what deploy uses when nothing is named
disk:    {keep_free: auto}
networks: {pool: "10.192.0.0/12", size: 26, per_person: 8}
ports:   {range: "20000-59999", per_person: 100, addresses: ["127.0.0.1"]}
volumes: {per_person: 64}
web:     {listen: "127.0.0.1:8801"}
metrics: {listen: "127.0.0.1:9101"}
groups:  {docker: docker-users, gpu: gpu-users, priority: gpu-priority, admin: ds-admin}
`

func TestTheSampleSaysWhatAppliesAnyway(t *testing.T) {
	got, err := config.Decode("ds01.yaml", []byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.GPU.Sim = config.SimGPU{
		GPUs: []string{"a100-80gb", "a100-80gb", "a100-80gb", "a100-80gb"},
		MIG:  map[int][]string{1: {"3g.40gb", "2g.20gb", "1g.10gb", "1g.10gb"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNotSaidIsTheDefault(t *testing.T) {
	got, err := config.Decode("ds01.yaml", []byte("version: 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Default(), got); diff != "" {
		t.Error(diff)
	}
}

func TestAnErrorNamesTheFileTheLineAndTheKey(t *testing.T) {
	for name, c := range map[string]struct{ yaml, says string }{
		"nothing":                      {"", "version: 1 is missing"},
		"no version":                   {"gpu: {provider: sim}\n", "version: 1 is missing"},
		"a version of the future":      {"version: 2\n", "version: 1 is missing"},
		"no YAML":                      {"version: 1\ngpu: [\n", "line 2"},
		"a tab":                        {"version: 1\ngpu:\n\tprovider: sim\n", "line 3"},
		"two documents":                {"version: 1\n---\nversion: 1\n", "more than one YAML document"},
		"an unknown key":               {"version: 1\ngpus: {}\n", `line 2: unknown key "gpus"`},
		"an unknown key further down":  {"version: 1\ngpu:\n  provider: nvml\n  models: x\n", `line 4: unknown key "models"`},
		"a key in another case":        {"version: 1\nGPU: {provider: sim}\n", `line 2: unknown key "GPU"`},
		"a key given twice":            {"version: 1\nweb: {listen: \"\"}\nweb: {listen: \"\"}\n", `"web" already defined at line 2`},
		"a list where a mapping is":    {"version: 1\nengine: [a]\n", "line 2: engine: a list doesn't belong here"},
		"a mapping where text is":      {"version: 1\nengine:\n  host: {a: b}\n", "line 3: engine.host: a mapping doesn't belong here"},
		"text where a number is":       {"version: one\n", "line 1: version: the value `one` doesn't belong here"},
		"text where a list is":         {"version: 1\ngpu: {provider: sim, sim: {gpus: a100-80gb}}\n", "gpu.sim.gpus: the value `a100-80gb` doesn't belong here"},
		"a card that is no number":     {"version: 1\ngpu:\n  sim:\n    mig: {one: [x]}\n", "line 4"},
		"an engine by TCP":             {"version: 1\nengine:\n  host: tcp://10.0.0.1:2375\n", `line 3: engine.host: "tcp://10.0.0.1:2375" is not unix:///path`},
		"a socket without a slash":     {"version: 1\ngateway: {listen: \"unix://run/docker.sock\"}\n", "line 2: gateway.listen:"},
		"one socket for both":          {"version: 1\ngateway: {listen: \"unix:///run/ds01/engine.sock\"}\n", "line 2: gateway.listen: it is the same socket as engine.host"},
		"a pool of version 6":          {"version: 1\nnetworks:\n  pool: fd00::/8\n", `line 3: networks.pool: "fd00::/8" is no subnet of version 4`},
		"a pool that is an address":    {"version: 1\nnetworks: {pool: 10.0.0.1}\n", "line 2: networks.pool:"},
		"networks larger than a pool":  {"version: 1\nnetworks: {pool: 10.0.0.0/24, size: 20}\n", "line 2: networks.size: a network of /20 doesn't fit into 10.0.0.0/24"},
		"networks without room":        {"version: 1\nnetworks: {size: 31}\n", "line 2: networks.size: 31 isn't between 16 and 29"},
		"less than no networks":        {"version: 1\nnetworks: {per_person: -1}\n", "line 2: networks.per_person:"},
		"a bare number of bytes":       {"version: 1\ndisk: {keep_free: 10}\n", "line 2: disk.keep_free:"},
		"less than nothing free":       {"version: 1\ndisk:\n  keep_free: -1GiB\n", "line 3: disk.keep_free:"},
		"no size to keep free":         {"version: 1\ndisk: {keep_free: \"\"}\n", "line 2: disk.keep_free:"},
		"less than no volumes":         {"version: 1\nvolumes: {per_person: -1}\n", "line 2: volumes.per_person:"},
		"ports of the system":          {"version: 1\nports: {range: \"80-20000\"}\n", `line 2: ports.range: "80-20000" is no range of ports within 1024-65535`},
		"more ports than there are":    {"version: 1\nports: {range: \"20000-20050\"}\n", "ports.per_person: 100 ports don't fit into 20000-20050"},
		"no ports for anybody":         {"version: 1\nports: {per_person: 0}\n", "line 2: ports.per_person:"},
		"no address":                   {"version: 1\nports: {addresses: []}\n", "line 2: ports.addresses: name at least one"},
		"a name for an address":        {"version: 1\nports: {addresses: [localhost]}\n", `line 2: ports.addresses: "localhost" is no address`},
		"another provider":             {"version: 1\ngpu:\n  provider: amd\n", `line 3: gpu.provider: "amd" is neither nvml nor sim`},
		"a program without its path":   {"version: 1\ngpu:\n  allow_programs: [Xorg]\n", `line 3: gpu.allow_programs: "Xorg" is not the whole path`},
		"other libraries":              {"version: 1\ngpu:\n  libraries: docker\n", `line 3: gpu.libraries: "docker" is not one of`},
		"another mode of MIG":          {"version: 1\ngpu: {mig: {mode: on}}\n", `line 2: gpu.mig.mode: "on" is not one of off, static, dynamic`},
		"less than no cards kept":      {"version: 1\ngpu:\n  mig: {keep_full: -1}\n", "line 3: gpu.mig.keep_full: -1 cards"},
		"a mix of nothing known":       {"version: 1\ngpu:\n  mig:\n    mix: {small: 3}\n", `line 4: gpu.mig.mix: "small"`},
		"less than none of a profile":  {"version: 1\ngpu: {mig: {mix: {1g: -1}}}\n", `gpu.mig.mix: "1g"`},
		"bare seconds":                 {"version: 1\ngpu: {mig: {hysteresis: 60}}\n", "line 2: gpu.mig.hysteresis:"},
		"an instance that stays":       {"version: 1\ngpu: {mig: {hysteresis: 25h}}\n", "line 2: gpu.mig.hysteresis: 25h is too long: the most is 1d"},
		"a card that takes for ever":   {"version: 1\ngpu: {sim: {takes: 1h}}\n", "line 2: gpu.sim.takes: 1h is too long: the most is 1m"},
		"a card that takes a number":   {"version: 1\ngpu: {sim: {takes: 2}}\n", "line 2: gpu.sim.takes:"},
		"a simulation of nothing":      {"version: 1\ngpu: {provider: sim}\n", "gpu.sim.gpus: name at least one model"},
		"an address without a port":    {"version: 1\n\nweb: {listen: localhost}\n", `line 3: web.listen: "localhost" is not address:port`},
		"a port without an address":    {"version: 1\nmetrics: {listen: \":9101\"}\n", "line 2: metrics.listen:"},
		"a slice within a slice":       {"version: 1\ncgroup: {parent: a-b.slice}\n", "line 2: cgroup.parent:"},
		"a group that climbs":          {"version: 1\ncgroup: {parent: /ds01/../x}\n", "line 2: cgroup.parent:"},
		"the root of all groups":       {"version: 1\ncgroup: {parent: /}\n", "line 2: cgroup.parent:"},
		"a role of nobody":             {"version: 1\ngroups: {docker: \"\"}\n", "line 2: groups.docker: name a Unix group"},
		"two roles of one group":       {"version: 1\ngroups:\n  gpu: docker-users\n", `line 3: groups.gpu: it is the same group as groups.docker, "docker-users"`},
		"two errors, both of them":     {"version: 1\na: 1\nb: 2\n", `line 2: unknown key "a"; line 3: unknown key "b"`},
		"an alias that never ends":     {"version: 1\nengine: &a {host: *a}\n", "engine.host"},
		"null where something must be": {"version: 1\ngpu: {provider: null, libraries: \"\"}\n", "gpu.libraries"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Decode("/etc/ds01/ds01.yaml", []byte(c.yaml))
			if !errors.Is(err, problem.ErrInvalid) {
				t.Fatalf("got %v", err)
			}
			if text := strings.Join(problem.Lines(err), "\n"); !strings.Contains(text, "/etc/ds01/ds01.yaml") || !strings.Contains(text, c.says) || strings.Contains(text, "config.") {
				t.Errorf("%q doesn't say %q", text, c.says)
			}
		})
	}
}

func TestWhatMayBeWritten(t *testing.T) {
	for _, text := range []string{
		"cgroup: {parent: /ds01}", "cgroup: {parent: /a/b-c}", "cgroup: {parent: ds01.slice}", `web: {listen: ""}`, `web: {listen: "[::1]:80"}`,
		"gpu: {provider: sim, libraries: none, sim: {gpus: [a100-80gb]}}", "images: {default: pytorch:2}",
	} {
		if _, err := config.Decode("x", []byte("version: 1\n"+text+"\n")); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestPathsAreUnderTheRoot(t *testing.T) {
	for root, prefix := range map[string]string{"": "", "/": "", "/srv/lab": "/srv/lab", "/srv/lab/": "/srv/lab", "/srv/../lab": "/lab"} {
		p := config.PathsUnder(root).Sockets(config.Default(), root)
		want := config.Paths{
			Config: "/etc/ds01/ds01.yaml", Limits: "/etc/ds01/resource-limits.yaml", Members: "/etc/ds01/groups", Policy: "/etc/ds01/policy",
			Database: "/var/lib/ds01/ds01.db", Lock: "/var/lib/ds01/ds01.lock", RunDir: "/run/ds01", APISocket: "/run/ds01/ds01.sock",
			DeviceNodes: "/run/ds01/dev", DeviceLinks: "/dev/char", Mounts: "/run/ds01/mnt", Doors: "/run/ds01/doors", Engine: "/run/ds01/engine.sock", Gateway: "/run/docker.sock",
			Audit: "/var/log/ds01/audit.jsonl",
		}
		for _, path := range []*string{
			&want.Config, &want.Limits, &want.Members, &want.Policy, &want.Database, &want.Lock, &want.RunDir, &want.APISocket,
			&want.DeviceNodes, &want.DeviceLinks, &want.Mounts, &want.Doors, &want.Engine, &want.Gateway, &want.Audit,
		} {
			*path = prefix + *path
		}
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("%q: %s", root, diff)
		}
	}
}

func TestRoles(t *testing.T) {
	r := config.Default().Groups.Roles()
	if r.Docker != "docker-users" || r.GPU != "gpu-users" || r.Priority != "gpu-priority" || r.Admin != "ds-admin" {
		t.Errorf("got %+v", r)
	}
}

// FuzzDecode: a configuration that is read can be used, and nothing panics.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte("version: 1\nengine: [a]\n"))
	f.Add([]byte("version: 1\ngpu: {provider: sim, sim: {gpus: [a], mig: {x: y}}}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := config.Decode("x", data)
		if err != nil {
			if !errors.Is(err, problem.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if c.Version != 1 || c.Engine.Host == c.Gateway.Listen || c.Groups.Admin == "" || c.GPU.Provider == config.Sim && len(c.GPU.Sim.GPUs) == 0 {
			t.Fatalf("got %+v", c)
		}
	})
}

func TestWhatStaysFreeOfADisk(t *testing.T) {
	const gib = quantity.ByteSize(1 << 30)
	for text, want := range map[string][2]quantity.ByteSize{ // of 40 GiB, and of 4 TiB
		"":                              {2 * gib, 10 * gib},
		"disk: {keep_free: auto}":       {2 * gib, 10 * gib},
		"disk: {keep_free: 50GiB}":      {50 * gib, 50 * gib},
		"disk: {keep_free: 0b}":         {0, 0},
		"disk: {keep_free: \"1.5TiB\"}": {1536 * gib, 1536 * gib},
	} {
		c, err := config.Decode("ds01.yaml", []byte("version: 1\n"+text+"\n"))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := [2]quantity.ByteSize{c.Disk.Floor(40 * gib), c.Disk.Floor(4096 * gib)}; got != want {
			t.Errorf("%s: %v stay free, want %v", text, got, want)
		}
	}
}
