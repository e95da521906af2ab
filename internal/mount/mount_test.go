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

func TestWritesLandAsTheOwner(t *testing.T) {
	for fs, under := range map[string]string{"the disk": "", "a tmpfs": "/dev/shm"} {
		for name, c := range map[string]struct {
			own      mount.Owner
			uid, gid int
		}{
			"a person as the container's root":              {person(t, aliceName), 0, 0},
			"a person as a Dev Container's user":            {person(t, aliceName), 1000, 1000},
			"a person with the huge numbers of a directory": {mount.Owner{UID: 1512345678, GID: 1512300513}, 1000, 100},
			"a person whose number is the container's too":  {mount.Owner{UID: 1000, GID: 1000}, 1000, 1000},
		} {
			t.Run(name+" on "+fs, func(t *testing.T) {
				p := newPlace(t, under, c.own)
				target := p.mounted(p.request(p.home, as(c.uid, c.gid)))
				out, err := inContainer(target, c.uid, c.gid, nil, "echo text >file; mkdir folder; stat -c %u:%g . file")
				want := fmt.Sprintf("%d:%d", c.uid, c.gid)
				if err != nil || out != want+"\n"+want {
					t.Fatalf("in the container: %q, %v; want %s twice", out, err, want)
				}
				want = fmt.Sprintf("%d:%d", c.own.UID, c.own.GID)
				for _, made := range []string{"file", "folder"} {
					if got := onDisk(t, filepath.Join(p.home, made)); !strings.HasPrefix(got, want+" ") {
						t.Errorf("%s is %s on disk, want %s", made, got, want)
					}
				}
			})
		}
	}
}

func TestOtherUsersOfTheContainerCannotMakeFiles(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	must(t, unix.Chmod(p.home, 0o777))
	target := p.mounted(p.request(p.home, as(1000, 1000)))
	if out, err := inContainer(target, 0, 0, nil, "echo text >file"); err == nil {
		t.Errorf("the container's root made a file that is %s on disk (%s)", onDisk(t, filepath.Join(p.home, "file")), out)
	}
	if out, err := inContainer(target, 1000, 1000, nil, "touch mine"); err != nil {
		t.Errorf("the container's user can't: %v %s", err, out)
	}
	if out, err := inContainer(target, 0, 0, nil, "chown 0 mine"); err == nil {
		t.Errorf("the container's root took the owner's file: %s %s", onDisk(t, filepath.Join(p.home, "mine")), out)
	}
}

func TestNobodyElsesFilesOpenUp(t *testing.T) {
	alice, bob := person(t, aliceName), person(t, bobName)
	p := newPlace(t, "", alice)
	p.file(filepath.Join(p.home, "closed"), bob.UID, bob.GID, 0o600, "bob's")
	p.file(filepath.Join(p.home, "roots"), 0, 0, 0o600, "root's")
	p.file(filepath.Join(p.home, "open"), bob.UID, bob.GID, 0o644, "bob's")
	p.file(filepath.Join(p.home, "alien"), base, base, 0o600, "another container's")
	p.folder(filepath.Join(p.home, "dir"), bob.UID, bob.GID, 0o700)
	p.file(filepath.Join(p.home, "dir", "open"), bob.UID, bob.GID, 0o644, "bob's")
	target := p.mounted(p.request(p.home, as(0, 0)))
	for name, c := range map[string]struct {
		script string
		works  bool
	}{
		"another's closed file can't be read":             {"cat closed", false},
		"another's closed file can't be written":          {"echo x >>closed", false},
		"another's closed file can't be opened to all":    {"chmod 666 closed", false},
		"another's closed file can't be taken":            {"chown 0 closed", false},
		"root's file can't be read":                       {"cat roots", false},
		"a file of the container's range can't be read":   {"cat alien", false},
		"a file of the container's range can't be taken":  {"chown 0 alien", false},
		"another's closed directory can't be entered":     {"cat dir/open", false},
		"another's open file can be read, as on the host": {"cat open", true},
		"another's open file can't be written":            {"echo x >>open", false},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := inContainer(target, 0, 0, nil, c.script); (err == nil) != c.works {
				t.Errorf("%s: %q, %v", c.script, out, err)
			}
		})
	}
}

func TestGroupSpaceTakesTheWritesOfItsMembersOnly(t *testing.T) {
	alice, gid := person(t, aliceName), team(t)
	for name, c := range map[string]struct {
		groups []int
		works  bool
	}{
		"a member":     {alice.Groups, true},
		"not a member": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			alice.Groups = c.groups
			p := newPlace(t, "", alice)
			space := filepath.Join(p.home, "space")
			p.folder(space, 0, gid, 0o2770)
			target := p.mounted(p.request(p.home, as(1000, 1000)))
			out, err := inContainer(target, 1000, 1000, []uint32{uint32(gid)}, "cd space; touch file; stat -c %u:%g file")
			if (err == nil) != c.works {
				t.Fatalf("%q, %v", out, err)
			}
			if want := fmt.Sprintf("1000:%d", gid); c.works && out != want {
				t.Errorf("the container sees %s, want %s", out, want)
			}
			if want := fmt.Sprintf("%d:%d ", alice.UID, gid); c.works && !strings.HasPrefix(onDisk(t, filepath.Join(space, "file")), want) {
				t.Errorf("on disk %s, want %s", onDisk(t, filepath.Join(space, "file")), want)
			}
		})
	}
}

