package takeover_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/takeover"
)

// installed is a host on which ds01 stands before an engine without containers.
func installed() (takeover.Facts, takeover.Wish) {
	f, w := host(), wish()
	done(&f, w)
	w.User = "bob"
	f.Engine.Containers, f.Engine.DataRoot, f.Ds01.Active = nil, "/var/lib/docker", true
	f.Files[takeover.SubUID] = takeover.Content([]byte("bob:100000:65536\n"))
	f.Stored = &takeover.Stored{
		Images: []takeover.Image{{ID: "1", Names: []string{"a:1", "a:2"}, Bytes: 700}, {ID: "2", Bytes: 500}}, Layers: 900, Free: 1 << 40,
	}
	return f, w
}

// switched is that host after 'ds01 remap'.
func switched(t *testing.T) (takeover.Facts, takeover.Wish) {
	t.Helper()
	f, w := installed()
	p, err := takeover.Remap(f, w, takeover.Switch{})
	if err != nil {
		t.Fatal(err)
	}
	before := f
	before.Before = nil
	m := takeover.Record(before, w.Engine, p, takeover.Manifest{}, func(string) bool { return true })
	m.Whole = true
	f.Remap, f.User, f.Engine.Remapped, f.Engine.DataRoot = &m, true, true, "/var/lib/docker/2147483648.2147483648"
	for _, s := range p.Steps {
		if s.Do == takeover.Put {
			f.Files[s.Path] = s.Then
		}
	}
	return f, w
}

