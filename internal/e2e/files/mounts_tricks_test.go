package files_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestNothingIsWonByAMount is what somebody may try to reach what isn't theirs
// through a mount, with the effects looked for on the host.
func TestNothingIsWonByAMount(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain, Limits: "defaults: {max_containers_per_user: null}\n"})
			for name, story := range map[string]func(*testing.T, *lab.Lab){
				"by a directory that becomes a link and back": aDirectoryThatBecomesALink,
				"by a file that becomes a link and back":      aFileThatBecomesALink,
				"by a file that is a link at the start":       aFileThatIsALinkAtTheStart,
				"by paths of processes":                       pathsOfProcesses,
				"by what is no file":                          whatIsNoFile,
				"by hard links":                               hardLinks,
				"by another file system":                      anotherFileSystem,
				"by the user of an image":                     theUserOfAnImage,
				"by a set-uid program that stays":             aSetUIDProgramThatStays,
			} {
				t.Run(name, func(t *testing.T) { alone(t, l, func(t *testing.T, l *lab.Lab) { story(t, l) }) })
			}
		})
	}
}

// flips exchanges two paths, again and again, until the result is called. It
// returns how often. The swaps are whole: each path is always one or the other.
func flips(t *testing.T, a, b string) (stop func() int) {
	t.Helper()
	done, flipped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-done:
				flipped <- n
				return
			default:
				if unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE) == nil {
					n++
				}
			}
		}
	}()
	return func() int { close(done); return <-flipped }
}

// race runs containers with a mount of source while it is flipped with a link,
// and counts what they say. What is behind the link must never be seen.
func race(t *testing.T, l *lab.Lab, source, link, script string) {
	t.Helper()
	stop := flips(t, source, link)
	said := map[string]int{}
	for range 40 {
		r := l.Docker("alice", "run", "--rm", "-v", source+":/w", "busybox", "sh", "-c", script)
		switch {
		case r.Code == 0:
			said[r.Out]++
		case strings.Contains(r.Err, "a symbolic link"), strings.Contains(r.Err, "doesn't exist"):
			said["refused"]++
		default:
			t.Errorf("exit code %d: %s", r.Code, r.Err)
		}
	}
	n := stop()
	t.Logf("flipped %d times: %v", n, said)
	if said["hers"]+said["refused"] != 40 || n < 1000 {
		t.Errorf("flipped %d times, said %v", n, said)
	}
}

func aDirectoryThatBecomesALink(t *testing.T, l *lab.Lab) {
	up := folder(t, l, "alice", "race/up/dir")
	secret := folder(t, l, "bob", "secret")
	l.OK("bob", "sh", "-c", "chmod 711 . && chmod 777 secret && echo bobs > secret/who && mkdir -p -m 777 secret/dir && echo bobs > secret/dir/who")
	l.OK("alice", "sh", "-c", "echo hers > race/up/dir/who; echo hers > race/up/who")
	l.OK("alice", "ln", "-sfn", secret, "race/link")
	script := "cat /w/who; touch /w/mark"
	race(t, l, filepath.Join(l.Home("alice"), "race/up"), filepath.Join(l.Home("alice"), "race/link"), script)
	// The link in the middle of the path.
	stop := flips(t, filepath.Join(l.Home("alice"), "race/up"), filepath.Join(l.Home("alice"), "race/link"))
	for range 20 {
		r := l.Docker("alice", "run", "--rm", "-v", up+":/w", "busybox", "sh", "-c", script)
		if r.Code == 0 && r.Out != "hers" {
			t.Errorf("read %q", r.Out)
		}
	}
	stop()
	for _, at := range []string{"mark", "dir/mark"} {
		if _, err := os.Lstat(filepath.Join(secret, at)); err == nil {
			t.Errorf("%s was written in bob's folder", at)
		}
	}
	l.OK("root", "rm", "-rf", filepath.Join(l.Home("alice"), "race"))
}

func aFileThatBecomesALink(t *testing.T, l *lab.Lab) {
	dir := folder(t, l, "alice", "files")
	theirs := filepath.Join(filepath.Dir(l.Root), "theirs")
	l.OK("root", "sh", "-ec", "echo theirs > "+theirs+"; chmod 666 "+theirs)
	l.OK("alice", "sh", "-c", "echo hers > files/f; ln -sfn "+theirs+" files/link")
	race(t, l, dir+"/f", dir+"/link", "cat /w; echo hers > /w")
	if got := l.OK("root", "cat", theirs); got != "theirs" {
		t.Errorf("behind the link: %q", got)
	}
	l.OK("root", "rm", "-rf", dir)
}

