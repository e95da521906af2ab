package files_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// foreign mounts file systems that can't map ids below alice's home: how NFS
// and FUSE are to ds01. It returns their paths.
func foreign(t *testing.T, l *lab.Lab) map[string]string {
	t.Helper()
	own := fmt.Sprintf("%s:%d", l.Login("alice"), gidOf(l, l.Login("alice")))
	ram := folder(t, l, "alice", "ram")
	lab.Must(t, unix.Mount("ds01t", ram, "ramfs", unix.MS_NOSUID, ""))
	fuse, behind := folder(t, l, "alice", "fuse"), folder(t, l, "alice", "behind")
	if out, err := exec.Command("bindfs", "-o", "allow_other,default_permissions", behind, fuse).CombinedOutput(); err != nil {
		t.Fatalf("bindfs: %v\n%s; 'make deps' installs it", err, out)
	}
	t.Cleanup(func() {
		for _, at := range []string{ram, fuse} {
			if err := unix.Unmount(at, unix.MNT_DETACH); err != nil {
				t.Error(err)
			}
		}
	})
	l.OK("root", "chown", own, ram)
	return map[string]string{"a file system without mappings": ram, "FUSE": fuse}
}

// TestWhereIDsCannotBeMapped is what holds where a file system can't map ids:
// the rules of an engine that doesn't remap, and a word about it.
func TestWhereIDsCannotBeMapped(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain})
			for name, source := range foreign(t, l) {
				t.Run(name, func(t *testing.T) {
					alone(t, l, func(t *testing.T, l *lab.Lab) { everythingIsTheOwners(t, l, source, !plain) })
					alone(t, l, func(t *testing.T, l *lab.Lab) { rootMakesNothing(t, l, source) })
					alone(t, l, func(t *testing.T, l *lab.Lab) { anOwnContainerWorks(t, l, source, !plain) })
				})
			}
		})
	}
}

func everythingIsTheOwners(t *testing.T, l *lab.Lab, source string, warned bool) {
	uid := fmt.Sprint(l.UID("alice"))
	r := l.Docker("alice", "run", "-d", "--name", "web", "-v", source+":/w", "busybox", "sleep", "1000")
	if r.Code != 0 || warned != strings.Contains(r.Err, "can't map ids, so this container and every command in it run as you") {
		t.Fatalf("exit code %d: %s", r.Code, r.Err)
	}
	show := "id -u; grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr '\\n' ' '"
	want := uid + "\nCapEff:\t0000000000000000 CapBnd:\t0000000000000000 NoNewPrivs:\t1"
	for _, words := range [][]string{
		{"exec", "web", "sh", "-c", show}, {"exec", "-u", uid, "web", "sh", "-c", show}, {"run", "--rm", "-v", source + ":/w", "busybox", "sh", "-c", show},
	} {
		if got := l.OK("alice", append([]string{"docker"}, words...)...); got != want {
			t.Errorf("%v:\n%s\nwant\n%s", words[:2], got, want)
		}
	}
	l.OK("alice", "docker", "exec", "web", "sh", "-c", wild)
	onlyHers(t, l, source)
	private := filepath.Join(l.Home("alice"), "private")
	l.OK("alice", "sh", "-c", "umask 077; echo secret > "+private)
	l.OK("alice", "docker", "cp", private, "web:/tmp/private")
	if got := l.OK("alice", "docker", "exec", "web", "sh", "-c", "cat /tmp/private; id -u >> /tmp/private"); got != "secret" {
		t.Errorf("the copy of her file holds %q", got)
	}
	for _, words := range [][]string{{"exec", "-u", "0", "web", "true"}, {"exec", "--privileged", "web", "true"}, {"run", "--rm", "-u", "0", "-v", source + ":/w", "busybox", "true"}} {
		if r := l.Docker("alice", words...); r.Code == 0 || !strings.Contains(r.Err, "ds01:") {
			t.Errorf("%v: exit code %d: %s", words, r.Code, r.Err)
		}
	}
	for _, at := range mounted(t, l) {
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err != nil || st.Flags&(unix.ST_NOSUID|unix.ST_NODEV) != unix.ST_NOSUID|unix.ST_NODEV {
			t.Errorf("the mount of ours has flags %x: %v", st.Flags, err)
		}
	}
	// On the host nothing runs as root, nor as somebody of the engine's range.
	if got := l.OK("root", "stat", "-c", "%u", "/proc/"+l.PIDOf("alice", "web")); got != uid {
		t.Errorf("it is %s on the host", got)
	}
	l.OK("alice", "docker", "restart", "-t", "0", "web")
	l.OK("alice", "docker", "exec", "web", "touch", "/w/again")
	l.OK("alice", "sh", "-c", "rm -rf "+source+"/*")
}

