package takeover_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/takeover"
)

const (
	engine  = "/run/ds01/engine.sock"
	gateway = "/run/docker.sock"
	unit    = "/etc/systemd/system/ds01.service"
)

// host is one with an engine as Debian's package starts it.
func host() takeover.Facts {
	return takeover.Facts{
		Files:  map[string]takeover.File{},
		Docker: takeover.Unit{Loaded: true, Active: true, KillMode: "process", Command: []string{"-H", "fd://", "--containerd=/run/containerd/containerd.sock"}},
		Socket: takeover.Unit{Loaded: true, Active: true, Listens: []string{gateway}},
		Engine: &takeover.Engine{Driver: "cgroupfs", Containers: []takeover.Container{{ID: "1", Name: "old", PID: 7}, {ID: "2", Name: "gone"}}},
		At:     gateway,
		Groups: map[string][]string{"gpu-users": {"bob"}},
	}
}

func wish() takeover.Wish {
	return takeover.Wish{
		Placed: []takeover.Placed{
			{Path: "/usr/bin/ds01", File: takeover.File{Kind: takeover.Regular, Mode: 0o755, Sum: "1"}},
			{Path: "/usr/bin/image", File: takeover.Link("ds01")},
			{Path: "/etc/ds01/ds01.yaml", File: takeover.Content([]byte("version: 1\n")), Theirs: true},
			{Path: "/etc/systemd/system/ds01.slice", File: takeover.Content([]byte("[Slice]\n")), Theirs: true, Driver: "systemd"},
			{Path: unit, File: takeover.Content([]byte("[Unit]\n"))},
			{Path: takeover.ServiceDropIn, File: takeover.Content([]byte("[Service]\n"))},
		},
		Unit: unit, Engine: engine, Gateway: gateway,
		Groups: []string{"docker-users", "gpu-users"}, Joined: []string{"docker-users", "gpu-users"},
	}
}

func steps(p takeover.Plan) []string {
	var all []string
	for _, s := range p.Steps {
		s.Why = ""
		all = append(all, s.String())
	}
	return all
}