func aFileThatIsALinkAtTheStart(t *testing.T, l *lab.Lab) {
	dir := folder(t, l, "alice", "files")
	l.OK("alice", "sh", "-c", "echo hers > files/f")
	l.OK("alice", "docker", "create", "--name", "web", "-v", dir+"/f:/f", "busybox", "cat", "/f")
	l.OK("alice", "sh", "-c", "rm files/f; ln -s /etc/passwd files/f")
	if r := l.Docker("alice", "start", "-a", "web"); r.Code == 0 || !strings.Contains(r.Err, "a symbolic link") || strings.Contains(r.Out, "root:") {
		t.Errorf("a link: exit code %d: %s %s", r.Code, r.Out, r.Err)
	}
	l.OK("alice", "sh", "-c", "rm files/f; mkfifo files/f")
	if r := l.Docker("alice", "start", "-a", "web"); r.Code == 0 || !strings.Contains(r.Err, "neither a directory nor a regular file") {
		t.Errorf("a pipe: exit code %d: %s", r.Code, r.Err)
	}
	l.OK("alice", "sh", "-c", "rm files/f; echo hers > files/f")
	if got := l.OK("alice", "docker", "start", "-a", "web"); got != "hers" {
		t.Errorf("the file again: %q", got)
	}
	l.OK("root", "rm", "-rf", dir)
}

func pathsOfProcesses(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	holder := l.Command("alice", "sleep", "100")
	holder.Dir = work
	held, err := os.Open(work)
	lab.Must(t, err)
	defer held.Close()
	holder.ExtraFiles = []*os.File{held}
	lab.Must(t, holder.Start())
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	proc := fmt.Sprintf("/proc/%d", holder.Process.Pid)
	for _, source := range []string{
		proc + "/cwd", proc + "/fd/3", proc + "/root" + work, proc + "/root", "/proc/self/root" + work, "/proc/self/cwd", "/proc/1/root", "/dev/fd/3",
		work + "/../../../../../etc", work + "/../../bob", "/proc/self/root/../" + work + "/../../..",
	} {
		if r := l.Docker("alice", "run", "--rm", "-v", source+":/w", "busybox", "ls", "/w"); r.Code != 125 || !strings.Contains(r.Err, "can't be mounted") {
			t.Errorf("%s: exit code %d: %s %s", source, r.Code, r.Out, r.Err)
		}
	}
	l.OK("alice", "ln", "-sfn", proc+"/cwd", "work/magic")
	if r := l.Docker("alice", "run", "--rm", "-v", work+"/magic:/w", "busybox", "ls", "/w"); r.Code != 125 {
		t.Errorf("a link to a process's folder: %s %s", r.Out, r.Err)
	}
	l.OK("alice", "docker", "run", "--rm", "-v", work+"/../work/.:/w", "busybox", "touch", "/w/dots") // dots that stay inside are fine
	onlyHers(t, l, work)
}