func TestRemapPlansFromWhatIsThere(t *testing.T) {
	restart := []string{"systemctl stop docker.socket", "systemctl stop docker.service", "systemctl start docker.socket", "systemctl start docker.service"}
	found := []string{"remove networks that ds01 has made in this folder before", "give volumes that are in this folder from before back to their owners"}
	there := slices.Concat([]string{
		"systemctl stop ds01.service", "see that the engine has no container", "make the user dockremap",
		"change " + takeover.SubUID, "write " + takeover.SubGID, "change " + takeover.Daemon,
	}, restart, []string{
		"see that the engine answers at " + engine + ", and remaps user namespaces", found[0], found[1], "copy 2 images to the engine's new folder",
		"systemctl start ds01.service", "see that 'ds01 doctor' finds nothing that fails",
		"see that bob gets a container through ds01, and nothing at the engine's own socket",
	})
	back := slices.Concat([]string{
		"systemctl stop ds01.service", "see that the engine has no container", "change " + takeover.Daemon,
	}, restart, []string{
		"see that the engine answers at " + engine + ", and doesn't remap user namespaces", found[0], found[1], "copy 1 images to the engine's new folder",
		"change " + takeover.SubUID, "remove " + takeover.SubGID, "remove the user dockremap",
		"put the files of accounts back, where they say the same as before", "systemctl start ds01.service",
		"see that 'ds01 doctor' finds nothing that fails",
		"see that bob gets a container through ds01, and nothing at the engine's own socket",
	})
	for name, c := range map[string]struct {
		remapped bool
		change   func(f *takeover.Facts)
		back     bool
		want     []string
	}{
		"there": {want: there},
		"an account that is there already, with ids": {change: func(f *takeover.Facts) {
			f.User = true
			f.Files[takeover.SubUID] = takeover.Content([]byte("dockremap:300000:65536\n"))
			f.Files[takeover.SubGID] = f.Files[takeover.SubUID]
		}, want: slices.Concat(there[:2], there[5:])},
		"it was cut off while the engine restarted": {remapped: true, change: func(f *takeover.Facts) {
			f.Remap.Whole, f.Engine, f.Stored, f.Ds01.Active = false, nil, nil, false
		}, want: slices.Concat(restart, there[10:13], []string{"copy the images that aren't in the engine's new folder yet"}, there[14:])},
		"it was cut off while images were copied": {remapped: true, change: func(f *takeover.Facts) {
			f.Remap.Whole, f.Ds01.Active = false, false
		}, want: slices.Concat(there[1:2], restart, there[10:13], []string{"copy the images that aren't in the engine's new folder yet"}, there[14:])},
		"back, with what was made meanwhile": {remapped: true, back: true, change: func(f *takeover.Facts) {
			f.Stored.Images = append(f.Stored.Images, takeover.Image{ID: "3", Bytes: 10})
		}, want: back},
		"it was cut off before the engine restarted": {remapped: true, change: func(f *takeover.Facts) {
			f.Remap.Whole, f.Engine.Remapped, f.Ds01.Active = false, false, false
		}, want: slices.Concat(there[1:2], there[6:])},
		"somebody took the setting out": {remapped: true, change: func(f *takeover.Facts) {
			f.Engine.Remapped = false
			f.Files[takeover.Daemon] = f.Remap.Touched[slices.IndexFunc(f.Remap.Touched, func(t takeover.Touched) bool { return t.Path == takeover.Daemon })].Before
		}, want: slices.Concat(there[:2], there[5:])},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := installed()
			if c.remapped {
				f, w = switched(t)
			}
			if c.change != nil {
				c.change(&f)
			}
			p, err := takeover.Remap(f, w, takeover.Switch{Back: c.back})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, steps(p)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatIsSwitchedAlreadyIsSaid(t *testing.T) {
	f, w := installed()
	p, err := takeover.Remap(f, w, takeover.Switch{Back: true})
	if err != nil || len(p.Steps) > 0 || !slices.Equal(p.Notes, []string{"The engine doesn't remap user namespaces."}) {
		t.Errorf("back: %v, %v", p, err)
	}
	f.Engine.Remapped = true
	p, err = takeover.Remap(f, w, takeover.Switch{})
	if err != nil || len(p.Steps) > 0 || !slices.Equal(p.Notes, []string{"The engine remaps user namespaces already."}) {
		t.Errorf("there: %v, %v", p, err)
	}
}

func TestASwitchIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(f *takeover.Facts)
		remapped bool
		back     bool
		leave    bool
		kind     error
		why      string // "" it isn't
	}{
		"without ds01":      {change: func(f *takeover.Facts) { f.Before = nil }, why: "ds01 is not installed here"},
		"without an engine": {change: func(f *takeover.Facts) { f.Engine = nil }, kind: problem.ErrUnavailable, why: "it doesn't answer"},
		"by hand":           {change: func(f *takeover.Facts) { f.Engine.Remapped = true }, back: true, why: "it wasn't 'ds01 remap'"},
		"a container": {change: func(f *takeover.Facts) {
			f.Engine.Containers = []takeover.Container{{Name: "web._.1", Owner: "bob"}, {Name: "x"}}
		}, why: "web._.1 of bob, x of nobody known"},
		"a container, back": {change: func(f *takeover.Facts) { f.Engine.Containers = []takeover.Container{{Name: "web"}} }, remapped: true, back: true, why: "web of nobody known"},
		"a container since it was cut off": {change: func(f *takeover.Facts) {
			f.Remap.Whole, f.Engine.Containers = false, []takeover.Container{{Name: "web"}}
		}, remapped: true, why: "web of nobody known"},
		"a volume": {change: func(f *takeover.Facts) {
			f.Stored.Volumes = []takeover.Volume{{Name: "full", Full: true}, {Name: "none"}}
		}, why: "something in them: full"},
		"a volume that may stay": {change: func(f *takeover.Facts) { f.Stored.Volumes = []takeover.Volume{{Name: "full", Full: true}} }, leave: true},
		"an empty volume":        {change: func(f *takeover.Facts) { f.Stored.Volumes = []takeover.Volume{{Name: "none"}} }},
		"no room":                {change: func(f *takeover.Facts) { f.Stored.Free = 900 + 2*700 - 1 }, kind: problem.ErrExhausted, why: "the images need about 2.2KiB"},
		"just room":              {change: func(f *takeover.Facts) { f.Stored.Free = 900 + 2*700 }},
		"images by containerd":   {change: func(f *takeover.Facts) { f.Stored.Containerd = true }, why: "by containerd"},
		"a setting of somebody's": {change: func(f *takeover.Facts) {
			f.Files[takeover.Daemon] = takeover.Content([]byte(`{"userns-remap": "bob"}`))
		}, why: `"userns-remap": "bob" already`},
		"a flag":                      {change: func(f *takeover.Facts) { f.Docker.Command = []string{"--userns-remap=bob"} }, why: "started with --userns-remap"},
		"settings that can't be read": {change: func(f *takeover.Facts) { f.Files[takeover.Daemon] = takeover.Content([]byte(`{`)) }, why: "can't be read"},
		"other units":                 {change: func(f *takeover.Facts) { f.Docker.Needed = []string{"ds01.service", "web.service"} }, why: "units stop: web.service"},
		"other ids for groups": {change: func(f *takeover.Facts) {
			f.Files[takeover.SubUID] = takeover.Content([]byte("dockremap:1:65536\n"))
			f.Files[takeover.SubGID] = takeover.Content([]byte("dockremap:2:65536\n"))
		}, why: "other ids"},
		"no ids": {change: func(f *takeover.Facts) {
			f.Files[takeover.SubGID] = takeover.Content([]byte("alice:2000000000:2290000000\n"))
		}, why: "are free in /etc/subuid and /etc/subgid"},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := installed()
			if c.remapped {
				f, w = switched(t)
			}
			c.change(&f)
			p, err := takeover.Remap(f, w, takeover.Switch{Back: c.back, LeaveVolumes: c.leave})
			if c.why == "" {
				if err != nil || len(p.Steps) == 0 {
					t.Fatalf("got %v, %v", p, err)
				}
				return
			}
			if c.kind == nil {
				c.kind = problem.ErrConflict
			}
			if err == nil || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.why) || len(p.Steps) > 0 {
				t.Errorf("got %v, %v", p.Steps, err)
			}
			if one, ok := errors.AsType[*problem.Error](err); !ok || one.What == "" || one.Next == "" {
				t.Errorf("it doesn't say what, or what next: %v", err)
			}
		})
	}
}