func TestInstallPlansFromWhatIsThere(t *testing.T) {
	whole := []string{
		"write /usr/bin/ds01",
		"link /usr/bin/image to ds01",
		"write /etc/ds01/ds01.yaml",
		"write " + unit,
		"write " + takeover.ServiceDropIn,
		"make the group docker-users",
		"write " + takeover.Daemon,
		"systemctl reload docker.service",
		"see that the engine lets containers run on while it restarts",
		"write " + takeover.SocketDropIn,
		"systemctl daemon-reload",
		"systemctl stop docker.socket",
		"systemctl stop docker.service",
		"systemctl start docker.socket",
		"systemctl start docker.service",
		"see that the engine answers at " + engine + ", and that what ran runs",
		"link " + takeover.Wanted + " to " + unit,
		"systemctl daemon-reload",
		"systemctl start ds01.service",
		"see that 'ds01 doctor' finds nothing that fails",
	}
	without := func(lines ...string) []string {
		return slices.DeleteFunc(slices.Clone(whole), func(line string) bool { return slices.Contains(lines, line) })
	}
	for name, c := range map[string]struct {
		change func(f *takeover.Facts, w *takeover.Wish)
		want   []string
		note   string // words of one
	}{
		"a host with Docker": {func(*takeover.Facts, *takeover.Wish) {}, whole, "ds01 container adopt"},
		"an engine that doesn't run": {func(f *takeover.Facts, _ *takeover.Wish) {
			f.Engine, f.At, f.Docker.Active = nil, "", false
		}, without("systemctl reload docker.service", "see that the engine lets containers run on while it restarts"), ""},
		"an administrator's configuration stays": {func(f *takeover.Facts, _ *takeover.Wish) {
			f.Files["/etc/ds01/ds01.yaml"] = takeover.Content([]byte("version: 1\nmine: yes\n"))
		}, without("write /etc/ds01/ds01.yaml"), ""},
		"another program of that name stays": {func(f *takeover.Facts, _ *takeover.Wish) {
			f.Files["/usr/bin/image"] = takeover.File{Kind: takeover.Regular, Sum: "9"}
		}, without("link /usr/bin/image to ds01"), "/usr/bin/image is another program's"},
		"a slice where systemd has the groups": {func(f *takeover.Facts, _ *takeover.Wish) {
			f.Engine.Driver = "systemd"
		}, slices.Insert(slices.Clone(whole), 3, "write /etc/systemd/system/ds01.slice"), ""},
		"members of docker stay unless it is said": {func(f *takeover.Facts, _ *takeover.Wish) {
			f.Members = []string{"alice", "bob"}
		}, whole, "In the group docker: alice, bob."},
		"members of docker move": {func(f *takeover.Facts, w *takeover.Wish) {
			f.Members, w.Move = []string{"alice", "bob"}, true
		}, slices.Insert(slices.Clone(whole), 6, "put alice into the group docker-users", "put alice into the group gpu-users", "take alice out of the group docker",
			"put bob into the group docker-users", "take bob out of the group docker"), ""},
		"somebody tries a container": {
			func(_ *takeover.Facts, w *takeover.Wish) { w.User = "alice" },
			append(slices.Clone(whole), "see that alice gets a container through ds01, and nothing at the engine's own socket"), "",
		},
		"it was cut off while the engine moved": {func(f *takeover.Facts, w *takeover.Wish) {
			done(f, *w)
			f.Before.Whole = false
			f.Docker.Active, f.Socket.Active, f.At, f.Engine, f.Ds01.Active = false, false, "", nil, false
		}, []string{
			"systemctl daemon-reload",
			"systemctl stop docker.socket", "systemctl stop docker.service", "systemctl start docker.socket", "systemctl start docker.service",
			"see that the engine answers at " + engine + ", and that what ran runs", "systemctl daemon-reload", "systemctl start ds01.service", "see that 'ds01 doctor' finds nothing that fails",
		}, ""},
		"it was cut off before the engine restarted": {func(f *takeover.Facts, w *takeover.Wish) {
			done(f, *w)
			f.Before.Whole, f.Engine.LiveRestore = false, false
			f.At, f.Ds01.Active = gateway, false
		}, []string{
			"systemctl reload docker.service", "see that the engine lets containers run on while it restarts", "systemctl daemon-reload",
			"systemctl stop docker.socket", "systemctl stop docker.service", "systemctl start docker.socket", "systemctl start docker.service",
			"see that the engine answers at " + engine + ", and that what ran runs", "systemctl daemon-reload", "systemctl start ds01.service", "see that 'ds01 doctor' finds nothing that fails",
		}, ""},
		"the engine has gone back": {func(f *takeover.Facts, w *takeover.Wish) {
			done(f, *w)
			f.At = gateway
		}, []string{
			"see that the engine lets containers run on while it restarts", "systemctl daemon-reload",
			"systemctl stop docker.socket", "systemctl stop docker.service", "systemctl start docker.socket", "systemctl start docker.service",
			"see that the engine answers at " + engine + ", and that what ran runs", "see that 'ds01 doctor' finds nothing that fails",
		}, ""},
		"it is installed": {func(f *takeover.Facts, w *takeover.Wish) { done(f, *w) }, []string{
			"see that the engine lets containers run on while it restarts",
			"see that the engine answers at " + engine + ", and that what ran runs", "see that 'ds01 doctor' finds nothing that fails",
		}, ""},
		"a newer ds01": {func(f *takeover.Facts, w *takeover.Wish) {
			done(f, *w)
			w.Placed[0].File.Sum = "2"
		}, []string{
			"change /usr/bin/ds01",
			"see that the engine lets containers run on while it restarts",
			"see that the engine answers at " + engine + ", and that what ran runs",
			"systemctl daemon-reload", "systemctl stop ds01.service", "systemctl start ds01.service", "see that 'ds01 doctor' finds nothing that fails",
		}, ""},
		"a container that mounts the engine's socket": {func(f *takeover.Facts, _ *takeover.Wish) {
			f.Engine.Containers[0].Sources = []string{"/var/run/docker.sock"}
		}, whole, "The engine's socket is mounted in: old."},
		"traces of shell scripts": {func(f *takeover.Facts, _ *takeover.Wish) {
			f.Files["/usr/local/bin/docker"] = takeover.File{Kind: takeover.Regular}
		}, whole, "Of an older deployment: /usr/local/bin/docker."},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := host(), wish()
			c.change(&f, &w)
			p, err := takeover.Install(f, w)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, steps(p)); diff != "" {
				t.Error(diff)
			}
			if c.note != "" && !strings.Contains(strings.Join(p.Notes, "\n"), c.note) {
				t.Errorf("no note has %q: %q", c.note, p.Notes)
			}
		})
	}
}

