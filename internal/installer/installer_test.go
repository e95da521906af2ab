package installer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/installer"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/systemd"
	"ds01.dev/ds01/internal/takeover"
	"ds01.dev/ds01/internal/volume"
)

const (
	engineSocket = "/run/ds01/engine.sock"
	usualSocket  = "/run/docker.sock"
)

// world is a host with systemd and an engine, in a folder.
type world struct {
	t        *testing.T
	root     string
	active   map[string]bool
	listens  string // as systemd has read it
	at       string // where docker.socket listens
	live     bool   // what the engine has read
	pids     map[string]int
	remapped bool             // the engine, as it was started
	stored   map[bool][]image // in its folder, and in the one that it has where it remaps
	spare    bool             // what a second engine opens
	volumes  map[string]string
	given    []string // volumes that ds01 is told of
	networks []string // in the engine's folder
	broken   string   // a unit that doesn't start
	tried    string
	patience time.Duration
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		t: t, root: memory(t), active: map[string]bool{"docker.service": true, "docker.socket": true},
		listens: usualSocket, at: usualSocket, pids: map[string]int{"old": 7, "mlc": 9}, patience: time.Millisecond,
		stored: map[bool][]image{},
	}
	w.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n")
	w.write("/etc/shadow", "root:*:1:0:99999:7:::\n")
	w.write("/etc/subuid", "bob:100000:65536\n")
	w.write("/etc/group", "root:x:0:\ndocker:x:997:bob,alice\n")
	w.write("/etc/gshadow", "root:*::\ndocker:!::bob,alice\n")
	w.write("/etc/group-", "root:x:0:\n")
	w.write("/etc/docker/daemon.json", "{\n  \"debug\": true\n}\n")
	w.write("/usr/local/share/program", strings.Repeat("program ", 100))
	w.write("/run/docker.sock", "")
	os.Chmod(w.path("/etc/docker/daemon.json"), 0o640)
	return w
}

// memory returns a folder that needs no disk: each step is written to it.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "ds01t-install-") //nolint:usetesting // see above
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (w *world) path(path string) string { return filepath.Join(w.root, path) }

func (w *world) write(path, text string) {
	os.MkdirAll(filepath.Dir(w.path(path)), 0o755)
	if err := os.WriteFile(w.path(path), []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(path string) string {
	text, err := os.ReadFile(w.path(path))
	if err != nil {
		return ""
	}
	return string(text)
}

// state is everything that an installation may change, beside what it keeps.
func (w *world) state() map[string]string {
	all := map[string]string{"containers": fmt.Sprint(w.pids), "units": fmt.Sprint(w.active), "listens": w.listens, "at": w.at, "engine": fmt.Sprint(w.remapped, w.stored[w.remapped])}
	filepath.WalkDir(w.root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, w.root)
		if err != nil || name == "/var" || name == "/run" {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			w.t.Fatal(err)
		}
		all[name] = info.Mode().String()
		if target, err := os.Readlink(path); err == nil {
			all[name] += " → " + target
		} else if info.Mode().IsRegular() {
			all[name] += " " + w.read(name)[:min(300, int(info.Size()))]
		}
		return nil
	})
	return all
}

// systemd

func (w *world) Unit(_ context.Context, name string) (systemd.Unit, error) {
	u := systemd.Unit{Loaded: true, Active: w.active[name]}
	switch name {
	case "docker.service":
		u.KillMode, u.Command = "process", []string{"dockerd", "-H", "fd://"}
	case "docker.socket":
		u.Listens = []string{w.listens}
	}
	return u, nil
}

func (w *world) ReadUnits(context.Context) error {
	w.listens = usualSocket
	if strings.Contains(w.read(takeover.SocketDropIn), "ListenStream="+engineSocket) {
		w.listens = engineSocket
	}
	return nil
}

