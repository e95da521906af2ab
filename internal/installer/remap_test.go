package installer_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/installer"
	"ds01.dev/ds01/internal/network"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/takeover"
)

// spareSocket is where the second engine answers.
const spareSocket = "/spare.sock"

// image is one of the engine's, in one of its folders.
type image struct {
	ID    string
	Names []string
}

func (e engine) folder() bool {
	if e.socket == spareSocket {
		return e.w.spare
	}
	return e.w.remapped
}

func (e engine) Images(context.Context) ([]container.Image, error) {
	var all []container.Image
	for _, one := range e.w.stored[e.folder()] {
		all = append(all, container.Image{ID: one.ID, Names: append(slices.Clone(one.Names), "some@sha256:1"), Size: 1000})
	}
	return all, nil
}

func (engine) LayerBytes(context.Context) (int64, error) { return 1500, nil }

func (e engine) SaveImages(_ context.Context, references []string) (io.ReadCloser, error) {
	var all []image
	for _, one := range e.w.stored[e.folder()] {
		saved := image{ID: one.ID}
		for _, r := range references {
			if slices.Contains(one.Names, r) {
				saved.Names = append(saved.Names, r)
			}
		}
		if saved.Names != nil || slices.Contains(references, one.ID) {
			all = append(all, saved)
		}
	}
	data, err := json.Marshal(all)
	return io.NopCloser(strings.NewReader(string(data))), err
}

func (e engine) LoadImages(_ context.Context, archive io.Reader) error {
	if e.w.broken == "load" {
		return errors.New("no space left on device")
	}
	var all []image
	if err := json.NewDecoder(archive).Decode(&all); err != nil {
		return err
	}
	to := e.folder()
	for _, one := range all {
		if e.w.broken == "ids" {
			one.ID += "x"
		}
		e.w.stored[to] = slices.DeleteFunc(e.w.stored[to], func(other image) bool { return other.ID == one.ID })
		e.w.stored[to] = append(e.w.stored[to], one)
	}
	slices.SortFunc(e.w.stored[to], func(a, b image) int { return strings.Compare(a.ID, b.ID) })
	return nil
}

func (e engine) VolumeFolders(context.Context) (map[string]string, error) { return e.w.volumes, nil }

func (e engine) Networks(context.Context) ([]network.Observed, error) {
	all := []network.Observed{{ID: "bridge", Name: "bridge"}}
	for _, name := range e.w.networks {
		all = append(all, network.Observed{ID: name, Name: name})
	}
	return all, nil
}

func (e engine) RemoveNetwork(_ context.Context, id string) error {
	if len(e.w.pids) > 0 {
		return errors.New("network has active endpoints")
	}
	e.w.networks = slices.DeleteFunc(e.w.networks, func(name string) bool { return name == id })
	return nil
}

func (a accounts) User(_ context.Context, name string) bool {
	return strings.Contains(a.w.read("/etc/passwd"), name+":")
}

func (a accounts) AddUser(ctx context.Context, name string) error {
	for path, rest := range map[string]string{"/etc/passwd": ":x:6:6::/nonexistent:/usr/sbin/nologin\n", "/etc/shadow": ":!:1::::::\n"} {
		text := a.w.read(path)
		a.w.write(path+"-", text)
		a.w.write(path, text+name+rest)
	}
	return a.Add(ctx, name)
}

func (a accounts) DropUser(ctx context.Context, name string) error {
	for _, path := range []string{"/etc/passwd", "/etc/shadow"} {
		text := a.w.read(path)
		a.w.write(path+"-", text)
		before, _, _ := strings.Cut(text, name+":")
		a.w.write(path, before)
	}
	return a.Drop(ctx, name)
}