// done makes the host as the plan leaves it.
func done(f *takeover.Facts, w takeover.Wish) {
	p, err := takeover.Install(*f, w)
	if err != nil {
		panic(err)
	}
	m := takeover.Record(*f, w.Engine, p, takeover.Manifest{}, func(string) bool { return false })
	for _, s := range p.Steps {
		switch s.Do { //nolint:exhaustive // the other steps change no file
		case takeover.Put:
			f.Files[s.Path] = s.Then
		case takeover.AddGroup:
			f.Groups[s.Group] = nil
		}
	}
	m.Whole = true
	f.Socket.Listens, f.At, f.Ds01.Active, f.Engine.LiveRestore, f.Before = []string{w.Engine}, w.Engine, true, true, &m
}

func TestInstallIsRefused(t *testing.T) {
	settings := func(text string) func(*takeover.Facts) {
		return func(f *takeover.Facts) { f.Files[takeover.Daemon] = takeover.Content([]byte(text)) }
	}
	command := func(words ...string) func(*takeover.Facts) {
		return func(f *takeover.Facts) { f.Docker.Command = words }
	}
	for name, c := range map[string]struct {
		change func(*takeover.Facts)
		why    string
	}{
		"no systemd":                       {func(f *takeover.Facts) { f.Docker, f.Socket = takeover.Unit{}, takeover.Unit{} }, "no docker.service"},
		"a swarm":                          {func(f *takeover.Facts) { f.Engine.Swarm = true }, "swarm"},
		"containers end with the service":  {func(f *takeover.Facts) { f.Docker.KillMode = "control-group" }, "KillMode=control-group, so that stopping it ends 1"},
		"units that stop with it":          {func(f *takeover.Facts) { f.Docker.Needed = []string{"web.service"} }, "web.service"},
		"the engine listens elsewhere":     {func(f *takeover.Facts) { f.Socket.Listens = append(f.Socket.Listens, "/run/second.sock") }, "/run/second.sock"},
		"tcp on its command line":          {command("-H", "fd://", "-H", "tcp://0.0.0.0:2375"), "-H tcp://0.0.0.0:2375"},
		"tcp, in one word":                 {command("-H", "fd://", "--host=tcp://:2375"), "--host tcp://:2375"},
		"tcp, glued":                       {command("-Htcp://:2375", "-Hfd://"), "tcp://:2375"},
		"a socket of its own":              {command("--data-root=/x"), "doesn't get its socket from docker.socket"},
		"other settings":                   {command("-H", "fd://", "--config-file", "/x.json"), "/x.json"},
		"live-restore forbidden":           {command("-H", "fd://", "--live-restore=false"), "--live-restore=false"},
		"hosts in daemon.json":             {settings(`{"hosts": ["unix:///run/docker.sock"]}`), `"hosts" is set`},
		"broken settings":                  {settings(`{"a": `), "can't be read"},
		"settings with a key twice":        {settings(`{"a": 1, "a": 2}`), "twice"},
		"settings that are a link":         {func(f *takeover.Facts) { f.Files[takeover.Daemon] = takeover.Link("/x") }, "is a link"},
		"a doctor who would fail":          {failing("runc version", "runc has a hole"), "runc has a hole"},
		"another engine's socket is open":  {failing("engine sockets", "Docker at /run/podman.sock is open to everybody"), "/run/podman.sock"},
		"one whose name ours begins":       {failing("engine sockets", "Docker at /run/docker.sock2 is open to everybody"), "/run/docker.sock2"},
		"containers end, in several words": {func(f *takeover.Facts) { f.Docker.KillMode = "mixed" }, "KillMode=mixed"},
	} {
		t.Run(name, func(t *testing.T) {
			f := host()
			c.change(&f)
			p, err := takeover.Install(f, wish())
			if err == nil || len(p.Steps) > 0 || !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%d steps, %v; want %q", len(p.Steps), err, c.why)
			}
			if one, ok := errors.AsType[*problem.Error](err); !ok || one.Next == "" {
				t.Errorf("it doesn't say what next: %v", err)
			}
		})
	}
}

