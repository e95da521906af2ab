//go:build systemd

package files_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestHomesOnNFSUnderSystemd is the whole where people's homes lie on a file
// server for which this host's root is nobody.
func TestHomesOnNFSUnderSystemd(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Systemd: true, Slow: 6, Plain: plain, Users: []string{"alice", "bob"}})
			s := serveHomes(t, l, !plain)
			for i, story := range nfsStories() {
				if plain && i >= 2 { // the rest is the same on either kind of engine
					break
				}
				t.Run(story.name, func(t *testing.T) {
					alone(t, l, func(t *testing.T, l *lab.Lab) { story.tell(t, l, s) })
				})
			}
		})
	}
}

// nfsStories hold on either kind of engine; the first two are told on both.
func nfsStories() []nfsStory {
	return []nfsStory{
		{"what a container writes is its owner's", whatIsWrittenToNFSIsTheOwners},
		{"a container has a workspace in a closed home", aWorkspaceOnNFS},
		{"nothing in a container is root to the server", nothingIsRootToTheServer},
		{"a group's folder works", aGroupsFolderOnNFS},
		{"version 3 works too", version3WorksToo},
		{"a stale handle is told in words", aStaleHandleIsToldInWords},
		{"a server that is gone keeps nobody else waiting", aServerThatIsGone},
	}
}

type nfsStory struct {
	name string
	tell func(*testing.T, *lab.Lab, *fileServer)
}

// fileServer is this host's own: it serves the homes that it has mounted.
type fileServer struct {
	t       *testing.T
	homes   string // where they are mounted
	old     string // where they are mounted in version 3 of the protocol
	disk    string // where the server has them
	local   string // a group's folder of this host's own
	warned  bool   // a container on it is told that it runs as its owner
	exports string // the server's table
}

func (s *fileServer) run(name string, args ...string) {
	s.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// serveHomes moves the lab's homes to a file server, with a folder of a group
// that both people are in.
func serveHomes(t *testing.T, l *lab.Lab, warned bool) *fileServer {
	t.Helper()
	homes := filepath.Dir(l.Home("alice"))
	s := &fileServer{
		t: t, homes: homes, old: homes + ".old", disk: homes + ".disk", local: filepath.Join(filepath.Dir(homes), "local"),
		warned: warned, exports: "/etc/exports.d/ds01t.exports",
	}
	group := strings.Fields(l.OK("alice", "sh", "-c", "id -G | cut -d' ' -f2-"))[0]
	lab.Must(t, os.Rename(homes, s.disk))
	lab.Must(t, os.Mkdir(homes, 0o755))
	lab.Must(t, os.Mkdir(s.old, 0o755))
	for _, folder := range []string{filepath.Join(s.disk, "team"), s.local} {
		lab.Must(t, os.Mkdir(folder, 0o755))
		s.run("chgrp", group, folder)
		lab.Must(t, unix.Chmod(folder, 0o2770))
	}
	for _, who := range []string{"alice", "bob"} {
		lab.Must(t, unix.Chmod(filepath.Join(s.disk, who), 0o700))
	}
	lab.Must(t, os.MkdirAll("/etc/nfs.conf.d", 0o755))
	const soon = "/etc/nfs.conf.d/ds01t.conf"
	lab.Must(t, os.WriteFile(soon, []byte("[nfsd]\ngrace-time=10\nlease-time=10\n"), 0o644))
	lab.Must(t, os.MkdirAll(filepath.Dir(s.exports), 0o755))
	s.export(1)
	s.run("systemctl", "restart", "nfs-server")
	t.Cleanup(func() {
		s.run("systemctl", "start", "nfs-server") // whoever still waits for it is let go
		s.run("umount", "-l", homes, s.old)
		s.run("systemctl", "stop", "nfs-server")
		lab.Must(t, errors.Join(os.Remove(s.exports), os.Remove(soon)))
	})
	s.run("mount", "-t", "nfs", "-o", "vers=4.2,hard", "127.0.0.1:"+s.disk, homes)
	s.run("mount", "-t", "nfs", "-o", "vers=3,hard,nolock", "127.0.0.1:"+s.disk, s.old)
	l.Write("etc/ds01/resource-limits.yaml", fmt.Sprintf("defaults: {max_containers_per_user: null, mounts: [\"~\", %s/team, %s/team, %s]}\n", homes, s.old, s.local))
	l.Reload()
	return s
}

// export writes the server's table. Handles hold the number.
func (s *fileServer) export(number int) {
	s.t.Helper()
	table := fmt.Sprintf("%s 127.0.0.1(rw,sync,root_squash,no_subtree_check,fsid=%d)\n", s.disk, number)
	lab.Must(s.t, os.WriteFile(s.exports, []byte(table), 0o644))
}

// onDisk returns where the server has a path.
func (s *fileServer) onDisk(path string) string {
	return s.disk + strings.TrimPrefix(path, s.homes)
}

// checkWarned looks for the word about what holds on such a file system, which
// an engine that doesn't remap needs for no mount.
func (s *fileServer) checkWarned(t *testing.T, r lab.Result) {
	t.Helper()
	if r.Code != 0 || s.warned != strings.Contains(r.Err, "can't map ids, so this container and every command in it run as you") {
		t.Fatalf("exit code %d: %s", r.Code, r.Err)
	}
}

func whatIsWrittenToNFSIsTheOwners(t *testing.T, l *lab.Lab, s *fileServer) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "sh", "-c", "umask 077; echo secret > "+work+"/mine; chmod 700 "+work)
	s.checkWarned(t, l.Docker("alice", "run", "-d", "--name", "web", "-v", work+":/w", "-w", "/w", "busybox", "sleep", "1000"))
	if got := l.OK("alice", "docker", "exec", "web", "cat", "/w/mine"); got != "secret" {
		t.Errorf("her own file holds %q", got)
	}
	l.OK("alice", "docker", "exec", "web", "sh", "-c", wild)
	onlyHers(t, l, s.onDisk(work))
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.OK("alice", "docker", "start", "web")
	l.OK("alice", "docker", "exec", "web", "touch", "/w/again")
	// Copies reach the container's own files, beside what is mounted.
	l.OK("alice", "docker", "cp", work+"/mine", "web:/tmp/file")
	if got := l.OK("alice", "docker", "exec", "web", "cat", "/tmp/file"); got != "secret" {
		t.Errorf("the copy in the container holds %q", got)
	}
	l.OK("alice", "docker", "cp", "web:/tmp/file", work+"/back")
	if got := l.OK("root", "cat", s.onDisk(work)+"/back"); got != "secret" {
		t.Errorf("the copy from the container holds %q", got)
	}
	for _, words := range [][]string{{"cp", "web:/w/mine", "-"}, {"cp", work + "/mine", "web:/w/copy"}} {
		if r := l.Docker("alice", words...); r.Code == 0 || !strings.Contains(r.Err, "ds01:") {
			t.Errorf("%v: exit code %d: %s", words, r.Code, r.Err)
		}
	}
	onlyHers(t, l, s.onDisk(work))
}

