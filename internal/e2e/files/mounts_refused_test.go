package files_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

func everythingRunsAsTheOwner(t *testing.T, l *lab.Lab) {
	work, uid := folder(t, l, "alice", "work"), fmt.Sprint(l.UID("alice"))
	for _, user := range []string{"root", "0", "0:0", "1", fmt.Sprint(l.UID("bob"))} {
		r := l.Docker("alice", "run", "--rm", "--user", user, "-v", work+":/w", "busybox", "id", "-u")
		if r.Code != 125 || !strings.Contains(r.Err, "runs as you") {
			t.Errorf("--user %s: exit code %d: %s %s", user, r.Code, r.Out, r.Err)
		}
	}
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", work+":/w", "busybox", "sleep", "1000")
	show := "id -u; grep -E '^(CapEff|CapPrm|CapBnd|NoNewPrivs)' /proc/self/status"
	want := uid + "\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1"
	for _, words := range [][]string{
		{"exec", "web", "sh", "-c", show},
		{"exec", "-u", uid, "web", "sh", "-c", show},
		{"run", "--rm", "-v", work + ":/w", "busybox", "sh", "-c", show},
	} {
		if got := l.OK("alice", append([]string{"docker"}, words...)...); got != want {
			t.Errorf("%v:\n%s\nwant\n%s", words[:2], got, want)
		}
	}
	for _, words := range [][]string{{"-u", "0"}, {"-u", "root"}, {"--privileged"}} {
		r := l.Docker("alice", append(append([]string{"exec"}, words...), "web", "id", "-u")...)
		if r.Code == 0 || !strings.Contains(r.Err, "ds01:") {
			t.Errorf("exec %v: exit code %d: %s %s", words, r.Code, r.Out, r.Err)
		}
	}
	// As an administrator's command it runs as the owner too.
	if got := l.OK("root", "docker", "exec", fmt.Sprintf("web._.%s", uid), "id", "-u"); got != uid {
		t.Errorf("root's command runs as %s", got)
	}
}

func nothingOutsideOnesHomeCanBeMounted(t *testing.T, l *lab.Lab) {
	home := l.Home("alice")
	secret := folder(t, l, "bob", "secret")
	l.OK("bob", "chmod", "755", l.Home("bob"), secret)
	l.OK("alice", "ln", "-sfn", l.Home("bob"), "tobob")
	l.OK("alice", "ln", "-sfn", "/etc", "toetc")
	l.OK("alice", "ln", "-sfn", "/", "toroot")
	folder(t, l, "alice", "real")
	l.OK("alice", "ln", "-sfn", "real", "toreal")
	bobs := filepath.Join(home, "bobs")
	if err := os.Mkdir(bobs, 0o777); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	if err := os.Chown(bobs, l.UID("bob"), -1); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(bobs)
	for name, source := range map[string]string{
		"another's home": l.Home("bob"), "in another's home": secret, "the parent of homes": filepath.Dir(home),
		"the host": "/", "its configuration": "/etc", "a file of it": "/etc/passwd", "root's home": "/root", "the engine's folder": filepath.Join(l.Root, "run/ds01"),
		"a link to another's home": filepath.Join(home, "tobob"), "through a link": filepath.Join(home, "tobob/secret"),
		"a link to /etc": filepath.Join(home, "toetc"), "a file through a link": filepath.Join(home, "toetc/passwd"), "a link to /": filepath.Join(home, "toroot"),
		"a link to one's own": filepath.Join(home, "toreal"), "another's folder in one's home": bobs, "nothing": filepath.Join(home, "nothing"),
		"below a file": filepath.Join(home, ".profile/x"),
		"dots":         home + "/../bob/secret", "process": "/proc/self/root/etc", "a device": "/dev/null",
	} {
		for _, words := range [][]string{{"-v", source + ":/w"}, {"--mount", "type=bind,source=" + source + ",target=/w"}} {
			r := l.Docker("alice", append(append([]string{"run", "--rm"}, words...), "busybox", "ls", "/w")...)
			if r.Code != 125 || !strings.Contains(r.Err, "can't be mounted") {
				t.Errorf("%s (%s): exit code %d: %s %s", name, words[0], r.Code, r.Out, r.Err)
			}
		}
		r := l.DS01("alice", "container", "deploy", "web", "--cpu-only", "--background", "--data", source)
		if r.Code != 5 && r.Code != 2 { // 2: it is no directory
			t.Errorf("deploy --data, %s: exit code %d: %s", name, r.Code, r.Err)
		}
	}
	if got := len(l.Containers()); got != 0 {
		t.Errorf("%d containers came of refused requests", got)
	}
}