func (w *world) Start(_ context.Context, name string) error {
	if w.broken == name {
		return errors.New(name + " doesn't start")
	}
	if w.active[name] {
		return nil
	}
	w.active[name] = true
	switch name {
	case "docker.socket":
		w.at = w.listens
		os.Remove(w.path(w.at))
		w.write(w.at, "")
		os.Chmod(w.path(w.at), 0o600)
	case "docker.service":
		w.reread()
		w.remapped = strings.Contains(w.read(takeover.Daemon), `"userns-remap": "default"`)
		if w.remapped && (!strings.Contains(w.read("/etc/passwd"), "dockremap:") || !strings.Contains(w.read("/etc/subuid"), "dockremap:") || !strings.Contains(w.read("/etc/subgid"), "dockremap:")) {
			delete(w.active, name)
			return errors.New("dockremap has no ids")
		}
		if !w.live {
			w.pids = map[string]int{}
		}
	case "ds01.service":
		if w.at == usualSocket {
			return errors.New("another process listens there")
		}
	}
	return nil
}

func (w *world) Stop(_ context.Context, name string) error {
	delete(w.active, name)
	if name == "docker.service" && !w.live {
		w.pids = map[string]int{}
	}
	return nil
}

func (w *world) Reread(_ context.Context, name string) error {
	if !w.active[name] {
		return errors.New(name + " isn't active")
	}
	w.reread()
	return nil
}

// reread takes settings as dockerd does: what isn't said stays.
func (w *world) reread() {
	var settings struct {
		Live *bool `json:"live-restore"`
	}
	if json.Unmarshal([]byte(w.read(takeover.Daemon)), &settings) == nil && settings.Live != nil {
		w.live = *settings.Live
	}
}

// the engine

type engine struct {
	w      *world
	socket string
}

func (e engine) Info(context.Context) (container.EngineInfo, error) {
	if e.socket == spareSocket {
		return container.EngineInfo{Remapped: e.w.spare}, nil
	}
	if !e.w.active["docker.service"] || e.w.path(e.w.at) != e.socket {
		return container.EngineInfo{}, problem.ErrUnavailable
	}
	return container.EngineInfo{CgroupDriver: "systemd", Remapped: e.w.remapped, DataRoot: "/data/docker" + map[bool]string{true: "/5.5"}[e.w.remapped], Storage: "overlay2"}, nil
}

func (e engine) Setup(ctx context.Context) (container.EngineSetup, error) {
	_, err := e.Info(ctx)
	return container.EngineSetup{LiveRestore: e.w.live}, err
}