func nothingIsRootToTheServer(t *testing.T, l *lab.Lab, s *fileServer) {
	work := folder(t, l, "alice", "work")
	l.OK("root", "sh", "-c", fmt.Sprintf("cd %s && echo secret > closed && chown %d closed && chmod 600 closed", s.onDisk(work), l.UID("bob")))
	if r := l.Docker("alice", "run", "--rm", "-v", work+":/w", "busybox", "cat", "/w/closed"); r.Code == 0 || !strings.Contains(r.Err, "Permission denied") {
		t.Errorf("another's file: exit code %d: %s %s", r.Code, r.Out, r.Err)
	}
	for want, words := range map[string][]string{
		"ds01:":              {"-u", "0", "-v", work + ":/w"},
		"as the host's root": {"-v", work + ":/w", "-w", "/w/new"},
		"it isn't yours":     {"-v", work + "/closed:/f"},
		"ds01: ":             {"-v", l.Home("bob") + ":/w"},
	} {
		r := l.Docker("alice", append(append([]string{"run", "--rm"}, words...), "busybox", "true")...)
		if r.Code != 125 || !strings.Contains(r.Err, want) {
			t.Errorf("%v: exit code %d: %s", words, r.Code, r.Err)
		}
	}
}

func aWorkspaceOnNFS(t *testing.T, l *lab.Lab, s *fileServer) {
	s.checkWarned(t, l.DS01("alice", "container", "deploy", "own", "--cpu-only", "--background"))
	got := l.OK("alice", "docker", "exec", "own", "sh", "-c", "id -un; pwd; touch $HOME/x x && echo done")
	if got != l.Login("alice")+"\n/workspace\ndone" {
		t.Errorf("inside: %q", got)
	}
	onlyHers(t, l, s.onDisk(filepath.Join(l.Home("alice"), "workspace")))
	l.OK("alice", l.Binary(), "container", "stop", "own")
	l.OK("alice", l.Binary(), "container", "start", "own")
	l.OK("alice", "docker", "exec", "own", "rm", "/workspace/x")
}

func aGroupsFolderOnNFS(t *testing.T, l *lab.Lab, s *fileServer) {
	team := filepath.Join(s.homes, "team")
	l.OK("bob", "sh", "-c", "umask 077; cd "+team+"; echo secret > closed; echo open > open; chmod 640 open")
	r := l.Docker("alice", "run", "--rm", "-v", team+":/w", "busybox", "sh", "-c", "echo x > /w/new; cat /w/open; cat /w/closed; echo more >> /w/open")
	if r.Out != "open" {
		t.Errorf("read %q, want only what is open to the group: %s", r.Out, r.Err)
	}
	want := fmt.Sprintf("%d:%s", l.UID("alice"), strings.Split(ids(l, s.onDisk(team)), ":")[1])
	if got := ids(l, s.onDisk(team)+"/new"); got != want {
		t.Errorf("the new file is %s's, want alice's and the group's, %s", got, want)
	}
	if got := l.OK("root", "cat", s.onDisk(team)+"/open"); got != "open" {
		t.Errorf("a file that the group may only read holds %q", got)
	}
}