func failing(name, detail string) func(*takeover.Facts) {
	return func(f *takeover.Facts) {
		f.Checks = []apitype.Check{{Name: name, Result: apitype.CheckFail, Detail: detail, Next: "Close it."}}
	}
}

func TestWhatTheInstallationCuresIsNoReason(t *testing.T) {
	for name, detail := range map[string]string{
		"default runtime": "The engine's default runtime is nvidia",
		"engine sockets":  "Docker at /run/docker.sock is open to the group docker",
	} {
		f := host()
		failing(name, detail)(&f)
		if _, err := takeover.Install(f, wish()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEveryReasonIsSaidAtOnce(t *testing.T) {
	f := host()
	f.Engine.Swarm, f.Docker.KillMode = true, "mixed"
	_, err := takeover.Install(f, wish())
	if several, ok := err.(interface{ Unwrap() []error }); !ok || len(several.Unwrap()) != 2 {
		t.Errorf("got %v", err)
	}
}

func TestSettingsKeepWhatAnAdministratorWrote(t *testing.T) {
	for name, c := range map[string]struct {
		text, want string
		command    []string
		note       string
	}{
		"none":  {"", "{\n  \"live-restore\": true,\n  \"icc\": false,\n  \"runtimes\": {\n    \"ds01\": {\"path\": \"/usr/lib/ds01/ds01-runtime\"}\n  }\n}\n", nil, ""},
		"empty": {"{}\n", "{\n  \"live-restore\": true,\n  \"icc\": false,\n  \"runtimes\": {\n    \"ds01\": {\"path\": \"/usr/lib/ds01/ds01-runtime\"}\n  }\n}\n", nil, ""},
		"the deployment of shell scripts": {
			"{\n    \"default-runtime\": \"nvidia\",\n    \"exec-opts\": [\"native.cgroupdriver=systemd\"],\n    \"runtimes\": {\n        \"nvidia\": {\n            \"args\": [],\n            \"path\": \"nvidia-container-runtime\"\n        }\n    }\n}\n",
			"{\n    \"exec-opts\": [\"native.cgroupdriver=systemd\"],\n    \"runtimes\": {\n        \"nvidia\": {\n            \"args\": [],\n            \"path\": \"nvidia-container-runtime\"\n        },\n        \"ds01\": {\"path\": \"/usr/lib/ds01/ds01-runtime\"}\n    },\n    \"live-restore\": true,\n    \"icc\": false\n}\n", nil, "",
		},
		"live-restore is off":      {`{"live-restore": false, "icc": false, "runtimes": {"ds01": {}}}`, "{\n  \"live-restore\": true,\n  \"icc\": false,\n  \"runtimes\": {\"ds01\": {}}\n}\n", nil, ""},
		"icc is the host's":        {`{"live-restore": true, "icc": true, "runtimes": {"ds01": {}}}`, `{"live-restore": true, "icc": true, "runtimes": {"ds01": {}}}`, nil, `"icc" is set`},
		"everything is there":      {"{\n\t\"runtimes\": {\"ds01\": {}}, \"live-restore\":true,\"icc\":false}", "{\n\t\"runtimes\": {\"ds01\": {}}, \"live-restore\":true,\"icc\":false}", nil, ""},
		"said on the command line": {"{}", "{}", []string{"--live-restore", "--icc=false", "--add-runtime", "ds01=/x"}, ""},
		"runc by name":             {`{"default-runtime": "runc", "live-restore": true, "icc": false, "runtimes": {"ds01": {}}}`, `{"default-runtime": "runc", "live-restore": true, "icc": false, "runtimes": {"ds01": {}}}`, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, notes, err := takeover.Settings([]byte(c.text), c.command)
			if diff := cmp.Diff(c.want, string(got)); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
			if said := strings.Join(notes, "\n"); c.note == "" && said != "" || !strings.Contains(said, c.note) {
				t.Errorf("notes %q", said)
			}
			again, _, err := takeover.Settings(got, c.command)
			if err != nil || string(again) != string(got) {
				t.Errorf("a second time it changes: %v\n%s", err, again)
			}
		})
	}
	for _, broken := range []string{"[]", "{", `{"runtimes": 3}`, "{} {}", "{} x"} {
		if got, _, err := takeover.Settings([]byte(broken), nil); err == nil {
			t.Errorf("%s became %s", broken, got)
		}
	}
}

func TestADiffIsUnified(t *testing.T) {
	for name, c := range map[string]struct{ before, after, want string }{
		"nothing": {"a\n", "a\n", ""},
		"a line in the middle": {
			"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nfive\n6\n7\n8\n9\n",
			"--- /x\n+++ /x\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n",
		},
		"two hunks": {
			"1\n2\n3\n4\n5\n6\n7\n8\n9\n", "one\n2\n3\n4\n5\n6\n7\n8\n9\n10\n",
			"--- /x\n+++ /x\n@@ -1,4 +1,4 @@\n-1\n+one\n 2\n 3\n 4\n@@ -7,3 +7,4 @@\n 7\n 8\n 9\n+10\n",
		},
		"no last newline": {"a", "b", "--- /x\n+++ /x\n@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"},
	} {
		if diff := cmp.Diff(c.want, takeover.Diff("/x", []byte(c.before), []byte(c.after))); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	if got := takeover.Diff("/x", nil, []byte("a\n")); got != "--- /dev/null\n+++ /x\n@@ -0,0 +1,1 @@\n+a\n" {
		t.Errorf("a new file:\n%s", got)
	}
	if got := takeover.Diff("/x", []byte("a\n"), nil); got != "--- /x\n+++ /dev/null\n@@ -1,1 +0,0 @@\n-a\n" {
		t.Errorf("a file that goes:\n%s", got)
	}
}

// before makes what Undo starts from: the host as it is when installed.
func before() (takeover.Facts, takeover.Wish) {
	f, w := host(), wish()
	f.Files[takeover.Daemon] = takeover.Content([]byte(`{"debug": true}`))
	done(&f, w)
	return f, w
}

func TestUndoPutsBackWhatWasThere(t *testing.T) {
	f, _ := before()
	p, err := takeover.Undo(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"systemctl stop ds01.service",
		"remove " + takeover.Wanted,
		"remove " + takeover.SocketDropIn,
		"remove " + takeover.ServiceDropIn,
		"systemctl daemon-reload",
		"systemctl stop docker.socket", "systemctl stop docker.service", "systemctl start docker.socket", "systemctl start docker.service",
		"change " + takeover.Daemon,
		"systemctl start docker.service", "systemctl reload docker.service",
		"see that the engine answers at " + gateway + ", and that what ran runs",
		"remove the group docker-users",
		"remove " + unit, "remove /etc/ds01/ds01.yaml", "remove /usr/bin/image", "remove /usr/bin/ds01",
		"systemctl daemon-reload",
	}
	got := slices.DeleteFunc(steps(p), func(s string) bool { return strings.HasPrefix(s, "remove the folder") })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "until it starts again") }) {
		t.Errorf("what the engine keeps isn't said: %q", p.Notes)
	}
	for _, s := range p.Steps {
		if t2 := s.Path; s.Do == takeover.Put && t2 == takeover.Daemon && !strings.Contains(s.Diff, `+{"debug": true}`) {
			t.Errorf("the diff doesn't show it: %s", s.Diff)
		}
	}
}

