package gateway_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/gateway"
)

// FuzzLoadedArchive: whatever archive is sent on, whoever unpacks it in order
// finds a manifest without a name in it, nothing outside and nothing through a
// link; and every name it had is in the caller's own repository.
func FuzzLoadedArchive(f *testing.F) {
	for _, entries := range [][]entry{
		{{name: "manifest.json", text: manifest}, {name: "l/layer.tar", text: "x"}},
		{{name: "./manifest.json", text: manifest}, {name: "a", kind: tar.TypeSymlink, link: "."}, {name: "b/", kind: tar.TypeDir}},
		{{name: "repositories", text: "{}"}, {name: "manifest.json", text: `[{"Config":"c","RepoTags":["docker.io/library/busybox"]}]`}},
		{{name: "x", kind: tar.TypeLink, link: "manifest.json"}, {name: "manifest.json", text: "[]"}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, e := range entries {
			h := &tar.Header{Name: e.name, Linkname: e.link, Size: int64(len(e.text)), Typeflag: e.kind, Mode: 0o644}
			if e.kind == 0 {
				h.Typeflag = tar.TypeReg
			}
			if err := errors.Join(w.WriteHeader(h)); err != nil {
				f.Fatal(err)
			}
			io.WriteString(w, e.text)
		}
		w.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var sent bytes.Buffer
		names, m, err := gateway.EditLoaded(&sent, bytes.NewReader(data), alice)
		if err != nil {
			return
		}
		for _, of := range names {
			for _, name := range of {
				if !strings.HasPrefix(name, "ds01-71001/") {
					t.Fatalf("the name %s", name)
				}
			}
		}
		if got := unpack(t, sent.Bytes()); got["manifest.json"] == "" || got["repositories"] != "" {
			t.Fatalf("unpacked %v", got)
		} else if len(names) > 0 {
			wantMarked(t, got["manifest.json"], m)
		}
	})
}

func wantMarked(t *testing.T, manifest string, m container.Making) {
	t.Helper()
	var images []struct{ RepoTags []string }
	if err := json.Unmarshal([]byte(manifest), &images); err != nil {
		t.Fatal(err)
	}
	for i, image := range images {
		if len(image.RepoTags) != 1 || image.RepoTags[0] != curator.Mark(m, i) {
			t.Fatalf("other names than marks are sent: %s", manifest)
		}
	}
}

// unpack unpacks an archive as the engine does: a later entry replaces an
// earlier one.
func unpack(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	files, links := map[string]string{}, map[string]bool{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatalf("what is sent isn't whole: %v", err)
		}
		name := path.Clean(h.Name)
		if name != strings.TrimSuffix(h.Name, "/") || strings.HasPrefix(name, "..") || path.IsAbs(name) {
			t.Fatalf("the entry %q", h.Name)
		}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			if links[dir] {
				t.Fatalf("the entry %q lies behind a link", h.Name)
			}
		}
		links[name] = h.Typeflag == tar.TypeSymlink
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
}
