package files_test

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
	for mode, plain := range lab.Modes() {
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
		"files can't be copied past the mounts":              filesCantBeCopiedPastTheMounts,
	}
}

// alone runs a story and sees that no container, mount or foreign file is left.
func alone(t *testing.T, l *lab.Lab, story func(*testing.T, *lab.Lab)) {
	t.Helper()
	defer func() {
		l.ClearAll()
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

// onlyHers checks that everything below path is alice's, and that none
// of it is a device.
func onlyHers(t *testing.T, l *lab.Lab, path string) {
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
		if int(st.Uid) != l.UID("alice") || kind == syscall.S_IFCHR || kind == syscall.S_IFBLK {
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
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		l.OK("alice", docker, "run", "--rm", "-v", work+":/w", "busybox", "sh", "-c", wild)
		onlyHers(t, l, work)
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
	onlyHers(t, l, work)
	if r := l.Docker("alice", "exec", "-u", "1234", "web", "sh", "-c", "echo x > /w/other"); r.Code == 0 {
		t.Error("another user of the container writes as alice")
	}
	pid := l.PIDOf("alice", "web")
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
	onlyHers(t, l, work)
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
	// What the engine gets is read-only by itself already.
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", work+":/w:ro", "busybox", "sleep", "1000")
	for _, at := range mounted(t, l) {
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err != nil || st.Flags&unix.ST_RDONLY == 0 {
			t.Errorf("the mount of ours can be written to: %v", err)
		}
	}
}

func filesCanBeMounted(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "sh", "-c", "echo before > "+work+"/file")
	got := l.OK("alice", "docker", "run", "--rm", "-v", work+"/file:/f", "busybox", "sh", "-c", "cat /f; echo after > /f")
	if got != "before" || l.OK("alice", "cat", work+"/file") != "after" {
		t.Errorf("read %q, then it holds %q", got, l.OK("alice", "cat", work+"/file"))
	}
	onlyHers(t, l, work)
}

func mountsGoWithTheRun(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "work")
	gone := func(after string) {
		t.Helper()
		l.Eventually("nothing is mounted after "+after, 30*time.Second, func() bool { return len(mounted(t, l)) == 0 })
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
	lab.Contains(t, r.Out, workspace)
	got := l.OK("alice", "docker", "exec", "web", "sh", "-c", "echo text > /workspace/file; pwd; id -un; id -u; echo $HOME; touch $HOME/x && echo writable")
	login := l.Login("alice")
	if want := fmt.Sprintf("/workspace\n%s\n%d\n/home/%s\nwritable", login, l.UID("alice"), login); got != want {
		t.Errorf("inside:\n%s\nwant\n%s", got, want)
	}
	onlyHers(t, l, workspace)
	if got := l.OK("alice", "cat", filepath.Join(workspace, "file")); got != "text" {
		t.Errorf("the file holds %q", got)
	}
}