func TestUndoOfWhatHadNotBegunToMove(t *testing.T) {
	f, _ := before()
	f.At, f.Ds01.Active = gateway, false
	for _, path := range []string{takeover.Daemon, takeover.SocketDropIn, takeover.Wanted} {
		for _, touched := range f.Before.Touched {
			if touched.Path == path {
				f.Files[path] = touched.Before
			}
		}
	}
	p, err := takeover.Undo(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if said := strings.Join(steps(p), "\n"); strings.Contains(said, "docker.service\n") || strings.Contains(said, "stop") {
		t.Errorf("it restarts an engine that stayed where it was:\n%s", said)
	}
}

func TestUndoIsRefusedWhereContainersWouldEnd(t *testing.T) {
	f, _ := before()
	f.Engine.LiveRestore = false
	if _, err := takeover.Undo(f, nil); !errors.Is(err, problem.ErrConflict) {
		t.Errorf("got %v", err)
	}
	f.Engine.Containers = nil
	if _, err := takeover.Undo(f, nil); err != nil {
		t.Errorf("nothing runs: %v", err)
	}
}

func TestWhatSomebodyChangedIsAskedAbout(t *testing.T) {
	f, w := before()
	if got := takeover.Changes(f); len(got) > 0 {
		t.Errorf("nobody changed anything: %v", got)
	}
	f.Files[takeover.Daemon] = takeover.Content([]byte(`{"debug": false}`))
	if got := takeover.Changes(f); len(got) != 1 || got[0].Path != takeover.Daemon {
		t.Errorf("got %v", got)
	}
	p, err := takeover.Undo(f, []string{takeover.Daemon})
	if err != nil || slices.Contains(steps(p), "change "+takeover.Daemon) || !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasPrefix(n, takeover.Daemon) }) {
		t.Errorf("it doesn't stay: %v, %v, %v", err, steps(p), p.Notes)
	}
	if _, err := takeover.Undo(f, []string{takeover.SocketDropIn}); err == nil {
		t.Error("with the drop-in Docker isn't as it was")
	}
	// A second installation over the change doesn't make it its own.
	p, err = takeover.Install(f, w)
	if err != nil {
		t.Fatal(err)
	}
	m := takeover.Record(f, w.Engine, p, takeover.Manifest{}, func(string) bool { return true })
	f.Before = &m
	for _, s := range p.Steps {
		if s.Do == takeover.Put {
			f.Files[s.Path] = s.Then
		}
	}
	if got := takeover.Changes(f); len(got) != 1 || string(got[0].Before.Text) != `{"debug": true}` {
		t.Errorf("after a second installation: %v", got)
	}
}

func TestMovedMembersComeBack(t *testing.T) {
	f, w := host(), wish()
	f.Members, w.Move = []string{"bob"}, true
	done(&f, w)
	p, err := takeover.Undo(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(steps(p), "\n")
	if !strings.Contains(said, "put bob into the group docker\ntake bob out of the group docker-users\nremove the group docker-users") || strings.Contains(said, "gpu-users") {
		t.Errorf("bob was in gpu-users before:\n%s", said)
	}
}
