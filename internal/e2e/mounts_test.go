package e2e_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestMounts is what people's directories may do in containers and containers
// to people's directories, on either kind of engine.
func TestMounts(t *testing.T) {
	for mode, plain := range modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain})
			own := map[string]func(*testing.T, *lab.Lab){
				"root in a container is its owner": rootInAContainerIsItsOwner,
				"any user is the owner":            anyUserIsTheOwner,
			}
			if plain {
				own = map[string]func(*testing.T, *lab.Lab){"everything runs as the owner": everythingRunsAsTheOwner}
			}
			for name, story := range own {
				t.Run(name, func(t *testing.T) { alone(t, l, story) })
			}
			for name, story := range mountStories() {
				t.Run(name, func(t *testing.T) { alone(t, l, story) })
			}
		})
	}
}

// mountStories hold on either kind of engine.
func mountStories() map[string]func(*testing.T, *lab.Lab) {
	return map[string]func(*testing.T, *lab.Lab){
		"what a container writes is its owner's":             whatAContainerWritesIsItsOwners,
		"nothing outside one's home can be mounted":          nothingOutsideOnesHomeCanBeMounted,
		"a link that comes after the create is refused":      aLinkThatComesAfterTheCreateIsRefused,
		"a link that comes before a restart is refused":      aLinkThatComesBeforeARestartIsRefused,
		"group folders work, and others' files stay closed":  groupFoldersWork,
		"read-only is read-only":                             readOnlyIsReadOnly,
		"files can be mounted":                               filesCanBeMounted,
		"devices and set-uid programs of a mount do nothing": devicesOfAMountDoNothing,
		"mounts go with their container's run":               mountsGoWithTheRun,
		"deploy mounts a workspace":                          deployMountsAWorkspace,
		"files can't be copied past the mounts":              filesCantBeCopied,
	}
}

// alone runs a story and sees that no container, mount or foreign file is left.
func alone(t *testing.T, l *lab.Lab, story func(*testing.T, *lab.Lab)) {
	t.Helper()
	defer func() {
		clearAll(l)
		if left := mounted(t, l); len(left) > 0 {
			t.Errorf("still mounted: %v", left)
		}
		if left, err := os.ReadDir(filepath.Join(l.Root, "run/ds01/mnt")); err == nil && len(left) > 0 {
			t.Errorf("mount points are left: %v", left)
		}
	}()
	story(t, l)
}

// mounted returns what is mounted for containers.
func mounted(t *testing.T, l *lab.Lab) []string {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); strings.HasPrefix(f[4], filepath.Join(l.Root, "run/ds01/mnt")) {
			all = append(all, f[4])
		}
	}
	return all
}

// folder makes a directory of a person's in their home and returns its path.
func folder(t *testing.T, l *lab.Lab, who, name string) string {
	t.Helper()
	path := filepath.Join(l.Home(who), name)
	l.OK(who, "mkdir", "-p", path)
	return path
}