func TestIdsOfContainersAreNobodys(t *testing.T) {
	for name, c := range map[string]struct{ uids, gids, want string }{
		"none are given":            {"", "", "2147483648:2147000000"},
		"low ones are given":        {"bob:100000:65536", "bob:100000:65536", "2147483648:2147000000"},
		"the first are given":       {"", "x:2147483648:1000", "2147484648:2146999000"},
		"some in the middle":        {"x:2200000000:65536", "y:4000000000:65536\nnonsense\na:b:c", "2200065536:1799934464"},
		"over the beginning":        {"x:2000000000:1000000000", "", "3000000000:1294483648"},
		"the account has some":      {"dockremap:7:65536", "dockremap:7:65536", "7:65536"},
		"of users, and not groups":  {"dockremap:300000:65536", "", "300000:65536"},
		"of groups, and not users":  {"", "dockremap:300000:65536", "300000:65536"},
		"without an end of a line":  {"bob:1:2\nalice:3:4", "", "2147483648:2147000000"},
		"a count beyond everything": {"x:4294967295:99999999999999999999", "", "2147483648:2147000000"},
	} {
		t.Run(name, func(t *testing.T) {
			f, w := installed()
			f.Files[takeover.SubUID], f.Files[takeover.SubGID] = takeover.Content([]byte(c.uids)), takeover.Content([]byte(c.gids))
			p, err := takeover.Remap(f, w, takeover.Switch{})
			if err != nil {
				t.Fatal(err)
			}
			for path, was := range map[string]string{takeover.SubUID: c.uids, takeover.SubGID: c.gids} {
				got := was
				if i := slices.IndexFunc(p.Steps, func(s takeover.Step) bool { return s.Path == path }); i >= 0 {
					got = string(p.Steps[i].Then.Text)
				}
				if !strings.HasPrefix(got, was) || strings.Count("\n"+got, "\ndockremap:"+c.want) != 1 {
					t.Errorf("%s is %q", path, got)
				}
			}
		})
	}
}