func rootMakesNothing(t *testing.T, l *lab.Lab, source string) {
	for _, words := range [][]string{
		{"-w", "/w/new"}, {"--tmpfs", "/w/new"}, {"-v", l.Home("alice") + "/behind:/w/new"}, {"-v", source + ":/etc"}, {"--group-add", "0"},
	} {
		r := l.Docker("alice", append(append([]string{"run", "--rm", "-v", source + ":/w"}, words...), "busybox", "true")...)
		if r.Code != 125 || !strings.Contains(r.Err, "ds01:") {
			t.Errorf("%v: exit code %d: %s", words, r.Code, r.Err)
		}
	}
	for _, change := range []string{"WORKDIR /w/new", "VOLUME /w/new"} {
		image := "makes" + strings.ToLower(change[:3])
		l.AtEngine("create", "--name", image, "--network", "none", "busybox")
		l.AtEngine("commit", "--change", change, image, image)
		l.AtEngine("rm", image)
		if r := l.Docker("alice", "run", "--rm", "-v", source+":/w", image, "true"); r.Code != 125 || !strings.Contains(r.Err, "as the host's root") {
			t.Errorf("%s: exit code %d: %s", change, r.Code, r.Err)
		}
		l.AtEngine("rmi", image)
	}
	if left, err := os.ReadDir(source); err != nil || len(left) > 0 {
		t.Errorf("left in it: %v, %v", left, err)
	}
}

// anOwnContainerWorks: the home that ds01 makes in a container is its owner's
// also where the engine can't give it to them.
func anOwnContainerWorks(t *testing.T, l *lab.Lab, source string, warned bool) {
	r := l.DS01("alice", "container", "deploy", "own", "--cpu-only", "--background", "--data", source)
	if r.Code != 0 || warned != strings.Contains(r.Err, source+" can't map ids") {
		t.Fatalf("exit code %d: %s", r.Code, r.Err)
	}
	got := l.OK("alice", "docker", "exec", "own", "sh", "-c", "id -un; touch $HOME/x /data/x /workspace/x && echo done")
	if got != l.Login("alice")+"\ndone" {
		t.Errorf("inside: %q", got)
	}
	onlyHers(t, l, source)
	onlyHers(t, l, filepath.Join(l.Home("alice"), "workspace/own"))
	l.OK("alice", "sh", "-c", "rm -rf "+source+"/*")
}

// TestRootMakesNothingInMounts is for engines that don't remap: the engine
// makes mount points and working directories as the host's root.
func TestRootMakesNothingInMounts(t *testing.T) {
	l := start(t, lab.Options{Plain: true})
	work := folder(t, l, "alice", "work")
	for _, words := range [][]string{{"-w", "/w/new"}, {"--tmpfs", "/w/new"}, {"-v", work + ":/w/new"}, {"-v", work + ":/etc"}} {
		l.Docker("alice", append(append([]string{"run", "--rm", "-v", work + ":/w"}, words...), "busybox", "true")...)
		onlyHers(t, l, work)
	}
	l.OK("alice", "mkdir", work+"/new")
	l.OK("alice", "docker", "run", "--rm", "-v", work+":/w", "-w", "/w/new", "--tmpfs", "/w/new", "busybox", "true")
	l.OK("root", "sh", "-c", "echo roots > "+work+"/roots")
	if got := l.OK("alice", "docker", "run", "--rm", "-v", work+":/w", "busybox", "cat", "/w/roots"); got != "roots" {
		t.Errorf("a file of root's that is open to all holds %q", got)
	}
	l.OK("root", "rm", work+"/roots")
}