// onlyHers checks that everything below path is the person's, and that none
// of it is a device.
func onlyHers(t *testing.T, l *lab.Lab, who, path string) {
	t.Helper()
	err := filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(name, &st); err != nil {
			return err
		}
		kind := st.Mode & syscall.S_IFMT
		if int(st.Uid) != l.UID(who) || kind == syscall.S_IFCHR || kind == syscall.S_IFBLK {
			t.Errorf("%s: uid %d, mode %o", name, st.Uid, st.Mode)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// wild is what root in a container may try on a directory of its owner's.
const wild = `echo text > /w/file; mkdir /w/dir; echo more > /w/dir/file
cp /bin/busybox /w/su; chmod 4755 /w/su; chown 0:0 /w/su 2>/dev/null
mknod /w/node c 120 1 2>/dev/null; mknod /w/disk b 8 0 2>/dev/null; mknod /w/pipe p
chown 12345 /w/file 2>/dev/null; ln -s /etc/shadow /w/link; ls /w`

func whatAContainerWritesIsItsOwners(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	eachClient(t, l, func(t *testing.T, docker string) {
		l.OK("alice", docker, "run", "--rm", "-v", work+":/w", "busybox", "sh", "-c", wild)
		onlyHers(t, l, "alice", work)
		if got := l.OK("alice", "cat", filepath.Join(work, "dir/file")); got != "more" {
			t.Errorf("the file holds %q", got)
		}
		for _, node := range []string{"node", "disk"} {
			if _, err := os.Lstat(filepath.Join(work, node)); err == nil {
				t.Errorf("%s was made", node)
			}
		}
		l.OK("alice", "sh", "-c", "rm -rf "+work+"/*")
	})
}

func rootInAContainerIsItsOwner(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", work+":/w", "busybox", "sleep", "1000")
	if got := l.OK("alice", "docker", "exec", "-u", "0", "web", "sh", "-c", "id -u; echo x > /w/asroot; stat -c %u /w/asroot"); got != "0\n0" {
		t.Errorf("root inside is %q, want 0 and its file 0's", got)
	}
	onlyHers(t, l, "alice", work)
	if r := l.Docker("alice", "exec", "-u", "1234", "web", "sh", "-c", "echo x > /w/other"); r.Code == 0 {
		t.Error("another user of the container writes as alice")
	}
	pid := pidOf(l, "alice", "web")
	if got := l.OK("root", "stat", "-c", "%u", "/proc/"+pid); got == "0" || got == fmt.Sprint(l.UID("alice")) {
		t.Errorf("root inside is %s on the host", got)
	}
	if r := l.Docker("alice", "exec", "--privileged", "web", "true"); r.Code == 0 {
		t.Error("a privileged command runs")
	}
}

func anyUserIsTheOwner(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	for _, user := range []string{"0", "1000", "1000:1000", "4242:77"} {
		got := l.OK("alice", "docker", "run", "--rm", "-u", user, "-v", work+":/w", "busybox", "sh", "-c", "echo x > /w/f-$(id -u); stat -c %u /w/f-$(id -u)")
		if want, _, _ := strings.Cut(user, ":"); got != want {
			t.Errorf("user %s sees its file as %s's", user, got)
		}
	}
	onlyHers(t, l, "alice", work)
}

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
		{"exec", "web", "sh", "-c", show}, {"exec", "-u", uid, "web", "sh", "-c", show},
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
		"dots": home + "/../bob/secret", "process": "/proc/self/root/etc", "a device": "/dev/null",
	} {
		for _, words := range [][]string{{"-v", source + ":/w"}, {"--mount", "type=bind,source=" + source + ",target=/w"}} {
			r := l.Docker("alice", append(append([]string{"run", "--rm"}, words...), "busybox", "ls", "/w")...)
			if r.Code != 125 || !strings.Contains(r.Err, "can't be mounted") {
				t.Errorf("%s (%s): exit code %d: %s %s", name, words[0], r.Code, r.Out, r.Err)
			}
		}
		r := l.DS01("alice", "container", "deploy", "web", "--cpu-only", "--background", "--data", source)
		if name != "nothing" && r.Code != 5 || r.Code == 0 {
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
		if r.Code == 0 || !strings.Contains(r.Err, "can't be mounted") || strings.Contains(r.Out, "passwd") {
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
	lacks(t, l.OK("alice", "docker", "exec", "web", "ls", "/w"), "passwd")
	r := l.Docker("alice", "restart", "-t", "0", "web")
	if r.Code == 0 || !strings.Contains(r.Err, "can't be mounted") {
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
	onlyHers(t, l, "alice", work)
}

// groupFoldersWork has a folder of bob's inside one of alice's, open to a
// group that both are in, and a file of bob's in it that isn't.
func groupFoldersWork(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "shared")
	defer l.OK("root", "rm", "-rf", work)
	team := filepath.Join(work, "team")
	group := strings.Fields(l.OK("alice", "sh", "-c", "id -G | cut -d' ' -f2-"))[0]
	l.OK("root", "sh", "-c", fmt.Sprintf("mkdir %s && chown %d:%s %s && chmod 2770 %s", team, l.UID("bob"), group, team, team))
	l.OK("root", "sh", "-c", fmt.Sprintf("cd %s && echo secret > closed && echo open > open && chown %d:%s closed open && chmod 600 closed && chmod 640 open", team, l.UID("bob"), group))
	script := "echo x > /w/team/new; cat /w/team/open; cat /w/team/closed; echo more >> /w/team/open; rm -f /w/team/closed.no"
	r := l.Docker("alice", "run", "--rm", "-v", work+":/w", "busybox", "sh", "-c", script)
	if r.Out != "open" {
		t.Errorf("read %q, want only what is open to the group: %s", r.Out, r.Err)
	}
	if got := l.OK("root", "stat", "-c", "%u:%g", filepath.Join(team, "new")); got != fmt.Sprintf("%d:%s", l.UID("alice"), group) {
		t.Errorf("the new file is %s's, want alice's and the group's", got)
	}
	if got := l.OK("root", "cat", filepath.Join(team, "open")); got != "open" {
		t.Errorf("a file that the group may only read holds %q", got)
	}
}

func readOnlyIsReadOnly(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "sh", "-c", "echo text > "+work+"/file")
	for _, words := range [][]string{{"-v", work + ":/w:ro"}, {"--mount", "type=bind,source=" + work + ",target=/w,readonly"}} {
		r := l.Docker("alice", append(append([]string{"run", "--rm"}, words...), "busybox", "sh", "-c", "cat /w/file; mount -o remount,rw /w; echo x > /w/new")...)
		if r.Code == 0 || r.Out != "text" || !strings.Contains(r.Err, "Read-only file system") {
			t.Errorf("%v: exit code %d: %s %s", words, r.Code, r.Out, r.Err)
		}
	}
	if _, err := os.Lstat(filepath.Join(work, "new")); err == nil {
		t.Error("it was written")
	}
}

func filesCanBeMounted(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "sh", "-c", "echo before > "+work+"/file")
	got := l.OK("alice", "docker", "run", "--rm", "-v", work+"/file:/f", "busybox", "sh", "-c", "cat /f; echo after > /f")
	if got != "before" || l.OK("alice", "cat", work+"/file") != "after" {
		t.Errorf("read %q, then it holds %q", got, l.OK("alice", "cat", work+"/file"))
	}
	onlyHers(t, l, "alice", work)
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
	contains(t, r.Out, "nosuid", "nodev")
}

func mountsGoWithTheRun(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	gone := func(after string) {
		t.Helper()
		l.Eventually("nothing is mounted after "+after, 5*time.Second, func() bool { return len(mounted(t, l)) == 0 })
	}
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", work+":/w", "-v", work+":/again", "busybox", "sleep", "1000")
	if got := mounted(t, l); len(got) != 2 {
		t.Errorf("mounted while it runs: %v, want two", got)
	}
	if r := l.Run("alice", "ls", filepath.Join(l.Root, "run/ds01/mnt")); r.Code == 0 {
		t.Error("people can look into the folder of mounts")
	}
	got := l.OK("alice", "docker", "inspect", "-f", "{{range .Mounts}}{{.Source}} {{end}}{{range .HostConfig.Mounts}}{{.Source}} {{end}}", "web")
	if got != strings.TrimSpace(strings.Repeat(work+" ", 4)) {
		t.Errorf("inspect shows %s, want her own path four times", got)
	}
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	gone("stop")
	l.OK("alice", "docker", "start", "web")
	l.OK("alice", "docker", "exec", "web", "touch", "/w/again")
	l.OK("alice", "docker", "kill", "web")
	gone("kill")
	l.OK("alice", "docker", "start", "web")
	l.OK("alice", "docker", "rm", "-f", "web")
	gone("rm -f")
	l.OK("alice", "docker", "run", "--rm", "-v", work+":/w", "busybox", "true")
	gone("run --rm")
	if r := l.Docker("alice", "run", "--rm", "-v", work+":/w", "busybox", "no-such-program"); r.Code == 0 {
		t.Error("a program that doesn't exist runs")
	}
	gone("a run that failed")
}

func deployMountsAWorkspace(t *testing.T, l *lab.Lab) {
	r := l.DS01("alice", "container", "deploy", "web", "--cpu-only", "--background")
	if r.Code != 0 {
		t.Fatal(r.Err)
	}
	workspace := filepath.Join(l.Home("alice"), "workspace/web")
	contains(t, r.Out, workspace)
	got := l.OK("alice", "docker", "exec", "web", "sh", "-c", "echo text > /workspace/file; pwd; id -un; id -u; echo $HOME; touch $HOME/x && echo writable")
	login := l.Login("alice")
	if want := fmt.Sprintf("/workspace\n%s\n%d\n/home/%s\nwritable", login, l.UID("alice"), login); got != want {
		t.Errorf("inside:\n%s\nwant\n%s", got, want)
	}
	onlyHers(t, l, "alice", workspace)
	if got := l.OK("alice", "cat", filepath.Join(workspace, "file")); got != "text" {
		t.Errorf("the file holds %q", got)
	}
}

func filesCantBeCopied(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", work+":/w", "busybox", "sleep", "1000")
	l.OK("alice", "sh", "-c", "echo text > own")
	if r := l.Docker("alice", "cp", filepath.Join(l.Home("alice"), "own"), "web:/w/copied"); r.Code == 0 {
		t.Error("docker cp writes into a mount")
	}
	if status, _ := l.Ask("alice", "PUT", "/containers/web/archive?path=/w", "x"); status != 403 {
		t.Errorf("PUT archive: status %d, want 403", status)
	}
	if _, err := os.Lstat(filepath.Join(work, "copied")); err == nil {
		t.Error("the file is there")
	}
}