// swap puts a link to /etc in a folder's place, and returns how to undo it.
func swap(l *lab.Lab, who, path string) func() {
	l.OK(who, "mv", path, path+".moved")
	l.OK(who, "ln", "-s", "/etc", path)
	return func() {
		l.OK(who, "rm", path)
		l.OK(who, "mv", path+".moved", path)
	}
}

func aLinkThatComesAfterTheCreateIsRefused(t *testing.T, l *lab.Lab) {
	for name, swapped := range map[string]string{"the folder itself": "up/work", "a folder above it": "up"} {
		work := folder(t, l, "alice", "up/work")
		l.OK("alice", "docker", "create", "--name", "web", "--gpus", "1", "-v", work+":/w", "busybox", "ls", "/w")
		undo := swap(l, "alice", filepath.Join(l.Home("alice"), swapped))
		r := l.Docker("alice", "start", "-a", "web")
		if r.Code == 0 || !strings.Contains(r.Err, "a symbolic link") || strings.Contains(r.Out, "passwd") {
			t.Errorf("%s: exit code %d: %s %s", name, r.Code, r.Out, r.Err)
		}
		if left := mounted(t, l); len(left) > 0 {
			t.Errorf("%s: mounted after a refused start: %v", name, left)
		}
		if got := l.OK("alice", "docker", "inspect", "-f", "{{.State.Status}}", "web"); got != "created" {
			t.Errorf("%s: the container is %s", name, got)
		}
		undo()
		l.OK("alice", "docker", "start", "web")
		l.OK("alice", "docker", "wait", "web")
		l.OK("alice", "docker", "rm", "web")
	}
}

func aLinkThatComesBeforeARestartIsRefused(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", work+":/w", "busybox", "sleep", "1000")
	undo := swap(l, "alice", work)
	// What runs keeps what was opened.
	lab.Lacks(t, l.OK("alice", "docker", "exec", "web", "ls", "/w"), "passwd")
	r := l.Docker("alice", "restart", "-t", "0", "web")
	if r.Code == 0 || !strings.Contains(r.Err, "a symbolic link") {
		t.Errorf("restart: exit code %d: %s", r.Code, r.Err)
	}
	if got := l.OK("alice", "docker", "inspect", "-f", "{{.State.Status}}", "web"); got != "exited" {
		t.Errorf("the container is %s after a refused restart", got)
	}
	if left := mounted(t, l); len(left) > 0 {
		t.Errorf("mounted after a refused restart: %v", left)
	}
	undo()
	l.OK("alice", "docker", "restart", "-t", "0", "web")
	l.OK("alice", "docker", "exec", "web", "touch", "/w/again")
	onlyHers(t, l, work)
}

// devicesOfAMountDoNothing has root on the host leave things in alice's home
// that would be powerful if mounts were plain ones.
func devicesOfAMountDoNothing(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "odd")
	defer l.OK("root", "rm", "-rf", work)
	null := filepath.Join(work, "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	l.OK("root", "chmod", "666", null)
	r := l.Docker("alice", "run", "--rm", "-v", work+":/w", "busybox", "sh", "-c", "grep ' /w ' /proc/self/mountinfo; echo x > /w/null")
	if r.Code == 0 || !strings.Contains(r.Err, "Permission denied") {
		t.Errorf("a device opens: exit code %d: %s", r.Code, r.Err)
	}
	lab.Contains(t, r.Out, "nosuid", "nodev")
}