func version3WorksToo(t *testing.T, l *lab.Lab, s *fileServer) {
	old := filepath.Join(s.old, "team", "alices")
	l.OK("alice", "mkdir", "-m", "700", old)
	s.checkWarned(t, l.Docker("alice", "run", "-d", "--name", "web", "-v", old+":/w", "-w", "/w", "busybox", "sleep", "1000"))
	l.OK("alice", "docker", "exec", "web", "sh", "-c", wild)
	onlyHers(t, l, filepath.Join(s.disk, "team", "alices"))
}

func aStaleHandleIsToldInWords(t *testing.T, l *lab.Lab, s *fileServer) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "docker", "create", "--name", "web", "-v", work+":/w", "busybox", "sleep", "1000")
	s.export(2)
	s.run("systemctl", "reload", "nfs-server")
	r := l.Finish(elsewhere(l, "alice", "docker", "start", "web"))
	if r.Code == 0 || !strings.Contains(r.Err, "(stale file handle)") {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
	s.export(1)
	s.run("systemctl", "reload", "nfs-server")
	l.Eventually("her container starts", 10*time.Second, func() bool { return l.Docker("alice", "start", "web").Code == 0 })
}

// elsewhere is a person's command that needs nothing of their home.
func elsewhere(l *lab.Lab, who string, words ...string) *exec.Cmd {
	cmd := l.Command(who, words...)
	cmd.Dir = "/"
	cmd.Env = append(cmd.Env, "HOME=/nonexistent")
	return cmd
}

func aServerThatIsGone(t *testing.T, l *lab.Lab, s *fileServer) {
	work := folder(t, l, "alice", "work")
	l.OK("alice", "docker", "create", "--name", "web", "-v", work+":/w", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "run", "-d", "--name", "busy", "-v", work+":/w", "busybox", "sh", "-c", "while :; do date > /w/now; done")
	s.run("systemctl", "stop", "nfs-server")
	defer s.run("systemctl", "start", "nfs-server")

	type answer struct {
		lab.Result
		after time.Duration
	}
	asks := [][]string{{"start", "web"}, {"run", "--rm", "-v", work + ":/w", "busybox", "true"}, {"restart", "-t", "1", "busy"}}
	answers := make(chan answer, len(asks))
	began := time.Now()
	for _, words := range asks {
		go func() {
			r := l.Finish(elsewhere(l, "alice", append([]string{"docker"}, words...)...))
			answers <- answer{r, time.Since(began)}
		}()
	}
	time.Sleep(time.Second) // by now they wait
	for _, c := range []struct {
		who   string
		words []string
	}{
		{"bob", []string{"docker", "run", "--rm", "-v", s.local + ":/w", "busybox", "touch", "/w/bobs"}},
		{"alice", []string{"docker", "run", "--rm", "busybox", "true"}},
		{"root", []string{l.Binary(), "container", "list", "--all-users"}},
	} {
		if r := l.Finish(elsewhere(l, c.who, c.words...)); r.Code != 0 {
			t.Errorf("%s: %v: exit code %d: %s", c.who, c.words, r.Code, r.Err)
		}
	}
	// What the kernel still knows of the folder lets a restart come as far as the
	// engine, which waits for a process that waits for the server.
	for range asks {
		r := <-answers
		told := strings.Contains(r.Err, "its file system doesn't answer") || strings.Contains(r.Err, "did not receive an exit event")
		if r.Code == 0 || !told || r.after > l.Patience(20*time.Second) {
			t.Errorf("after %s: exit code %d: %s", r.after, r.Code, r.Err)
		}
		t.Logf("refused after %s", r.after)
	}
	// A process that is killed ends without the server, but for one that the kernel has
	// wait for what was written to get there: that one ends when the server is back.
	removed := false
	remove := func() bool {
		removed = removed || l.Finish(elsewhere(l, "alice", "docker", "rm", "-f", "busy")).Code == 0
		return removed
	}
	l.Eventually("a container that waits for the server is removed, if its process ends", 30*time.Second, func() bool { return remove() || waitsForGood(t) })
	s.run("systemctl", "start", "nfs-server")
	l.Eventually("it is removed once the server is back", time.Minute, remove)
	l.Eventually("her container starts", time.Minute, func() bool { return l.Docker("alice", "start", "web").Code == 0 })
	l.OK("alice", "docker", "exec", "web", "touch", "/w/again")
}

// waitsForGood reports whether a process of the busy container waits in a way that no
// signal breaks off.
func waitsForGood(t *testing.T) bool {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err == nil && (strings.Contains(string(data), "(date) D ") || strings.Contains(string(data), "(sh) D ")) {
			t.Logf("the kernel keeps %s", data[:min(len(data), 40)])
			return true
		}
	}
	return false
}
