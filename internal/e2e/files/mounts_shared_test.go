package files_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/directory/scratchuser"
	"ds01.dev/ds01/internal/e2e/lab"
)

// shared is a host's folders beyond homes: a space of a group that alice and
// bob are in, data sets, and a scratch folder of each person's.
type shared struct {
	l                   *lab.Lab
	dir                 string
	team, sets, scratch string
	group               string // its name
	gid                 int
}

// share makes the folders and limits that name them.
func share(t *testing.T, l *lab.Lab) *shared {
	t.Helper()
	dir := filepath.Join(filepath.Dir(l.Root), "srv")
	s := &shared{
		l: l, dir: dir, team: filepath.Join(dir, "team"), sets: filepath.Join(dir, "sets"), scratch: filepath.Join(dir, "scratch"),
		group: l.Login("alice") + "t",
	}
	lab.Must(t, scratchuser.AddGroup(context.Background(), s.group))
	t.Cleanup(func() { lab.Must(t, scratchuser.RemoveGroup(context.Background(), s.group)) })
	s.join(t, "alice")
	s.join(t, "bob")
	s.gid = gidOf(l, s.group)
	l.OK("root", "sh", "-ec", fmt.Sprintf(`mkdir -p %[1]s/imagenet %[2]s %[3]s/%[4]s; chmod 755 %[3]s %[1]s
		echo pixels > %[1]s/imagenet/data; chmod -R a+rX %[1]s; chown %[4]s %[3]s/%[4]s
		chgrp %[5]s %[2]s; chmod 2770 %[2]s
		echo open > %[2]s/bobs; echo secret > %[2]s/closed; chown %[6]s:%[5]s %[2]s/bobs %[2]s/closed; chmod 640 %[2]s/bobs; chmod 600 %[2]s/closed`,
		s.sets, s.team, s.scratch, l.Login("alice"), s.group, l.Login("bob")))
	s.limit(t, fmt.Sprintf("[~, %s, {path: %s, mode: ro}, %s/$USER]", s.team, s.sets, s.scratch))
	return s
}

// limit puts another list of roots in force.
func (s *shared) limit(t *testing.T, mounts string) {
	t.Helper()
	s.l.Write("etc/ds01/resource-limits.yaml", "defaults: {max_containers_per_user: null, mounts: "+mounts+"}\n")
	s.l.Reload()
}

func groupsOf(l *lab.Lab, who string) []string {
	names := strings.Fields(l.OK("root", "id", "-Gn", l.Login(who)))
	return slices.DeleteFunc(names, func(n string) bool { return n == l.Login(who) })
}

func (s *shared) join(t *testing.T, who string) {
	t.Helper()
	lab.Must(t, scratchuser.SetGroups(context.Background(), s.l.Login(who), append(groupsOf(s.l, who), s.group)...))
}

func (s *shared) leave(t *testing.T, who string) {
	t.Helper()
	rest := slices.DeleteFunc(groupsOf(s.l, who), func(n string) bool { return n == s.group })
	lab.Must(t, scratchuser.SetGroups(context.Background(), s.l.Login(who), rest...))
}

func gidOf(l *lab.Lab, group string) int {
	var gid int
	_, _ = fmt.Sscan(strings.Split(l.OK("root", "getent", "group", group), ":")[2], &gid)
	return gid
}

// ids returns "uid:gid" of a path on the host.
func ids(l *lab.Lab, path string) string { return l.OK("root", "stat", "-c", "%u:%g", path) }

func TestSharedFolders(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain})
			s := share(t, l)
			for name, story := range map[string]func(*testing.T, *shared){
				"a group space is its members'":                     aGroupSpaceIsItsMembers,
				"a data set is read-only whatever is asked":         aDataSetIsReadOnly,
				"who leaves a group is out at the next start":       whoLeavesAGroupIsOut,
				"a root that is taken away is gone at the start":    aRootThatIsTakenAway,
				"one's own folder by name, and nobody else's":       onesOwnFolderByName,
				"what is mounted below is refused or left out":      whatIsMountedBelow,
				"deploy mounts data sets, and limits show the list": deployMountsDataSets,
			} {
				t.Run(name, func(t *testing.T) { alone(t, l, func(t *testing.T, _ *lab.Lab) { story(t, s) }) })
			}
		})
	}
}