// whatIsNoFile: opening a pipe waits for its other end, a socket is a way to
// a program, a device to a driver.
func whatIsNoFile(t *testing.T, l *lab.Lab) {
	dir := folder(t, l, "alice", "odd")
	defer l.OK("root", "rm", "-rf", dir)
	l.OK("alice", "mkfifo", "odd/pipe")
	listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
	lab.Must(t, err)
	defer listener.Close()
	lab.Must(t, unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	lab.Must(t, unix.Mknod(filepath.Join(dir, "disk"), unix.S_IFBLK|0o666, int(unix.Mkdev(7, 0))))
	l.OK("root", "chown", "-R", l.Login("alice"), dir)
	for _, name := range []string{"pipe", "socket", "null", "disk"} {
		r := l.Docker("alice", "run", "--rm", "-v", filepath.Join(dir, name)+":/w", "busybox", "true")
		if r.Code != 125 || !strings.Contains(r.Err, "neither a directory nor a regular file") {
			t.Errorf("%s: exit code %d: %s", name, r.Code, r.Err)
		}
	}
	r := l.Docker("alice", "run", "--rm", "-v", dir+":/w", "busybox", "sh", "-c", "cat /w/null && echo opened; cat /w/disk && echo opened; exit 0")
	if r.Code != 0 || strings.Contains(r.Out, "opened") {
		t.Errorf("devices in a mount: %s %s", r.Out, r.Err)
	}
}

// hardLinks has root on the host make what the kernel may keep alice from
// making (fs.protected_hardlinks).
func hardLinks(t *testing.T, l *lab.Lab) {
	dir := folder(t, l, "alice", "links")
	defer l.OK("root", "rm", "-rf", dir)
	l.OK("root", "sh", "-ec", fmt.Sprintf("cd %s; echo bobs > bobs; chown %s bobs; chmod 600 bobs; cp -a bobs shown; chmod 644 shown; ln bobs also; ln shown seen", dir, l.Login("bob")))
	for _, name := range []string{"bobs", "also", "shown", "seen"} {
		if r := l.Docker("alice", "run", "--rm", "-v", filepath.Join(dir, name)+":/w", "busybox", "cat", "/w"); r.Code != 125 || !strings.Contains(r.Err, "it isn't yours") {
			t.Errorf("%s: exit code %d: %s %s", name, r.Code, r.Out, r.Err)
		}
	}
	r := l.Docker("alice", "run", "--rm", "-v", dir+":/w", "busybox", "sh", "-c", "cat /w/also; cat /w/seen; echo x >> /w/also; echo x >> /w/seen; chmod 666 /w/also; chown 0 /w/seen; exit 0")
	if r.Out != "bobs" { // the one that is open to all
		t.Errorf("read %q", r.Out)
	}
	if got := l.OK("root", "sh", "-c", "cat "+dir+"/bobs "+dir+"/shown; stat -c '%a %U' "+dir+"/bobs"); got != "bobs\nbobs\n600 "+l.Login("bob") {
		t.Errorf("on the host: %q", got)
	}
}

// anotherFileSystem has two in alice's home, on which not even nosuid and
// nodev hold by themselves.
func anotherFileSystem(t *testing.T, l *lab.Lab) {
	tmp := folder(t, l, "alice", "tmp")
	lab.Must(t, unix.Mount("ds01t", tmp, "tmpfs", 0, "mode=0755"))
	defer func() { lab.Must(t, unix.Unmount(tmp, unix.MNT_DETACH)) }()
	merged := folder(t, l, "alice", "merged")
	l.OK("root", "mkdir", "-p", tmp+"/lower", tmp+"/upper", tmp+"/work")
	l.OK("root", "chown", "-R", l.Login("alice"), tmp)
	lab.Must(t, unix.Mount("ds01t", merged, "overlay", 0, fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", tmp)))
	defer func() { lab.Must(t, unix.Unmount(merged, unix.MNT_DETACH)) }()
	for _, source := range []string{tmp, merged} {
		l.OK("root", "sh", "-ec", "cd "+source+"; mknod -m 666 null c 1 3; cp /bin/busybox suid; chmod 4755 suid")
		r := l.Docker("alice", "run", "--rm", "-v", source+":/w", "busybox", "sh", "-c", "grep ' /w ' /proc/self/mounts; echo x > /w/hers; cat /w/null && echo opened; /w/suid sh -c 'grep ^CapEff /proc/self/status; id -u'; exit 0")
		lab.Contains(t, r.Out, "nosuid", "nodev")
		lab.Lacks(t, r.Out, "opened")
		if got := l.OK("root", "stat", "-c", "%U", source+"/hers"); got != l.Login("alice") {
			t.Errorf("%s: her file is %s's", source, got)
		}
		l.OK("root", "rm", source+"/null", source+"/suid", source+"/hers")
	}
}

// theUserOfAnImage: names and numbers that an image brings, which mean
// somebody else on the host.
func theUserOfAnImage(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	files := t.TempDir()
	lab.Must(t, os.WriteFile(filepath.Join(files, "passwd"), []byte("root:x:0:0::/:/bin/sh\neve:x:4711:4712::/:/bin/sh\n"), 0o644))
	lab.Must(t, os.WriteFile(filepath.Join(files, "group"), []byte("root:x:0:\nwheel:x:10:\n"), 0o644))
	const made = "made"
	l.AtEngine("create", "--name", made, "--network", "none", "busybox", "sh")
	defer l.AtEngine("rm", made)
	for _, name := range []string{"passwd", "group"} {
		l.AtEngine("cp", filepath.Join(files, name), made+":/etc/"+name)
	}
	for _, user := range []string{"root", fmt.Sprint(l.UID("bob")), fmt.Sprintf("%d:0", l.UID("bob")), "eve", "eve:wheel", "4242:wheel", "4242"} {
		image := l.AtEngine("commit", "--change", "USER "+user, made, "users:latest")
		r := l.Docker("alice", "run", "--rm", "-v", work+":/w", "users", "sh", "-c", "echo x > /w/by; mkdir /w/dir; chmod 4777 /w/by")
		if r.Code != 0 {
			t.Errorf("USER %s: exit code %d: %s", user, r.Code, r.Err)
		}
		onlyHers(t, l, work)
		l.OK("alice", "sh", "-c", "rm -r work/*")
		l.AtEngine("rmi", image)
	}
}

// aSetUIDProgramThatStays is hers on the host too: nobody becomes anybody
// else by it that she couldn't let them become without a container.
func aSetUIDProgramThatStays(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "docker", "run", "--rm", "-v", work+":/w", "busybox", "sh", "-c", "cp /bin/busybox /w/id; chmod 6755 /w/id; chown 0:0 /w/id; exit 0")
	l.OK("alice", "chmod", "755", ".", "work")
	onlyHers(t, l, work)
	out, err := exec.Command("setpriv", "--reuid", fmt.Sprint(l.UID("bob")), "--clear-groups", filepath.Join(work, "id"), "-u").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != fmt.Sprint(l.UID("alice")) && got != fmt.Sprint(l.UID("bob")) {
		t.Errorf("who runs it becomes %s, %v", got, err)
	}
	// In a container it is nobody's way to root.
	got := l.OK("alice", "docker", "run", "--rm", "-v", work+":/w", "busybox", "sh", "-c", "/w/id -u")
	if !strings.HasPrefix(got, "0") && got != fmt.Sprint(l.UID("alice")) {
		t.Errorf("in a container: %s", got)
	}
	l.OK("alice", "sh", "-c", "rm -rf work/*")
}
