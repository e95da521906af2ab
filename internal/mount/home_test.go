package mount_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
)

// A host may keep its homes elsewhere: /home leads to /data/home.
func TestAHomeBehindLinksOfTheHostsOwnRoot(t *testing.T) {
	alice := person(t, aliceName)
	p := newPlace(t, "/var/lib", alice)
	p.folder(filepath.Join(p.home, "mine"), alice.UID, alice.GID, 0o755)
	p.folder(filepath.Join(p.dir, "shared"), 0, 0, 0o777)
	p.folder(filepath.Join(p.dir, "hers"), alice.UID, alice.GID, 0o755)
	link := func(to string, path ...string) string {
		t.Helper()
		name := filepath.Join(append([]string{p.dir}, path...)...)
		must(t, os.Symlink(to, name))
		return name
	}
	absolute := link(p.home, "absolute")
	for name, c := range map[string]struct {
		root, source string
		works        bool
	}{
		"a link with a whole path":            {absolute, filepath.Join(absolute, "mine"), true},
		"a link with a path from there":       {link("./shared/.././home", "relative"), filepath.Join(p.dir, "relative", "mine"), true},
		"a link to a link":                    {link("absolute", "second"), filepath.Join(p.dir, "second"), true},
		"a link of a directory above":         {filepath.Join(link(p.dir, "above"), "home"), filepath.Join(p.dir, "above", "home", "mine"), true},
		"the source where the link leads":     {absolute, filepath.Join(p.home, "mine"), true},
		"the source outside":                  {absolute, filepath.Join(p.dir, "hers"), false},
		"a link in a folder others may write": {link(p.home, "shared", "link"), filepath.Join(p.dir, "shared", "link", "mine"), false},
		"a link that the person made":         {link(p.home, "hers", "link"), filepath.Join(p.dir, "hers", "link", "mine"), false},
		"a link that leads to itself":         {link("loop", "loop"), filepath.Join(p.dir, "loop", "mine"), false},
		"a link to the whole host":            {link("/", "host"), filepath.Join(p.dir, "host", p.home, "mine"), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.request(c.source, nil)
			r.Root = c.root
			err := mount.Mount(r)
			if c.works && err != nil {
				t.Fatal(err)
			}
			if !c.works && !errors.Is(err, problem.ErrDenied) {
				t.Errorf("%v, want it denied", err)
			}
		})
	}
}

func TestRootAsAnOwnerOverridesNothing(t *testing.T) {
	bob := person(t, bobName)
	p := newPlace(t, "", mount.Owner{})
	p.folder(filepath.Join(p.home, "bobs"), bob.UID, bob.GID, 0o700)
	p.folder(filepath.Join(p.home, "bobs", "roots"), 0, 0, 0o755)
	if err := mount.Mount(p.request(filepath.Join(p.home, "bobs", "roots"), nil)); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("%v, want it denied", err)
	}
	must(t, unix.Chmod(filepath.Join(p.home, "bobs"), 0o755))
	must(t, mount.Mount(p.request(filepath.Join(p.home, "bobs", "roots"), nil)))
}