func aGroupSpaceIsItsMembers(t *testing.T, s *shared) {
	l := s.l
	r := l.Docker("alice", "run", "--rm", "-v", s.team+":/team:rw", "busybox", "sh", "-c",
		"cat /team/bobs; cat /team/closed; echo x >> /team/bobs; echo hers > /team/new; mkdir /team/dir; cp /bin/busybox /team/su; chmod 4755 /team/su; mknod /team/node c 1 3; chown 0:0 /team/bobs")
	if r.Out != "open" {
		t.Errorf("read %q: %s", r.Out, r.Err)
	}
	for _, name := range []string{"new", "dir", "su"} {
		if got, want := ids(l, filepath.Join(s.team, name)), fmt.Sprintf("%d:%d", l.UID("alice"), s.gid); got != want {
			t.Errorf("%s is %s's, want alice's and the group's, %s", name, got, want)
		}
	}
	if got := ids(l, filepath.Join(s.team, "bobs")); got != fmt.Sprintf("%d:%d", l.UID("bob"), s.gid) {
		t.Errorf("bob's file is %s's", got)
	}
	if _, err := os.Lstat(filepath.Join(s.team, "node")); err == nil {
		t.Error("a device was made")
	}
	if got := l.OK("root", "cat", filepath.Join(s.team, "bobs")); got != "open" {
		t.Errorf("bob's file holds %q", got)
	}
	l.OK("bob", "docker", "run", "--rm", "-v", s.team+":/team", "busybox", "cat", "/team/new")
	for _, source := range []string{s.team, filepath.Join(s.team, "bobs")} {
		if r := l.Docker("carol", "run", "--rm", "-v", source+":/team", "busybox", "ls", "/team"); r.Code != 125 || !strings.Contains(r.Err, "you can't open it yourself") {
			t.Errorf("carol, who isn't in the group: exit code %d: %s %s", r.Code, r.Out, r.Err)
		}
	}
	if r := l.Docker("alice", "run", "--rm", "-v", s.dir+":/x", "busybox", "ls", "/x"); r.Code != 125 || !strings.Contains(r.Err, "can't be mounted") {
		t.Errorf("the folder above: exit code %d: %s", r.Code, r.Err)
	}
	l.OK("root", "sh", "-c", "cd "+s.team+" && rm -rf new dir su")
}

func aDataSetIsReadOnly(t *testing.T, s *shared) {
	l, set := s.l, filepath.Join(s.sets, "imagenet")
	for _, words := range [][]string{
		{"-v", set + ":/d"}, {"-v", set + ":/d:ro"}, {"--mount", "type=bind,source=" + set + ",target=/d"}, {"-v", s.sets + ":/e", "-v", set + ":/d"},
	} {
		r := l.Docker("alice", append(append([]string{"run", "--rm"}, words...), "busybox", "sh", "-c", "cat /d/data; mount -o remount,rw /d; echo x > /d/data; echo x > /d/new")...)
		if r.Out != "pixels" || !strings.Contains(r.Err, "Read-only file system") {
			t.Errorf("%v: %q, %s", words, r.Out, r.Err)
		}
	}
	if r := l.Docker("alice", "run", "--rm", "-v", set+":/d:rw", "busybox", "true"); r.Code != 125 || !strings.Contains(r.Err, "is read-only for everybody") {
		t.Errorf("rw: exit code %d: %s", r.Code, r.Err)
	}
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", set+"/data:/d", "busybox", "sleep", "1000") // one file
	if got := l.OK("alice", "docker", "inspect", "-f", "{{range .Mounts}}{{.Source}} {{.RW}}{{end}}", "web"); got != set+"/data false" {
		t.Errorf("inspect shows %s", got)
	}
	if got := l.OK("alice", "docker", "exec", "web", "cat", "/d"); got != "pixels" {
		t.Errorf("the file holds %q", got)
	}
	for _, at := range mounted(t, l) {
		var st unix.Statfs_t
		if err := unix.Statfs(at, &st); err != nil || st.Flags&(unix.ST_RDONLY|unix.ST_NOSUID|unix.ST_NODEV) != unix.ST_RDONLY|unix.ST_NOSUID|unix.ST_NODEV {
			t.Errorf("the mount of ours has flags %x: %v", st.Flags, err)
		}
	}
	if got := l.OK("root", "sh", "-c", "cat "+set+"/data; ls "+set); got != "pixels\ndata" {
		t.Errorf("on the host: %q", got)
	}
}

