package gateway_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/quantity"
)

const gib = quantity.ByteSize(1 << 30)

// fills makes the disk too full after so many looks at it.
func (l *lab) fills(looks int64) {
	var seen atomic.Int64
	l.space = func() container.Space {
		s := container.Space{Known: true, Path: "/data", Total: 100 * gib, Free: 50 * gib, Keep: 10 * gib}
		if seen.Add(1) > looks {
			s.Free = 9 * gib
		}
		return s
	}
}

// long is an archive of images of about a MiB.
func long(t *testing.T) string {
	t.Helper()
	return archive(t, entry{name: "manifest.json", text: `[{"Config":"c","RepoTags":["app:1"]}]`}, entry{name: "l/layer.tar", text: strings.Repeat("x", 1<<20)})
}

func TestNothingIsMadeOnADiskThatIsFull(t *testing.T) {
	for name, c := range map[string]struct{ ask, body string }{
		"load":   {"/images/load", long(t)},
		"import": {"/images/create?fromSrc=-&repo=app", "tree"},
		"pull":   {"/images/create?fromImage=busybox&tag=1", ""},
		"commit": {"/commit?container=web&repo=app", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			web := l.create(t, alice)
			l.engine.answers["GET /containers/"+web+"/json"] = `{"SizeRw":5}`
			l.fills(0)
			if name == "commit" {
				l.fills(1) // whether the container is to be measured
			}
			wantRefusal(t, l.ask(t, alice, "POST", "/v1.41"+c.ask, c.body), 503, "the engine's disk has 9GiB free")
			if asked := slices.DeleteFunc(slices.Clone(l.engine.requests), func(r string) bool { return strings.HasPrefix(r, "GET ") }); len(asked) > 0 {
				t.Errorf("the engine was asked %v", asked)
			}
			if left := l.makings(t); len(left) > 0 {
				t.Errorf("waiting for %+v", left)
			}
		})
	}
}

func TestAStreamEndsWhenTheDiskIsFull(t *testing.T) {
	for name, c := range map[string]struct{ ask, body string }{
		"load":   {"/images/load", long(t)},
		"import": {"/images/create?fromSrc=-&repo=app", strings.Repeat("tree", 1<<18)},
		"packed": {"/images/create?fromSrc=-&repo=app", packed(t, "gzip", strings.Repeat("tree", 1<<18))},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			for _, looks := range []int64{1, 5} {
				l.fills(looks)
				wantRefusal(t, l.ask(t, alice, "POST", "/v1.41"+c.ask, c.body), 503, "must stay free (disk.keep_free in ds01.yaml)")
			}
			if len(l.engine.bodies) > 0 {
				t.Error("the engine has got all of it")
			}
			if left := l.makings(t); len(left) > 0 {
				t.Errorf("waiting for %+v", left)
			}
			l.fills(1 << 30)
			l.engine.answers["POST /images/load"], l.engine.answers["POST /images/create"] = `{"stream":"x"}`, `{"status":"x"}`
			if a := l.ask(t, alice, "POST", "/v1.41"+c.ask, c.body); a.status != 200 {
				t.Errorf("with room: %d %s", a.status, a.body)
			}
		})
	}
}

func TestAnImportGoesOnUnpacked(t *testing.T) {
	l := newLab(t)
	l.engine.answers["POST /images/create"] = `{"status":"x"}`
	tree := strings.Repeat("tree", 1<<10)
	for program, want := range map[string]string{"cat": tree, "gzip": tree, "bzip2": tree, "xz": packed(t, "xz", tree)} {
		a := l.ask(t, alice, "POST", "/v1.41/images/create?fromSrc=-&repo=app", packed(t, program, tree))
		if a.status != 200 || l.engine.bodies[len(l.engine.bodies)-1] != want {
			t.Errorf("%s: %d %s", program, a.status, a.body)
		}
	}
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/create?fromSrc=-&repo=app", packed(t, "gzip", tree)[:30]), 400, "Image not imported: what was sent is broken")
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/images/create?fromSrc=-&repo=app", packed(t, "gzip", tree)[:5]), 400, "Image not imported")
	if left := l.makings(t); len(left) > 0 {
		t.Errorf("waiting for %+v", left)
	}
}

