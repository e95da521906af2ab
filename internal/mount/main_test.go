package mount_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/directory/scratchuser"
	"ds01.dev/ds01/internal/mount"
)

// The container's range of ids in these tests.
const (
	base = 2147483648
	size = 65536
)

// Two people, and a group that only the first is in, made for these tests.
var (
	aliceName = fmt.Sprintf("ds01t%dann", os.Getpid())
	bobName   = fmt.Sprintf("ds01t%dben", os.Getpid())
	teamName  = fmt.Sprintf("ds01t%dteam", os.Getpid())

	users = sync.OnceValue(addUsers)
)

func TestMain(m *testing.M) {
	if told, dies := os.LookupEnv(mayDie); dies {
		fmt.Fprintln(os.Stderr, snapshotAndDie(told))
		os.Exit(1)
	}
	code := m.Run()
	if err := removeUsers(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "remove test users:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func addUsers() error {
	ctx := context.Background()
	return errors.Join(
		scratchuser.AddGroup(ctx, teamName),
		scratchuser.Add(ctx, aliceName, homeOf(aliceName), teamName),
		scratchuser.Add(ctx, bobName, homeOf(bobName)),
	)
}

func homeOf(name string) string { return filepath.Join(os.TempDir(), name) }

func removeUsers(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return nil // there are none
	}
	return errors.Join(
		scratchuser.Remove(ctx, aliceName), scratchuser.Remove(ctx, bobName), scratchuser.RemoveGroup(ctx, teamName),
		os.RemoveAll(homeOf(aliceName)), os.RemoveAll(homeOf(bobName)),
	)
}

// needRoot fails a test that can't run here where all must run, and else
// says so.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("mounts need root")
	}
	t.Skip("mounts need root")
}

// person returns a test user as the owner of mounts.
func person(t *testing.T, name string) mount.Owner {
	t.Helper()
	needRoot(t)
	must(t, users())
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := u.GroupIds()
	if err != nil {
		t.Fatal(err)
	}
	o := mount.Owner{UID: number(t, u.Uid), GID: number(t, u.Gid)}
	for _, g := range groups {
		if g != u.Gid {
			o.Groups = append(o.Groups, number(t, g))
		}
	}
	return o
}

func team(t *testing.T) int {
	t.Helper()
	g, err := user.LookupGroup(teamName)
	if err != nil {
		t.Fatal(err)
	}
	return number(t, g.Gid)
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// place is a folder of one test with a home in it.
type place struct {
	t    testing.TB
	dir  string // open to all
	home string // the owner's, closed
	own  mount.Owner
}

func newPlace(t testing.TB, under string, o mount.Owner) place {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp(under, "ds01tm") //nolint:usetesting // others must be able to enter it
	if err != nil {
		t.Fatal(err)
	}
	p := place{t: t, dir: dir, home: filepath.Join(dir, "home"), own: o}
	t.Cleanup(func() {
		must(t, detachAll(dir)) // else removing would reach into what is mounted
		must(t, os.RemoveAll(dir))
	})
	must(t, os.Chmod(dir, 0o755))
	p.folder(p.home, o.UID, o.GID, 0o700)
	return p
}

// detachAll takes away what is mounted below dir, also where mounts lie on top
// of one another: List names their place once.
func detachAll(dir string) error {
	for {
		left, err := mount.List(dir)
		if err != nil || len(left) == 0 {
			return err
		}
		for _, target := range left {
			if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
				return err
			}
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p place) folder(path string, uid, gid int, mode uint32) {
	p.t.Helper()
	must(p.t, os.MkdirAll(path, 0o700))
	must(p.t, os.Chown(path, uid, gid))
	must(p.t, unix.Chmod(path, mode))
}

func (p place) file(path string, uid, gid int, mode uint32, content string) {
	p.t.Helper()
	must(p.t, os.WriteFile(path, []byte(content), 0o600))
	must(p.t, os.Chown(path, uid, gid))
	must(p.t, unix.Chmod(path, mode))
}

// request asks for a source to be mounted under a name of its own.
func (p place) request(source string, m *mount.Mapping) mount.Request {
	return mount.Request{Source: source, Root: p.home, Target: filepath.Join(p.dir, "mnt", "claim", "0"), Owner: p.own, Idmap: m}
}

func (p place) mounted(r mount.Request) string {
	p.t.Helper()
	must(p.t, mount.Mount(r))
	return r.Target
}

// as maps the owner to a user of the container.
func as(uid, gid int) *mount.Mapping {
	return &mount.Mapping{ContainerUID: uid, ContainerGID: gid, HostBase: base, HostSize: size}
}

// inContainer runs a script in the mount, as a user of the container's range
// with every capability that a container's root has there.
func inContainer(target string, uid, gid int, groups []uint32, script string) (string, error) {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: base, Size: size}}
	return inside(target, script, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid), Groups: groups},
	})
}

// inside runs a script whose first step is into the mount, past the closed
// folder that it lies in: an engine gets there as root.
func inside(target, script string, attr *syscall.SysProcAttr) (string, error) {
	fd, err := unix.Open(target, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	entry := os.NewFile(uintptr(fd), target)
	defer entry.Close()
	cmd := exec.Command("sh", "-euc", "if [ -d /proc/self/fd/3 ]; then cd /proc/self/fd/3; fi; "+script)
	cmd.ExtraFiles = []*os.File{entry}
	cmd.Dir = "/"
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// onDisk returns "uid:gid mode" of a path.
func onDisk(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return fmt.Sprintf("%d:%d %04o", st.Uid, st.Gid, st.Mode&0o7777)
}
