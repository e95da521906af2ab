package mount_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/problem"
)

// sharedFolder is a folder beyond homes with entries of all kinds.
func sharedFolder(t *testing.T, p place) string {
	t.Helper()
	bob := person(t, bobName)
	srv := filepath.Join(p.dir, "srv")
	p.folder(srv, 0, 0, 0o755)
	p.folder(filepath.Join(srv, "team"), 0, team(t), 0o2770)
	p.folder(filepath.Join(srv, "closed"), bob.UID, bob.GID, 0o700)
	p.folder(filepath.Join(srv, "listed"), bob.UID, bob.GID, 0o744) // names can be read, nothing be opened
	p.file(filepath.Join(srv, "open"), 0, 0, 0o644, "open")
	p.file(filepath.Join(srv, "secret"), 0, 0, 0o600, "secret")
	p.file(filepath.Join(srv, "mine"), p.own.UID, p.own.GID, 0o000, "mine")
	must(t, os.Symlink(filepath.Join(srv, "open"), filepath.Join(srv, "link")))
	return srv
}

func TestASharedFolderIsOpenToWhoCanGetIn(t *testing.T) {
	alice, bob := person(t, aliceName), person(t, bobName)
	p := newPlace(t, "", alice)
	srv := sharedFolder(t, p)
	for name, c := range map[string]struct {
		own    mount.Owner
		source string
		says   string // "": it may be mounted
	}{
		"the folder itself":                 {alice, "", ""},
		"a space of one's group":            {alice, "team", ""},
		"a space of a group of others":      {bob, "team", "you can't open it yourself"},
		"a file that all may read":          {bob, "open", ""},
		"a file of root's alone":            {alice, "secret", "you can't open it yourself"},
		"an own file, whatever its mode":    {alice, "mine", ""},
		"another's closed directory":        {alice, "closed", "you can't open it yourself"},
		"another's directory without entry": {alice, "listed", "you can't open it yourself"},
		"a link":                            {alice, "link", "symbolic link"},
		"out of it":                         {alice, "../home", "doesn't lie in"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, idmap := range []*mount.Mapping{nil, as(0, 0)} {
				r := p.request(filepath.Join(srv, c.source), idmap)
				r.Root, r.Shared, r.Owner = srv, true, c.own
				err := mount.Mount(r)
				if c.says == "" && err != nil {
					t.Error(err)
				}
				if c.says != "" && (!errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("%v; want %q", err, c.says)
				}
			}
		})
	}
}

func TestFoldersThatStayClosed(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	inner := filepath.Join(p.home, "engine", "data")
	p.folder(filepath.Dir(inner), p.own.UID, p.own.GID, 0o755)
	p.folder(inner, p.own.UID, p.own.GID, 0o755)
	p.folder(filepath.Join(p.home, "engineer"), p.own.UID, p.own.GID, 0o755)
	for source, says := range map[string]string{inner: "it lies in", filepath.Join(p.home, "engine"): "it lies in", p.home: "it holds", filepath.Join(p.home, "engineer"): ""} {
		r := p.request(source, nil)
		r.Closed = []string{"/nowhere", filepath.Join(p.home, "engine")}
		err := mount.Prepare(r)
		if (err == nil) != (says == "") || !strings.Contains(fmt.Sprint(err), says) {
			t.Errorf("%s: %v, want %q", source, err, says)
		}
	}
}

func TestTheKernelsOwnFileSystemsStayClosed(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	source := filepath.Join(p.home, "proc")
	p.folder(source, p.own.UID, p.own.GID, 0o755)
	must(t, unix.Mount("ds01t", source, "proc", 0, ""))
	r := p.request(source, nil)
	r.Shared = true
	if err := mount.Prepare(r); !errors.Is(err, problem.ErrDenied) || !strings.Contains(err.Error(), "file system of the kernel's") {
		t.Errorf("%v", err)
	}
}

// On an engine that doesn't remap, the engine itself acts as the host's root.
func TestRootMakesNothingInAMountThatIsNotMapped(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	work := filepath.Join(p.home, "work")
	p.folder(work, p.own.UID, p.own.GID, 0o777)
	p.file(filepath.Join(work, "roots"), 0, 0, 0o644, "read me")
	p.folder(filepath.Join(work, "team"), 0, team(t), 0o2770)
	target := p.mounted(p.request(work, nil))
	for name, try := range map[string]func(string) error{
		"a directory": func(at string) error { return os.Mkdir(at, 0o755) },
		"a file":      func(at string) error { return os.WriteFile(at, nil, 0o600) },
		"a device":    func(at string) error { return unix.Mknod(at, unix.S_IFCHR|0o666, 259) },
		"a link":      func(at string) error { return os.Symlink("/etc", at) },
	} {
		if err := try(filepath.Join(target, "new")); !errors.Is(err, unix.EOVERFLOW) {
			t.Errorf("%s: %v, want that root is nobody there", name, err)
		}
	}
	own := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.own.UID), Gid: uint32(p.own.GID), Groups: []uint32{uint32(team(t))}}}
	out, err := inside(target, "cat roots; mkdir dir; echo x > team/new; stat -c %u dir team/new", own)
	if want := fmt.Sprintf("read me%[1]d\n%[1]d", p.own.UID); err != nil || out != want {
		t.Errorf("the owner: %q, %v; want %q", out, err, want)
	}
	if got, want := onDisk(t, filepath.Join(work, "team", "new")), fmt.Sprintf("%d:%d", p.own.UID, team(t)); !strings.HasPrefix(got, want) {
		t.Errorf("on disk: %s, want %s", got, want)
	}
	must(t, unix.Chmod(p.home, 0o755))
	r := p.request(work, nil)
	r.Owner = mount.Owner{} // what is root's own stays so
	r.Shared = true
	if err := os.Mkdir(filepath.Join(p.mounted(r), "roots own"), 0o755); err != nil {
		t.Error(err)
	}
}

func TestMappableSaysWhetherIDsCanBeMapped(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	ram, plain := filepath.Join(p.home, "ram"), filepath.Join(p.home, "plain")
	p.folder(plain, p.own.UID, p.own.GID, 0o755)
	p.folder(ram, 0, 0, 0o755)
	must(t, unix.Mount("ds01t", ram, "ramfs", 0, ""))
	p.folder(ram, p.own.UID, p.own.GID, 0o700)
	for _, idmap := range []*mount.Mapping{nil, as(0, 0)} {
		for source, want := range map[string]bool{ram: false, plain: true} {
			if got, err := mount.Mappable(p.request(source, idmap)); err != nil || got != want {
				t.Errorf("%s: %v, %v; want %v", source, got, err, want)
			}
		}
	}
	if _, err := mount.Mappable(p.request("/etc", nil)); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("what may not be mounted: %v", err)
	}
	// One that is mapped already can't be mapped again.
	mapped := p.mounted(p.request(plain, as(0, 0)))
	r := p.request(mapped, as(0, 0))
	r.Root, r.Shared, r.Owner = filepath.Dir(mapped), true, mount.Owner{}
	if got, err := mount.Mappable(r); err != nil || got {
		t.Errorf("a mapped one: %v, %v", got, err)
	}
}