// newInstalledWorld is a host with ds01, two people's images and no container.
func newInstalledWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.pids = map[string]int{}
	w.stored[false] = []image{{"sha256:1", []string{"ds01-1000/web:latest", "ds01-1000/web:v1"}}, {"sha256:2", []string{"ds01-1001/web:latest"}}, {"sha256:3", nil}}
	if err := os.MkdirAll(w.path("/data/docker/5.5"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := w.install(w.installer(0, 0)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) remap(i *installer.Installer, s takeover.Switch) error {
	f, p, err := i.PlanRemap(w.t.Context(), s)
	if err != nil {
		return err
	}
	return i.Remap(w.t.Context(), f, p, s)
}

func (w *world) mustRemap(s takeover.Switch) {
	w.t.Helper()
	if err := w.remap(w.installer(0, 0), s); err != nil {
		w.t.Fatal(err)
	}
}

// works says what isn't as it is where ds01 stands before an engine.
func (w *world) works(remapped bool) string {
	switch {
	case w.remapped != remapped:
		return "the engine isn't switched"
	case !w.active["ds01.service"] || !w.active["docker.service"] || !w.active["docker.socket"]:
		return "something doesn't run"
	case remapped != strings.Contains(w.read("/var/lib/ds01/remap/manifest.json"), `"whole": true`):
		return "what was before isn't kept, or is still"
	}
	return ""
}

func TestAnEngineRemapsAndDoesNotAgain(t *testing.T) {
	w := newInstalledWorld(t)
	w.networks = []string{"default._.1000", "own"}
	was := w.state()
	f, p, err := w.installer(0, 0).PlanRemap(t.Context(), takeover.Switch{})
	if err != nil || len(p.Steps) == 0 || !slices.Equal(f.Stored.Networks, w.networks) {
		t.Fatal(err, p, f.Stored)
	}
	if diff := cmp.Diff(was, w.state()); diff != "" || w.read("/var/lib/ds01/remap/manifest.json") != "" {
		t.Errorf("to plan changes the host:\n%s", diff)
	}
	w.mustRemap(takeover.Switch{})
	if diff := cmp.Diff(w.stored[false], w.stored[true]); diff != "" || w.works(true) != "" {
		t.Errorf("%s\n%s", w.works(true), diff)
	}
	if !slices.Equal(w.networks, []string{"own"}) {
		t.Errorf("networks that are there: %v", w.networks)
	}
	if got := w.read(takeover.SubGID); got != "dockremap:2147483648:2147000000\n" {
		t.Errorf("subgid: %s", got)
	}

	// alice makes an image meanwhile, and bob gives a name to another one
	w.stored[true][0].Names = []string{"ds01-1000/web:v1"}
	w.stored[true] = append(w.stored[true], image{"sha256:4", []string{"ds01-1000/web:latest"}})
	w.mustRemap(takeover.Switch{Back: true})
	if said := w.works(false); said != "" {
		t.Error(said)
	}
	if n := len(w.stored[false]); n != 4 || w.stored[false][3].ID != "sha256:4" {
		t.Errorf("what was made meanwhile isn't there: %v", w.stored[false])
	}
	w.stored[false] = w.stored[false][:3]
	if diff := cmp.Diff(was, w.state()); diff != "" {
		t.Errorf("switched back (-before +after):\n%s", diff)
	}
}

// TestAKilledSwitchGoesOnOrIsTakenBack kills it as each of its steps begins.
func TestAKilledSwitchGoesOnOrIsTakenBack(t *testing.T) {
	for at := 1; ; at++ {
		w := newInstalledWorld(t)
		was := w.state()
		if !killed(func() { _ = w.remap(w.installer(at, 0), takeover.Switch{}) }) {
			if at < 14 {
				t.Errorf("it had %d steps only", at-1)
			}
			return
		}
		w.write("/etc/docker/.daemon.json.ds01-new", "half")
		onwards, gone := w.clone(), w.clone()
		onwards.stored[true] = onwards.stored[false][:1] // one was copied
		onwards.mustRemap(takeover.Switch{})
		if diff := cmp.Diff(onwards.stored[false], onwards.stored[true]); diff != "" || onwards.works(true) != "" {
			t.Fatalf("killed at %d and gone on: %s\n%s", at, onwards.works(true), diff)
		}
		w.mustRemap(takeover.Switch{Back: true})
		if diff := cmp.Diff(was, w.state()); diff != "" || w.works(false) != "" {
			t.Fatalf("killed at %d and taken back: %s (-before +after):\n%s", at, w.works(false), diff)
		}
		gone.goneWithDs01(at)
	}
}

// goneWithDs01 sees that nothing is left of ds01, nor of its switch.
func (w *world) goneWithDs01(at int) {
	w.t.Helper()
	if err := w.uninstall(w.installer(0, 0)); err != nil {
		w.t.Fatalf("killed at %d, it isn't uninstalled: %v", at, err)
	}
	bare := newWorld(w.t)
	bare.pids = map[string]int{}
	want, got := bare.state(), w.state()
	for _, s := range []map[string]string{want, got} {
		maps.DeleteFunc(s, func(path, _ string) bool { return path == "engine" || strings.HasPrefix(path, "/data") })
	}
	if diff := cmp.Diff(want, got); diff != "" || w.remapped || w.read("/var/lib/ds01/remap/manifest.json") != "" {
		w.t.Fatalf("killed at %d and uninstalled, it remaps: %t (-before +after):\n%s", at, w.remapped, diff)
	}
}

// clone is the same host once more.
func (w *world) clone() *world {
	c := *w
	c.root = memory(w.t)
	c.active, c.pids = maps.Clone(w.active), maps.Clone(w.pids)
	c.stored = map[bool][]image{false: slices.Clone(w.stored[false]), true: slices.Clone(w.stored[true])}
	if out, err := exec.Command("cp", "-a", w.root+"/.", c.root).CombinedOutput(); err != nil {
		w.t.Fatal(err, string(out))
	}
	return &c
}

func TestAKilledWayBackGoesOnOrIsTakenBack(t *testing.T) {
	for at := 1; ; at++ {
		w := newInstalledWorld(t)
		was := w.state()
		w.mustRemap(takeover.Switch{})
		remapped := w.state()
		if !killed(func() { _ = w.remap(w.installer(at, 0), takeover.Switch{Back: true}) }) {
			return
		}
		other, gone := w.clone(), w.clone()
		w.mustRemap(takeover.Switch{Back: true})
		if diff := cmp.Diff(was, w.state()); diff != "" || w.works(false) != "" {
			t.Fatalf("killed at %d and gone on: %s (-before +after):\n%s", at, w.works(false), diff)
		}
		other.mustRemap(takeover.Switch{})
		if diff := cmp.Diff(remapped, other.state()); diff != "" || other.works(true) != "" {
			t.Fatalf("killed at %d and remapped again: %s (-before +after):\n%s", at, other.works(true), diff)
		}
		gone.goneWithDs01(at)
	}
}

// TestAFileComesBackToTheByte that isn't written as ds01 would write it, also
// after a death in between.
func TestAFileComesBackToTheByte(t *testing.T) {
	w := newInstalledWorld(t)
	const text = `{"live-restore":true,"icc":false, "runtimes":{"ds01":{"path":"/usr/lib/ds01/ds01-runtime"}}}`
	w.write(takeover.Daemon, text)
	i := w.installer(0, 0)
	begin := i.Begin
	i.Begin = func(s takeover.Step) {
		if begin(s); s.Path == takeover.Daemon {
			panic(errKilled)
		}
	}
	if !killed(func() { _ = w.remap(i, takeover.Switch{}) }) {
		t.Fatal("it isn't written")
	}
	w.mustRemap(takeover.Switch{})
	w.mustRemap(takeover.Switch{Back: true})
	if got := w.read(takeover.Daemon); got != text {
		t.Errorf("daemon.json is %s", got)
	}
}

func TestASwitchThatFailsIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		broken string
		fails  int
		says   string
	}{
		"no room after all":           {broken: "load", says: "no space left"},
		"the engine makes other ids":  {broken: "ids", says: "images have other ids or names"},
		"doctor finds something":      {fails: 1, says: "no driver"},
		"the engine's socket is gone": {broken: "docker.socket", says: "doesn't start"},
	} {
		for way, back := range map[string]bool{"there": false, "back": true} {
			t.Run(name+", "+way, func(t *testing.T) {
				w := newInstalledWorld(t)
				if back {
					w.mustRemap(takeover.Switch{})
					w.stored[true] = append(w.stored[true], image{"sha256:4", []string{"ds01-1000/new:latest"}})
				}
				was := w.state()
				w.broken = c.broken
				err := w.remap(w.installer(0, c.fails), takeover.Switch{Back: back})
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Fatalf("got %v", err)
				}
				if c.broken == "docker.socket" { // what puts things back needs it, too
					if !strings.Contains(err.Error(), "not everything could be put back") {
						t.Errorf("got %v", err)
					}
					w.broken = ""
					w.mustRemap(takeover.Switch{Back: !back})
				} else if p, ok := errors.AsType[*problem.Error](err); !ok || !strings.Contains(p.What, "as it was before") {
					t.Errorf("got %v", err)
				}
				if diff := cmp.Diff(was, w.state()); diff != "" || w.works(back) != "" {
					t.Errorf("%s (-before +after):\n%s", w.works(back), diff)
				}
			})
		}
	}
}