func TestAPersonOfManyGroupsCanMount(t *testing.T) {
	alice := person(t, aliceName)
	for g := range 600 {
		alice.Groups = append(alice.Groups, 20000+7*g)
	}
	alice.Groups = append(alice.Groups, 1000, base+5, base+size, 4294967290) // collides with the container's group, in its range, beyond it
	p := newPlace(t, "", alice)
	space := filepath.Join(p.home, "space")
	p.folder(space, 0, team(t), 0o2770)
	target := p.mounted(p.request(p.home, as(1000, 1000)))
	if out, err := inContainer(target, 1000, 1000, []uint32{uint32(team(t))}, "touch space/file"); err != nil {
		t.Errorf("the first group gives no rights: %v %s", err, out)
	}
}

func TestSetuidAndDeviceNodesGiveNothing(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	id, err := os.ReadFile("/usr/bin/id")
	must(t, err)
	p.file(filepath.Join(p.home, "id"), 0, 0, 0o4755, string(id))
	must(t, unix.Mknod(filepath.Join(p.home, "null"), unix.S_IFCHR, int(unix.Mkdev(1, 3))))
	must(t, unix.Chmod(filepath.Join(p.home, "null"), 0o666))
	bob := person(t, bobName)
	asBob := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(bob.UID), Gid: uint32(bob.GID)}}
	must(t, unix.Chmod(p.home, 0o755))

	if out, err := inside(p.home, "./id -u; cat null", asBob); err != nil || out != "0" {
		t.Fatalf("without a mount they must work, else this test sees nothing: %q, %v", out, err)
	}
	target := p.mounted(p.request(p.home, nil))
	if out, err := inside(target, "./id -u", asBob); err != nil || out != fmt.Sprint(bob.UID) {
		t.Errorf("root's setuid program runs as %q, %v; want %d", out, err, bob.UID)
	}
	if out, err := inside(target, "cat null", asBob); err == nil {
		t.Errorf("a device node opens (%s)", out)
	}

	target = p.mounted(p.request(p.home, as(0, 0)))
	if out, err := inContainer(target, 0, 0, nil, "cp id mine; chmod 4755 mine"); err != nil {
		t.Fatal(err, out)
	}
	if got, want := onDisk(t, filepath.Join(p.home, "mine")), fmt.Sprintf("%d:%d 4755", p.own.UID, p.own.GID); got != want {
		t.Errorf("the setuid program of the container's root is %s on disk, want %s", got, want)
	}
	for _, script := range []string{"mknod mine2 c 1 3", "cat null"} {
		if out, err := inContainer(target, 0, 0, nil, script); err == nil {
			t.Errorf("%s works (%s)", script, out)
		}
	}
}

func TestReadOnlyHolds(t *testing.T) {
	for name, m := range map[string]*mount.Mapping{"with mapped ids": as(0, 0), "with plain ids": nil} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, "", person(t, aliceName))
			p.file(filepath.Join(p.home, "file"), p.own.UID, p.own.GID, 0o644, "text")
			r := p.request(p.home, m)
			r.ReadOnly = true
			p.mounted(r)
			if err := os.WriteFile(filepath.Join(r.Target, "file"), nil, 0o600); !errors.Is(err, unix.EROFS) {
				t.Errorf("write: %v, want EROFS", err)
			}
			out, err := inContainer(r.Target, 0, 0, nil, "echo x >file")
			if err == nil {
				t.Errorf("the container's root wrote: %s", out)
			}
		})
	}
}

func TestAFileIsMounted(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	source := filepath.Join(p.home, "a file")
	p.file(source, p.own.UID, p.own.GID, 0o600, "text")
	r := p.request(source, as(0, 0))
	p.mounted(r)
	if out, err := inContainer(r.Target, 0, 0, nil, "cat /proc/self/fd/3; echo more >>/proc/self/fd/3"); err != nil || out != "text" {
		t.Errorf("%q, %v", out, err)
	}
	if got, err := os.ReadFile(source); err != nil || string(got) != "textmore\n" {
		t.Errorf("on disk: %q, %v", got, err)
	}
}

func TestAFileSystemThatCannotMapIdsIsNamed(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	source := filepath.Join(p.home, "ram")
	p.folder(source, 0, 0, 0o755)
	must(t, unix.Mount("ds01t", source, "ramfs", 0, ""))
	p.folder(source, p.own.UID, p.own.GID, 0o700)
	err := mount.Mount(p.request(source, as(0, 0)))
	if !errors.Is(err, mount.ErrCannotIdmap) || !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("mount: %v, want ErrCannotIdmap", err)
	}
	must(t, mount.Mount(p.request(source, nil))) // plain ids work
}

func TestWhatIsMountedBelowTheSourceStaysOutside(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	inner := filepath.Join(p.home, "inner")
	p.folder(inner, p.own.UID, p.own.GID, 0o755)
	must(t, unix.Mount("ds01t", inner, "tmpfs", 0, ""))
	must(t, os.WriteFile(filepath.Join(inner, "hidden"), nil, 0o600))
	r := p.request(p.home, nil)
	if err := mount.Mount(r); !errors.Is(err, problem.ErrDenied) || !strings.Contains(strings.Join(problem.Lines(err), " "), "at "+inner) {
		t.Errorf("%v, want it denied, with the inner mount named", err)
	}
	r.Alone = true
	target := p.mounted(r)
	if _, err := os.Stat(filepath.Join(target, "inner", "hidden")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the inner mount came along: %v", err)
	}
}