// packed returns a layer compressed by a program.
func packed(t *testing.T, program, layer string) string {
	t.Helper()
	if program == "cat" {
		return layer
	}
	cmd := exec.CommandContext(t.Context(), program, "-c")
	cmd.Stdin = strings.NewReader(layer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestAnArchiveNeedsRoomBesideItself(t *testing.T) {
	layer := strings.Repeat("layer", 1<<18)
	for name, c := range map[string]struct {
		layer string
		room  quantity.ByteSize
		says  string // "" is loaded
	}{
		"plain":             {layer, 1 << 20, "this takes 1"}, // MiB and more
		"by gzip":           {packed(t, "gzip", layer), 1 << 20, "this takes 1"},
		"by bzip2":          {packed(t, "bzip2", layer), 1 << 20, "this takes 1"},
		"broken":            {packed(t, "gzip", layer)[:100], 1 << 20, ""},
		"with room":         {layer, 2 << 20, ""},
		"by gzip with room": {packed(t, "gzip", layer), 2 << 20, ""},
		"by xz":             {"\xfd7zXZ\x00" + layer, 2 << 20, "a layer in it is compressed with xz or zstd"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.engine.answers["POST /images/load"] = `{"stream":"x"}`
			l.space = func() container.Space {
				return container.Space{Known: true, Total: 100 * gib, Free: 10*gib + c.room, Keep: 10 * gib}
			}
			body := archive(t, entry{name: "manifest.json", text: `[{"Config":"c","RepoTags":["app:1"]}]`}, entry{name: "l/layer.tar", text: c.layer}, entry{name: "empty"})
			a := l.ask(t, alice, "POST", "/v1.41/images/load", body)
			if c.says == "" && a.status != 200 || !strings.Contains(a.body, c.says) || c.says != "" && a.status < 400 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

func TestAPullEndsWhenTheDiskIsFull(t *testing.T) {
	l := newLab(t)
	l.engine.answers["POST /images/create"] = `{"status":"one"}{"status":"two"}{"status":"three"}`
	l.fills(2)
	a := l.ask(t, alice, "POST", "/v1.41/images/create?fromImage=busybox&tag=1", "")
	if a.status != 200 || !strings.Contains(a.body, "one") || strings.Contains(a.body, "two") || !strings.Contains(a.body, `"error":"ds01: Image busybox not pulled: the engine's disk has 9GiB free`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	l.fills(1 << 30)
	if a := l.ask(t, alice, "POST", "/v1.41/images/create?fromImage=busybox&tag=1", ""); !strings.Contains(a.body, "three") || strings.Contains(a.body, "error") {
		t.Errorf("with room: %d %s", a.status, a.body)
	}
}

func TestACommitNeedsRoomForWhatTheContainerHasWritten(t *testing.T) {
	l := newLab(t)
	l.api = "1.42"
	web := l.create(t, alice)
	l.engine.AddImage(container.Image{ID: id("1")})
	l.engine.answers["POST /commit"] = fmt.Sprintf(`{"Id":%q}`, id("1"))
	l.fills(1 << 30)
	l.engine.answers["GET /containers/"+web+"/json"] = fmt.Sprintf(`{"SizeRw":%d}`, 41*gib)
	wantRefusal(t, l.ask(t, alice, "POST", "/v1.41/commit?container=web&repo=app", ""), 503, "has 50GiB free, this takes 41GiB, and 10GiB must stay free")
	l.engine.answers["GET /containers/"+web+"/json"] = fmt.Sprintf(`{"SizeRw":%d}`, 40*gib)
	if a := l.ask(t, alice, "POST", "/v1.41/commit?container=web&repo=app", ""); a.status != 201 {
		t.Errorf("with room: %d %s", a.status, a.body)
	}
}