func TestASwitchWaitsForPeople(t *testing.T) {
	w := newInstalledWorld(t)
	w.pids["web._.1000"] = 7
	if err := w.remap(w.installer(0, 0), takeover.Switch{}); !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), "web._.1000 of nobody known") {
		t.Errorf("got %v", err)
	}
	w.pids = map[string]int{}
	w.networks = []string{"default._.1000"}
	was := w.state()
	i := w.installer(0, 0)
	i.Begin = func(s takeover.Step) {
		if s.Do == takeover.CheckEmpty {
			w.pids["late"] = 8
		}
	}
	if err := w.remap(i, takeover.Switch{}); err == nil || !strings.Contains(err.Error(), "everything is as it was before: the engine isn't switched: somebody made a container meanwhile: late") {
		t.Errorf("got %v", err)
	}
	if w.pids["late"] != 8 || len(w.networks) != 1 {
		t.Errorf("the container, or what it is on, isn't as it was: %v, %v", w.pids, w.networks)
	}
	delete(w.pids, "late")
	if diff := cmp.Diff(was, w.state()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	w.write("/data/docker/volumes/full/_data/file", "x")
	os.MkdirAll(w.path("/data/docker/volumes/empty/_data"), 0o755)
	w.volumes = map[string]string{"full": "/data/docker/volumes/full/_data", "empty": "/data/docker/volumes/empty/_data", "elsewhere": ""}
	if err := w.remap(w.installer(0, 0), takeover.Switch{}); err == nil || !strings.Contains(err.Error(), "have something in them: elsewhere, full") {
		t.Errorf("got %v", err)
	}
	w.volumes["data._.1000"], w.given = "", nil
	w.mustRemap(takeover.Switch{LeaveVolumes: true})
	if !slices.Equal(w.given, []string{"data._.1000"}) {
		t.Errorf("ds01 is told of %v", w.given)
	}
}