func (e engine) List(ctx context.Context) ([]container.Observed, error) {
	var all []container.Observed
	for name := range e.w.pids {
		o, err := e.Inspect(ctx, name)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

func (e engine) Inspect(_ context.Context, id string) (container.Observed, error) {
	pid, ok := e.w.pids[id]
	if !ok {
		return container.Observed{ID: id, Name: id, State: "exited"}, nil
	}
	return container.Observed{ID: id, Name: id, State: "running", PID: pid}, nil
}

func (engine) Close() error { return nil }

// accounts

type accounts struct{ w *world }

func (a accounts) Group(_ context.Context, name string) ([]string, bool) {
	for line := range strings.Lines(a.w.read("/etc/group")) {
		if f := strings.Split(strings.TrimSpace(line), ":"); f[0] == name {
			return strings.FieldsFunc(f[3], func(r rune) bool { return r == ',' }), true
		}
	}
	return nil, false
}

// edit writes both files and their copies, as groupadd does.
func (a accounts) edit(change func(line, name string) string, more string) error {
	for path, rest := range map[string]string{"/etc/group": "x:5:", "/etc/gshadow": "!::"} {
		text := a.w.read(path)
		a.w.write(path+"-", text)
		var out string
		for line := range strings.Lines(text) {
			name, _, _ := strings.Cut(line, ":")
			out += change(line, name)
		}
		if more != "" {
			out += more + ":" + rest + "\n"
		}
		a.w.write(path, out)
	}
	return nil
}

func (a accounts) Add(_ context.Context, group string) error {
	return a.edit(func(line, _ string) string { return line }, group)
}

func (a accounts) Drop(_ context.Context, group string) error {
	return a.edit(func(line, name string) string {
		if name == group {
			return ""
		}
		return line
	}, "")
}

func (a accounts) members(group string, change func([]string) []string) error {
	return a.edit(func(line, name string) string {
		if name != group {
			return line
		}
		i := strings.LastIndexByte(line, ':')
		members := strings.FieldsFunc(strings.TrimSpace(line[i+1:]), func(r rune) bool { return r == ',' })
		return line[:i+1] + strings.Join(change(members), ",") + "\n"
	}, "")
}

func (a accounts) Join(_ context.Context, user, group string) error {
	return a.members(group, func(m []string) []string { return append(m, user) })
}

func (a accounts) Leave(_ context.Context, user, group string) error {
	return a.members(group, func(m []string) []string { return slices.DeleteFunc(m, func(one string) bool { return one == user }) })
}

// installer returns one whose n-th step is its last: it is killed as that
// begins. No n: it isn't.
func (w *world) installer(killedAt, failsAt int) *installer.Installer {
	n := 0
	program, err := installer.Look(w.path("/usr/local/share/program"))
	if err != nil {
		w.t.Fatal(err)
	}
	placed := installer.Placed(program, false, []string{"image", "gpu"}, []installer.Completion{{Path: "/usr/share/c/ds01", Text: []byte("complete\n")}})
	failing := false
	return installer.New(installer.Parts{
		Root: w.root, Units: w, Accounts: accounts{w}, Now: func() time.Time { return time.Unix(0, 0) }, Patient: w.patience,
		Engine: func(socket string) (installer.Engine, error) { return engine{w, socket}, nil },
		Record: func(_ context.Context, all []volume.Record) error {
			if w.active["ds01.service"] {
				return errors.New("ds01 runs")
			}
			for _, v := range all {
				w.given = append(w.given, v.EngineName)
			}
			return nil
		},
		Spare: func(_ context.Context, s installer.Spare) (string, func() error, error) {
			if s.Folder != "/data/docker" || s.Storage != "overlay2" || s.Remap == w.remapped {
				return "", nil, fmt.Errorf("a second engine for %+v", s)
			}
			w.spare = s.Remap
			return spareSocket, func() error { return nil }, nil
		},
		Host: func(context.Context, installer.Engine, string) []apitype.Check { return nil },
		Doctor: func(context.Context) ([]apitype.Check, error) {
			if failing {
				return []apitype.Check{{Name: "gpus", Result: apitype.CheckFail, Detail: "no driver", Next: "Install it."}}, nil
			}
			return []apitype.Check{{Name: "image", Result: apitype.CheckWarn}}, nil
		},
		Try: func(_ context.Context, user, gateway, engine string) error {
			if failing {
				return errors.New("no container")
			}
			w.tried = user + " " + gateway + " " + engine
			return nil
		},
		Begin: func(takeover.Step) {
			if n++; n == killedAt {
				panic(errKilled)
			}
			if n == failsAt {
				failing = true
			}
		},
	}, takeover.Wish{
		Placed: placed, Unit: installer.UnitAt(false), Engine: engineSocket, Gateway: usualSocket,
		Groups: []string{"docker-users", "gpu-users", "ds-admin"}, Joined: []string{"docker-users", "gpu-users"}, Move: true, User: "bob",
	})
}

var errKilled = errors.New("killed")

// killed runs f until it ends or is killed, and says which.
func killed(f func()) (was bool) {
	defer func() {
		r := recover()
		if err, _ := r.(error); r != nil && !errors.Is(err, errKilled) {
			panic(r)
		}
		was = r != nil
	}()
	f()
	return false
}

func (w *world) install(i *installer.Installer) error {
	f, p, err := i.Plan(w.t.Context())
	if err != nil {
		return err
	}
	return i.Install(w.t.Context(), f, p)
}

func (w *world) uninstall(i *installer.Installer, keep ...string) error {
	f, _, err := i.Removal(w.t.Context())
	if err != nil {
		return err
	}
	p, err := takeover.Undo(f, keep)
	if err != nil {
		return err
	}
	return i.Uninstall(w.t.Context(), p, keep)
}

func TestAHostGetsDs01AndIsRidOfItAgain(t *testing.T) {
	w := newWorld(t)
	was := w.state()
	f, p, err := w.installer(0, 0).Plan(t.Context())
	if err != nil || len(p.Steps) == 0 || f.Before != nil {
		t.Fatal(err, p)
	}
	if diff := cmp.Diff(was, w.state()); diff != "" || w.read("/var/lib/ds01/install/manifest.json") != "" {
		t.Errorf("to plan changes the host:\n%s", diff)
	}
	if err := w.install(w.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	if w.at != engineSocket || !w.active["ds01.service"] || len(w.pids) != 2 || w.pids["old"] != 7 || w.tried != "bob "+w.path(usualSocket)+" "+w.path(engineSocket) {
		t.Errorf("installed: %+v", w)
	}
	if got := w.read("/usr/bin/ds01"); !strings.HasPrefix(got, "program ") || w.state()["/usr/bin/image"] != "Lrwxrwxrwx → ds01" {
		t.Errorf("the program is %.20q, %s", got, w.state()["/usr/bin/image"])
	}
	if got := w.state()["/etc/docker/daemon.json"]; !strings.HasPrefix(got, "-rw-r----- ") || !strings.Contains(got, "live-restore") {
		t.Errorf("daemon.json is %s", got)
	}
	if members, _ := (accounts{w}).Group(t.Context(), "docker-users"); !slices.Equal(members, []string{"bob", "alice"}) {
		t.Errorf("in docker-users: %v", members)
	}
	installed := w.state()
	if err := w.install(w.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(installed, w.state()); diff != "" {
		t.Errorf("a second time it changes something:\n%s", diff)
	}
	if err := w.uninstall(w.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(was, w.state()); diff != "" {
		t.Errorf("uninstalled (-before +after):\n%s", diff)
	}
	if err := w.uninstall(w.installer(0, 0)); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("a second time: %v", err)
	}
}

// TestAKilledInstallationGoesOnOrIsTakenBack kills it as each of its steps
// begins, and leaves what a killed write leaves.
func TestAKilledInstallationGoesOnOrIsTakenBack(t *testing.T) {
	whole := newWorld(t)
	if err := whole.install(whole.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	for at := 1; ; at++ {
		onwards, back := newWorld(t), newWorld(t)
		was := back.state()
		if !killed(func() { _ = onwards.install(onwards.installer(at, 0)) }) {
			if at < 25 {
				t.Errorf("it had %d steps only", at-1)
			}
			return
		}
		killed(func() { _ = back.install(back.installer(at, 0)) })
		back.write("/etc/docker/.daemon.json.ds01-new", "half")
		if err := onwards.install(onwards.installer(0, 0)); err != nil {
			t.Fatalf("killed at %d, it doesn't go on: %v", at, err)
		}
		if diff := cmp.Diff(whole.state(), onwards.state()); diff != "" {
			t.Fatalf("killed at %d and gone on (-whole +this):\n%s", at, diff)
		}
		if err := onwards.uninstall(onwards.installer(0, 0)); err != nil || cmp.Diff(was, onwards.state()) != "" {
			t.Fatalf("killed at %d, gone on, uninstalled: %v\n%s", at, err, cmp.Diff(was, onwards.state()))
		}
		if err := back.uninstall(back.installer(0, 0)); err != nil {
			t.Fatalf("killed at %d, it isn't taken back: %v", at, err)
		}
		if diff := cmp.Diff(was, back.state()); diff != "" {
			t.Fatalf("killed at %d and taken back (-before +after):\n%s", at, diff)
		}
	}
}

func TestAKilledUninstallationGoesOn(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t)
		was := w.state()
		if err := w.install(w.installer(0, 0)); err != nil {
			t.Fatal(err)
		}
		if !killed(func() { _ = w.uninstall(w.installer(at, 0)) }) {
			return
		}
		if err := w.uninstall(w.installer(0, 0)); err != nil {
			t.Fatalf("killed at %d: %v", at, err)
		}
		if diff := cmp.Diff(was, w.state()); diff != "" {
			t.Fatalf("killed at %d (-before +after):\n%s", at, diff)
		}
	}
}

func TestAFailureTakesEverythingBack(t *testing.T) {
	for name, c := range map[string]struct {
		fails  int
		broken string
		why    string
		next   string
	}{
		"doctor finds something":  {fails: 1, why: "no driver", next: "Install it."},
		"ds01 doesn't start":      {broken: "ds01.service", why: "doesn't start", next: "again"},
		"the socket isn't opened": {broken: "docker.socket", why: "doesn't start"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			was := w.state()
			w.broken = c.broken
			i := w.installer(0, c.fails)
			if c.broken == "docker.socket" {
				i.Begin = func(s takeover.Step) {
					if s.Do == takeover.Put && s.Path == takeover.SocketDropIn && s.Then.Kind == takeover.Absent {
						w.broken = "" // it was what ds01 wrote
					}
				}
			}
			err := w.install(i)
			p, ok := errors.AsType[*problem.Error](err)
			if !ok || !strings.Contains(err.Error(), c.why) || !strings.Contains(p.Next, c.next) || !strings.Contains(p.What, "as it was before") {
				t.Errorf("got %v, next %q", err, p.Next)
			}
			if diff := cmp.Diff(was, w.state()); diff != "" {
				t.Errorf("(-before +after):\n%s", diff)
			}
		})
	}
}

// TestAnInterruptTakesEverythingBack at each step.
func TestAnInterruptTakesEverythingBack(t *testing.T) {
	for at := 1; ; at++ {
		w := newWorld(t)
		was := w.state()
		i := w.installer(0, 0)
		f, p, err := i.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if at > len(p.Steps) {
			return
		}
		ctx, interrupt := context.WithCancel(t.Context())
		n := 0
		i.Begin = func(takeover.Step) {
			if n++; n == at {
				interrupt()
			}
		}
		err = i.Install(ctx, f, p)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted at %d: %v", at, err)
		}
		if diff := cmp.Diff(was, w.state()); diff != "" {
			t.Fatalf("interrupted at %d (-before +after):\n%s", at, diff)
		}
	}
}

func TestAFailureOverAWholeInstallationLeavesIt(t *testing.T) {
	w := newWorld(t)
	if err := w.install(w.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	installed := w.state()
	if err := w.install(w.installer(0, 1)); err == nil || !strings.Contains(err.Error(), "stays as it was installed") {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff(installed, w.state()); diff != "" {
		t.Errorf("it changes something:\n%s", diff)
	}
}

func TestWhatIsKeptOutlivesWhatStays(t *testing.T) {
	w := newWorld(t)
	if err := w.install(w.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	w.write(takeover.Daemon, `{"live-restore": true, "mine": true}`)
	_, changed, err := w.installer(0, 0).Removal(t.Context())
	if err != nil || len(changed) != 1 || changed[0].Path != takeover.Daemon || !bytes.Contains(changed[0].Before.Text, []byte("debug")) {
		t.Fatalf("%v, %v", changed, err)
	}
	if err := w.uninstall(w.installer(0, 0), takeover.Daemon); err != nil {
		t.Fatal(err)
	}
	if got := w.read(takeover.Daemon); !strings.Contains(got, "mine") {
		t.Errorf("it doesn't stay: %s", got)
	}
	kept, _ := filepath.Glob(w.path("/var/lib/ds01/install-*/manifest.json"))
	if len(kept) != 1 {
		t.Errorf("what was there before is lost: %v", kept)
	}
}

func TestGroupsThatPeopleJoinedStay(t *testing.T) {
	w := newWorld(t)
	if err := w.install(w.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	accounts{w}.Join(t.Context(), "carol", "docker-users")
	if err := w.uninstall(w.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	members, ok := (accounts{w}).Group(t.Context(), "docker-users")
	if _, other := (accounts{w}).Group(t.Context(), "ds-admin"); !ok || !slices.Equal(members, []string{"carol"}) || other {
		t.Errorf("docker-users: %v, %v; ds-admin: %v", members, ok, other)
	}
	if members, _ := (accounts{w}).Group(t.Context(), "docker"); !slices.Equal(members, []string{"bob", "alice"}) {
		t.Errorf("docker: %v", members)
	}
}

func TestTwoInstallersDoNotMeet(t *testing.T) {
	w := newWorld(t)
	i, second := w.installer(0, 0), w.installer(0, 0)
	var met error
	i.Begin = func(takeover.Step) {
		if met == nil {
			met = second.Install(t.Context(), takeover.Facts{}, takeover.Plan{})
		}
	}
	if err := w.install(i); err != nil || !errors.Is(met, problem.ErrConflict) {
		t.Errorf("%v, %v", err, met)
	}
}

func TestAContainerThatEndedIsSeen(t *testing.T) {
	w := newWorld(t)
	was := w.state()
	i := w.installer(0, 0)
	i.Begin = func(s takeover.Step) {
		if s.Do == takeover.Stop && s.Unit == "docker.service" {
			w.pids["mlc"] = 10 // it was started anew
		}
	}
	if err := w.install(i); err == nil || !strings.Contains(err.Error(), "container mlc ran before as process 9") {
		t.Errorf("got %v", err)
	}
	w.pids["mlc"] = 9
	if diff := cmp.Diff(was, w.state()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}