// whoLeavesAGroupIsOut: the groups a container was made with are the engine's
// to know; what counts is which its owner is in when it starts.
func whoLeavesAGroupIsOut(t *testing.T, s *shared) {
	l := s.l
	l.OK("root", "chmod", "2775", s.team) // so that only writing is the group's
	defer l.OK("root", "chmod", "2770", s.team)
	l.OK("alice", "docker", "create", "--name", "web", "-v", s.team+":/team", "busybox", "sh", "-c", "echo x > /team/late; cat /team/bobs")
	l.OK("alice", "docker", "create", "--name", "closed", "-v", s.team+":/team", "busybox", "ls", "/team")
	s.leave(t, "alice")
	r := l.Docker("alice", "start", "-a", "web")
	if r.Code == 0 || strings.Contains(r.Out, "open") {
		t.Errorf("exit code %d: %s %s", r.Code, r.Out, r.Err)
	}
	if _, err := os.Lstat(filepath.Join(s.team, "late")); err == nil {
		t.Error("who left the group writes through it")
	}
	l.OK("root", "chmod", "2770", s.team)
	if r := l.Docker("alice", "start", "-a", "closed"); r.Code == 0 || !strings.Contains(r.Err, "ds01:") {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
	if left := mounted(t, l); len(left) > 0 {
		t.Errorf("mounted after refused starts: %v", left)
	}
	s.join(t, "alice")
	l.OK("alice", "docker", "start", "-a", "closed")
}

func aRootThatIsTakenAway(t *testing.T, s *shared) {
	l := s.l
	before, err := os.ReadFile(filepath.Join(l.Root, "etc/ds01/resource-limits.yaml"))
	lab.Must(t, err)
	l.OK("alice", "docker", "create", "--name", "web", "-v", s.team+":/team", "busybox", "touch", "/team/late")
	for mounts, says := range map[string]string{
		"[~]": "doesn't lie in a folder", "[~, {path: " + s.dir + ", mode: ro}]": "is read-only for everybody", "[]": "your limits name none",
	} {
		s.limit(t, mounts)
		if r := l.Docker("alice", "start", "-a", "web"); r.Code == 0 || !strings.Contains(r.Err, says) {
			t.Errorf("mounts: %s: exit code %d: %s", mounts, r.Code, r.Err)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.team, "late")); err == nil || len(mounted(t, l)) > 0 {
		t.Error("it was mounted")
	}
	l.Write("etc/ds01/resource-limits.yaml", string(before))
	l.Reload()
	l.OK("alice", "docker", "start", "-a", "web")
	l.OK("root", "rm", filepath.Join(s.team, "late"))
}

func onesOwnFolderByName(t *testing.T, s *shared) {
	l, own := s.l, filepath.Join(s.scratch, s.l.Login("alice"))
	l.OK("alice", "docker", "run", "--rm", "-v", own+":/s", "busybox", "touch", "/s/hers")
	onlyHers(t, l, own)
	for _, source := range []string{own, s.scratch} {
		if r := l.Docker("bob", "run", "--rm", "-v", source+":/s", "busybox", "true"); r.Code != 125 || !strings.Contains(r.Err, "can't be mounted") {
			t.Errorf("bob and %s: exit code %d: %s", source, r.Code, r.Err)
		}
	}
}

func whatIsMountedBelow(t *testing.T, s *shared) {
	l, inner := s.l, filepath.Join(s.sets, "inner")
	lab.Must(t, os.MkdirAll(inner, 0o755))
	lab.Must(t, unix.Mount("ds01t", inner, "tmpfs", 0, ""))
	l.OK("root", "touch", filepath.Join(inner, "there"))
	undo := func() { _ = unix.Unmount(inner, unix.MNT_DETACH); _ = os.Remove(inner) }
	defer undo()
	if r := l.Docker("alice", "run", "--rm", "-v", s.sets+":/d", "busybox", "true"); r.Code != 125 || !strings.Contains(r.Err, "mounted below it, at "+inner) {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
	if got := l.OK("alice", "docker", "run", "--rm", "-v", inner+":/d", "busybox", "ls", "/d"); got != "there" {
		t.Errorf("by itself it holds %q", got)
	}
	alone := "type=bind,source=" + s.sets + ",target=/d,bind-nonrecursive=true"
	if got := l.OK("alice", lab.Debian, "run", "--rm", "--mount", alone, "busybox", "ls", "/d/inner"); got != "" {
		t.Errorf("it came along: %q", got)
	}
	undo()
	l.OK("alice", "docker", "create", "--name", "web", "-v", s.sets+":/d", "busybox", "true")
	lab.Must(t, os.MkdirAll(inner, 0o755))
	lab.Must(t, unix.Mount("ds01t", inner, "tmpfs", 0, ""))
	if r := l.Docker("alice", "start", "-a", "web"); r.Code == 0 || !strings.Contains(r.Err, "mounted below it") {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
}

func deployMountsDataSets(t *testing.T, s *shared) {
	l := s.l
	if r := l.DS01("alice", "container", "deploy", "web", "--cpu-only", "--background", "--data", s.sets); r.Code != 0 {
		t.Fatal(r.Err)
	}
	if r := l.Docker("alice", "exec", "web", "sh", "-c", "cat /data/imagenet/data; touch /data/x"); r.Out != "pixels" || r.Code == 0 {
		t.Errorf("%q, exit code %d", r.Out, r.Code)
	}
	var shown []apitype.UserLimits
	lab.Must(t, json.Unmarshal([]byte(l.DS01("alice", "user", "limits", "--json").Out), &shown))
	for _, limit := range shown[0].Limits {
		if limit.Key == "mounts" && (!strings.Contains(limit.Value, s.sets+":ro") || !strings.Contains(limit.Source, "resource-limits.yaml:1") || limit.Inactive != "") {
			t.Errorf("%+v", limit)
		}
	}
	lab.Contains(t, l.DS01("alice", "user", "limits").Out, s.sets+":ro")
}
