package mount_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
)

func TestWhatIsRefused(t *testing.T) {
	alice, bob := person(t, aliceName), person(t, bobName)
	p := newPlace(t, "", alice)
	in := func(name ...string) string { return filepath.Join(append([]string{p.home}, name...)...) }
	outside := filepath.Join(p.dir, "outside")
	p.folder(in("mine"), alice.UID, alice.GID, 0o755)
	p.folder(outside, alice.UID, alice.GID, 0o755)
	p.file(in("bobs"), bob.UID, bob.GID, 0o666, "bob's")
	p.folder(in("closed"), bob.UID, bob.GID, 0o700)
	p.folder(in("closed", "mine"), alice.UID, alice.GID, 0o755)
	must(t, os.Link(in("bobs"), in("link of bobs")))
	must(t, os.Symlink(in("mine"), in("final")))
	must(t, os.Symlink(p.home, in("middle")))
	must(t, os.Symlink(p.home, filepath.Join(p.dir, "home2")))
	must(t, os.Symlink(in("closed"), in("peek")))
	must(t, unix.Mkfifo(in("fifo"), 0o666))
	must(t, os.Chown(in("fifo"), alice.UID, alice.GID))

	for name, c := range map[string]struct {
		source, root string
		idmap        *mount.Mapping
		kind         error // nil: it is allowed
		says         string
	}{
		"the home itself is allowed":                       {source: p.home},
		"an own directory is allowed":                      {source: in("mine")},
		"a trailing slash and dots in between are allowed": {source: in("mine") + "/../mine/"},
		"a symbolic link":                                  {source: in("final"), kind: problem.ErrDenied, says: ": " + in("mine") + "."},
		"a path through a symbolic link":                   {source: in("middle", "mine"), kind: problem.ErrDenied, says: ": " + in("mine") + "."},
		"a home that is a symbolic link":                   {source: filepath.Join(p.dir, "home2", "mine"), root: filepath.Join(p.dir, "home2"), kind: problem.ErrDenied, says: "others than root could change"},
		"a directory outside":                              {source: outside, kind: problem.ErrDenied, says: "doesn't lie in " + p.home},
		"a directory outside by dots":                      {source: in("mine") + "/../../outside", kind: problem.ErrDenied, says: "doesn't lie in"},
		"a neighbour whose name begins like the home's":    {source: p.home + "2", kind: problem.ErrDenied, says: "doesn't lie in"},
		"the whole host as an allowed root":                {source: in("mine"), root: "/", kind: problem.ErrDenied, says: "doesn't lie in"},
		"a relative path":                                  {source: "mine", kind: problem.ErrDenied, says: "doesn't lie in"},
		"an account without a home":                        {source: in("mine"), root: ".", kind: problem.ErrDenied, says: "doesn't lie in"},
		"another's file that all may write":                {source: in("bobs"), kind: problem.ErrDenied, says: "isn't yours"},
		"a hard link to another's file":                    {source: in("link of bobs"), kind: problem.ErrDenied, says: "isn't yours"},
		"another's directory":                              {source: in("closed"), kind: problem.ErrDenied, says: "isn't yours"},
		"an own directory behind another's closed one":     {source: in("closed", "mine"), kind: problem.ErrDenied, says: "you can't open it yourself"},
		"a pipe":                            {source: in("fifo"), kind: problem.ErrDenied, says: "neither a directory nor a regular file"},
		"what isn't there":                  {source: in("none"), kind: problem.ErrInvalid, says: "it doesn't exist"},
		"a path below a file":               {source: in("bobs", "x"), kind: problem.ErrDenied, says: "a part of its path is no directory"},
		"a container user beyond the range": {source: in("mine"), idmap: as(size, 0), kind: problem.ErrInvalid, says: "outside its"},
		"a negative container user":         {source: in("mine"), idmap: as(-1, 0), kind: problem.ErrInvalid, says: "outside its"},
	} {
		t.Run(name, func(t *testing.T) {
			r := p.request(c.source, c.idmap)
			if c.root != "" {
				r.Root = c.root
			}
			err := mount.Prepare(r)
			if err == nil && c.kind == nil {
				return
			}
			if err == nil || c.kind == nil {
				t.Fatalf("%v, want kind %v", err, c.kind)
			}
			if said := strings.Join(problem.Lines(err), " "); !errors.Is(err, c.kind) || !strings.Contains(said, c.says) {
				t.Errorf("%v\nwant kind %v and %q", said, c.kind, c.says)
			}
		})
	}
	t.Run("a link into another's directory doesn't tell what is there", func(t *testing.T) {
		err := mount.Prepare(p.request(in("peek", "mine"), nil))
		if !errors.Is(err, problem.ErrDenied) || strings.Contains(strings.Join(problem.Lines(err), " "), in("closed")) {
			t.Errorf("%v", problem.Lines(err))
		}
	})
}

func TestAMappingThatGivesTooMuchIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		own        mount.Owner
		base, size int
	}{
		"a range that holds the host's root":    {mount.Owner{UID: 70000}, 0, 65536},
		"an unknown range":                      {mount.Owner{UID: 70000}, 0, 0},
		"a range beyond all ids":                {mount.Owner{UID: 70000}, base, base},
		"an account in the containers' range":   {mount.Owner{UID: base + 7}, base, size},
		"a main group in the containers' range": {mount.Owner{UID: 70000, GID: base + 7}, base, size},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, "", c.own)
			r := p.request(p.home, &mount.Mapping{HostBase: c.base, HostSize: c.size})
			if err := mount.Prepare(r); err == nil {
				t.Error("it is allowed")
			}
		})
	}
}

func TestAFolderOfMountsThatOthersCanEnterIsRefused(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	r := p.request(p.home, nil)
	for name, mode := range map[string]uint32{"entered": 0o711, "listed": 0o704, "written": 0o722} {
		p.folder(filepath.Dir(r.Target), 0, 0, mode)
		if err := mount.Prepare(r); err == nil {
			t.Errorf("a folder that others could have %s was taken", name)
		}
	}
	p.folder(filepath.Dir(r.Target), p.own.UID, p.own.GID, 0o700)
	if err := mount.Prepare(r); err == nil {
		t.Error("a folder of a person's was taken")
	}
}

// A person swaps directories for links while ds01 looks: what is opened is
// always the directory, or nothing.
func TestSwappingALinkInNeverLeadsOutside(t *testing.T) {
	alice := person(t, aliceName)
	p := newPlace(t, "", alice)
	own, secret := filepath.Join(p.home, "dir"), filepath.Join(p.dir, "secret")
	for _, dir := range []string{own, secret} { // the secret is alice's too: only the link is wrong about it
		p.folder(dir, alice.UID, alice.GID, 0o755)
		p.folder(filepath.Join(dir, "data"), alice.UID, alice.GID, 0o755)
	}
	p.file(filepath.Join(own, "data", "mine"), alice.UID, alice.GID, 0o644, "")
	link := filepath.Join(p.home, "link")
	must(t, os.Symlink(secret, link))

	swapped := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				swapped <- nil
				return
			default:
				if err := unix.Renameat2(unix.AT_FDCWD, own, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE); err != nil {
					swapped <- err
					return
				}
			}
		}
	}()
	opened, refused := 0, 0
	r := p.request(filepath.Join(own, "data"), nil)
	for range 1500 {
		if err := mount.Mount(r); err != nil {
			if !errors.Is(err, problem.ErrDenied) {
				t.Error(err)
			}
			refused++
			continue
		}
		opened++
		if _, err := os.Stat(filepath.Join(r.Target, "mine")); err != nil {
			t.Fatalf("something else was mounted: %v", err)
		}
	}
	close(stop)
	must(t, <-swapped)
	if opened == 0 || refused == 0 {
		t.Errorf("opened %d times, refused %d times: the race never happened", opened, refused)
	}
}