func TestOnlyTheLinesOfTheSwitchGo(t *testing.T) {
	f, w := switched(t)
	f.Files[takeover.Daemon] = takeover.Content([]byte("{\n\t\"userns-remap\": \"default\",\n\t\"mine\": [1,  2]\n}\n"))
	f.Files[takeover.SubUID] = takeover.Content(append(f.Files[takeover.SubUID].Text, "carol:165536:65536\n"...))
	p, err := takeover.Remap(f, w, takeover.Switch{Back: true})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, s := range p.Steps {
		if s.Do == takeover.Put {
			got[s.Path] = fmt.Sprintf("%s%s", s.Then.Kind, s.Then.Text)
		}
	}
	want := map[string]string{
		takeover.Daemon: "file{\n\t\"mine\": [1,  2]\n}\n", takeover.SubUID: "filebob:100000:65536\ncarol:165536:65536\n", takeover.SubGID: "",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if changed := takeover.Changes(f); len(changed) != 1 || strings.Contains(string(changed[0].Now.Text), "userns-remap") {
		t.Errorf("somebody's change is %v", changed)
	}
}

func TestUninstallingTakesTheSwitchAlong(t *testing.T) {
	f, _ := switched(t)
	p, err := takeover.Undo(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(steps(p), "\n")
	for _, want := range []string{
		"change " + takeover.Daemon + "\nsystemctl stop docker.socket\n", "remove the user dockremap\nput the files of accounts back",
		"remove " + takeover.SubGID, "change " + takeover.SubUID,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in:\n%s", want, said)
		}
	}
	if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "'ds01 remap --undo' before this takes them along") }) {
		t.Errorf("it doesn't say what becomes of images: %v", p.Notes)
	}
	f.Engine.Containers = []takeover.Container{{Name: "web", Owner: "bob"}}
	if _, err := takeover.Undo(f, nil); !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), "web of bob") {
		t.Errorf("it loses a container: %v", err)
	}
}

func TestImagesGoTogetherWhereThereIsRoom(t *testing.T) {
	all := []takeover.Image{{ID: "1", Bytes: 5}, {ID: "2", Bytes: 5}, {ID: "3", Bytes: 20}, {ID: "4", Bytes: 1}}
	for room, want := range map[int64]string{-5: "1 2 3 4", 9: "1 2 3 4", 10: "12 3 4", 30: "123 4", 100: "1234"} {
		var got []string
		for _, batch := range takeover.Batches(all, room) {
			names := ""
			for _, i := range batch {
				names += i.ID
			}
			got = append(got, names)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("with room for %d: %v", room, got)
		}
	}
	if n := len(takeover.Batches(make([]takeover.Image, 250), 1)); n != 3 {
		t.Errorf("250 images in %d requests", n)
	}
}

// TestAnUpgradeLeavesTheSwitch: what it puts into daemon.json is nobody's change.
func TestAnUpgradeLeavesTheSwitch(t *testing.T) {
	f, w := switched(t)
	f.Files[takeover.Daemon] = takeover.Content([]byte(`{"userns-remap": "default", "icc": false}`)) // an older ds01 asked for less
	f.Before.Touched[slices.IndexFunc(f.Before.Touched, func(t takeover.Touched) bool { return t.Path == takeover.Daemon })].After = takeover.Content([]byte("{\n  \"icc\": false\n}\n"))
	p, err := takeover.Install(f, w)
	if err != nil || !slices.Contains(steps(p), "change "+takeover.Daemon) {
		t.Fatal(err, steps(p))
	}
	m := takeover.Record(f, w.Engine, p, takeover.Manifest{}, func(string) bool { return true })
	f.Before = &m
	for _, s := range p.Steps {
		if s.Do == takeover.Put {
			f.Files[s.Path] = s.Then
		}
	}
	if !strings.Contains(string(f.Files[takeover.Daemon].Text), "userns-remap") || !strings.Contains(string(f.Files[takeover.Daemon].Text), "live-restore") {
		t.Errorf("it is %s", f.Files[takeover.Daemon].Text)
	}
	if changed := takeover.Changes(f); len(changed) > 0 {
		t.Errorf("it is taken for somebody's change: %v", changed)
	}
}

func TestAnInstallationWaitsForASwitchThatWasCutOff(t *testing.T) {
	f, w := switched(t)
	f.Remap.Whole = false
	if _, err := takeover.Install(f, w); !errors.Is(err, problem.ErrConflict) || !strings.Contains(err.Error(), "was cut off") {
		t.Errorf("got %v", err)
	}
}