// TestASwitchThatFailsLosesNoContainer that somebody has made as soon as ds01 was
// there again.
func TestASwitchThatFailsLosesNoContainer(t *testing.T) {
	w := newInstalledWorld(t)
	i := w.installer(0, 1)
	begin := i.Begin
	i.Begin = func(s takeover.Step) {
		if begin(s); s.Do == takeover.CheckDs01 {
			w.pids["early"] = 8
		}
	}
	err := w.remap(i, takeover.Switch{})
	if err == nil || !strings.Contains(err.Error(), "not everything could be put back") || !strings.Contains(err.Error(), "early of nobody known") {
		t.Errorf("got %v", err)
	}
	if !w.remapped || !w.active["ds01.service"] || w.pids["early"] != 8 {
		t.Errorf("the container is lost: %+v", w)
	}
	w.pids = map[string]int{}
	w.mustRemap(takeover.Switch{})
}

func TestUninstallingASwitchedEngine(t *testing.T) {
	w := newInstalledWorld(t)
	w.mustRemap(takeover.Switch{})
	w.pids["web"] = 7
	if err := w.uninstall(w.installer(0, 0)); err == nil || !strings.Contains(err.Error(), "lose containers from sight: web") {
		t.Errorf("got %v", err)
	}
	w.pids = map[string]int{}
	if _, changed, err := w.installer(0, 0).Removal(t.Context()); err != nil || len(changed) > 0 {
		t.Errorf("the switch is taken for somebody's change: %v, %v", changed, err)
	}
	w.goneWithDs01(0)
}
