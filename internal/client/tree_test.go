package client_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/client"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// told returns what is below a directory, a line each.
func told(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, file)
		info, err := entry.Info()
		if err != nil {
			return err
		}
		data, _ := os.ReadFile(file)
		link, _ := os.Readlink(file)
		fmt.Fprintf(&b, "%s %s %q %s\n", name, info.Mode(), data, link)
		return nil
	}))
	return b.String()
}

func TestATreeComesBackAsItWas(t *testing.T) {
	from := filepath.Join(t.TempDir(), "tree")
	must(t, os.MkdirAll(filepath.Join(from, "dir/empty"), 0o755))
	must(t, os.WriteFile(filepath.Join(from, "dir/file"), []byte("text"), 0o640))
	must(t, os.Symlink("dir/file", filepath.Join(from, "link")))
	must(t, os.Symlink("/nowhere", filepath.Join(from, "dangling")))
	var archive bytes.Buffer
	must(t, client.PackTree(&archive, from, "tree", func(p string) { t.Errorf("%s is left out", p) }))
	to := t.TempDir()
	for range 2 { // the second goes over the first
		must(t, client.UnpackTree(bytes.NewReader(archive.Bytes()), to, "tree", "copy", func(p string) { t.Errorf("%s is left out", p) }))
	}
	if got, want := told(t, filepath.Join(to, "copy")), told(t, from); got != want {
		t.Errorf("it came back as\n%s\nwant\n%s", got, want)
	}
}

func TestAFileIsCopiedUnderAnotherName(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "a"), []byte("text"), 0o600))
	var archive bytes.Buffer
	must(t, client.PackTree(&archive, filepath.Join(dir, "a"), "a", nil))
	must(t, client.UnpackTree(&archive, dir, "a", "b", nil))
	if data, err := os.ReadFile(filepath.Join(dir, "b")); err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
}

// What runs in a container may write any archive that it likes.
func TestNoArchiveGetsOutOfItsDirectory(t *testing.T) {
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	file := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o6755, Size: 4}
	}
	for name, entries := range map[string][]tar.Header{
		"by dots":                {file("../outside/x")},
		"by a path":              {file("/../outside/x")},
		"through a link":         {link("x", "../outside"), file("x/y")},
		"through a path":         {link("x", "OUTSIDE"), file("x/y")},
		"over a link":            {link("x", "../outside/file"), file("x")},
		"by a hard link":         {{Typeflag: tar.TypeLink, Name: "x", Linkname: "../outside/file"}, file("x")},
		"by a hard link to one":  {link("l", "../outside/file"), {Typeflag: tar.TypeLink, Name: "x", Linkname: "l"}},
		"a directory over one":   {link("x", "../outside"), {Typeflag: tar.TypeDir, Name: "x", Mode: 0o777}, file("x/y")},
		"a device":               {{Typeflag: tar.TypeChar, Name: "node", Devmajor: 1, Devminor: 3}},
		"the directory's own":    {{Typeflag: tar.TypeDir, Name: ".", Mode: 0}},
		"a file with set-uid on": {file("x")},
	} {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			outside, dir := filepath.Join(top, "outside"), filepath.Join(top, "dir")
			must(t, os.Mkdir(outside, 0o755))
			must(t, os.Mkdir(dir, 0o755))
			must(t, os.WriteFile(filepath.Join(outside, "file"), []byte("kept"), 0o600))
			before := told(t, outside)
			var archive bytes.Buffer
			w := tar.NewWriter(&archive)
			for _, h := range entries {
				h.Linkname = strings.ReplaceAll(h.Linkname, "OUTSIDE", outside)
				must(t, w.WriteHeader(&h))
				if h.Typeflag == tar.TypeReg {
					w.Write([]byte("evil"))
				}
			}
			must(t, w.Close())
			_ = client.UnpackTree(&archive, dir, "x", "x", func(string) {}) // it may fail
			if after := told(t, outside); after != before {
				t.Errorf("outside is\n%s\nit was\n%s", after, before)
			}
			if inside := told(t, dir); strings.Contains(inside, "node") || strings.Contains(inside, "u") && strings.Contains(inside, "-u") {
				t.Errorf("inside is\n%s", inside)
			}
		})
	}
}
