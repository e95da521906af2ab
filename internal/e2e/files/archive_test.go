package files_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestArchive is what docker cp does, and what it must not do.
func TestArchive(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain})
			for name, story := range map[string]func(*testing.T, *lab.Lab, string){
				"files go in and come back":                 filesGoInAndComeBack,
				"compressed archives are undone or refused": compressedArchivesAreUndone,
				"devices and climbing names are refused":    devicesAndClimbingNamesAreRefused,
				"export and diff tell of one's own layer":   exportAndDiff,
			} {
				t.Run(name, func(t *testing.T) {
					lab.EachClient(t, l, func(t *testing.T, docker string) {
						defer l.ClearAll()
						l.OK("alice", docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
						story(t, l, docker)
					})
				})
			}
		})
	}
}

func filesGoInAndComeBack(t *testing.T, l *lab.Lab, docker string) {
	home := l.Home("alice")
	l.OK("alice", "sh", "-c", "rm -rf tree back && mkdir -p tree/dir && echo text > tree/file && ln -s file tree/link && ln tree/file tree/dir/hard && touch tree/suid && chmod 4750 tree/suid && mkfifo tree/pipe && touch tree/BZh9 && echo x > 'tree/ö \"odd\"'")
	for _, state := range []string{"running", "stopped"} {
		l.OK("alice", docker, "cp", filepath.Join(home, "tree"), "web:/root/")
		l.OK("alice", docker, "cp", "web:/root/tree", "back")
		script := "cd %s && find . | sort && cat file dir/hard && readlink link && stat -c '%%A %%h' file pipe suid"
		want := l.OK("alice", "sh", "-c", fmt.Sprintf(script, "tree"))
		if got := l.OK("alice", "sh", "-c", fmt.Sprintf(script, "back")); got != want {
			t.Errorf("%s: came back as\n%s\nwant\n%s", state, got, want)
		}
		l.OK("alice", "rm", "-rf", "back")
		if state == "running" {
			if got := l.OK("alice", docker, "exec", "web", "sh", "-c", "stat -c %A /root/tree/suid; cat /root/tree/dir/hard"); got != "-rwsr-x---\ntext" {
				t.Errorf("in the container it is %s", got)
			}
			l.OK("alice", docker, "stop", "-t", "0", "web")
		}
	}
	if r := l.Run("alice", docker, "cp", "web:/root/nothing", "-"); r.Code == 0 || !strings.Contains(r.Err, "/root/nothing") || strings.Contains(r.Err, "._.") {
		t.Errorf("a file that isn't there: %d %s", r.Code, r.Err)
	}
	if r := l.Run("bob", docker, "cp", "web:/root/tree", "-"); r.Code == 0 || !strings.Contains(r.Err, "No such container") {
		t.Errorf("bob copies: %s", r.Err)
	}
}

func compressedArchivesAreUndone(t *testing.T, l *lab.Lab, docker string) {
	plain := archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "BZh-file", Mode: 0o644}, tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644})
	// The engine would find these programs in the container.
	l.OK("alice", docker, "exec", "web", "sh", "-c", "for p in xz unpigz gzip bzip2 zstd; do printf '#!/bin/sh\\ntouch /ran\\n' > /bin/$p; chmod 755 /bin/$p; done")
	for program, served := range map[string]bool{"gzip": true, "bzip2": true, "xz": false} {
		pack := exec.Command(program, "-c")
		pack.Stdin = bytes.NewReader(plain)
		packed, err := pack.Output()
		if err != nil {
			t.Fatal(err)
		}
		r := put(l, docker, packed, "web:/tmp")
		if (r.Code == 0) != served {
			t.Errorf("%s: exit code %d: %s", program, r.Code, r.Err)
		}
		if !served {
			lab.Contains(t, r.Err, "ds01:", "compressed by "+program, "gzip or bzip2")
			continue
		}
		if got := l.OK("alice", docker, "exec", "web", "sh", "-c", "cat /tmp/file /tmp/BZh-file && rm /tmp/file /tmp/BZh-file"); got != "texttext" {
			t.Errorf("%s: the files hold %q", program, got)
		}
	}
	// An archive that is one to ds01 and begins like xz to the engine.
	forged := archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "7zXZ", Mode: 0o644, Format: tar.FormatUSTAR})
	copy(forged, "\xfd7zXZ\x00")
	if r := put(l, docker, forged, "web:/tmp"); r.Code == 0 {
		t.Error("an archive of two kinds is taken")
	}
	if r := l.Run("alice", docker, "exec", "web", "ls", "/ran"); r.Code == 0 {
		t.Error("a program of the container was run")
	}
	if r := put(l, docker, []byte("this is no archive, "+strings.Repeat("x", 1000)), "web:/tmp"); r.Code == 0 {
		t.Error("rubbish is taken")
	} else {
		lab.Contains(t, r.Err, "ds01:", "no whole tar archive")
	}
}

func devicesAndClimbingNamesAreRefused(t *testing.T, l *lab.Lab, docker string) {
	for says, h := range map[string]tar.Header{
		"is a device": {Typeflag: tar.TypeChar, Name: "node", Mode: 0o666, Devmajor: 1, Devminor: 3},
		"a device":    {Typeflag: tar.TypeBlock, Name: "disk", Mode: 0o666, Devmajor: 8},
		"climbs":      {Typeflag: tar.TypeReg, Name: "../../etc/cron.d/x", Mode: 0o644},
		"'..'":        {Typeflag: tar.TypeLink, Name: "x", Linkname: "../../../etc/shadow"},
		"trusted.":    {Typeflag: tar.TypeReg, Name: "x", PAXRecords: map[string]string{"SCHILY.xattr.trusted.overlay.opaque": "y"}},
	} {
		r := put(l, docker, archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "first", Mode: 0o644}, h), "web:/tmp")
		if r.Code == 0 {
			t.Errorf("%s is taken", h.Name)
		}
		lab.Contains(t, r.Err, "ds01:", says)
	}
	if got := l.OK("alice", docker, "exec", "web", "ls", "/tmp"); strings.Contains(got, "node") || strings.Contains(got, "disk") {
		t.Errorf("in the container are %s", got)
	}
}

func exportAndDiff(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "exec", "web", "sh", "-c", "echo text > /new; rm /etc/group")
	if got := l.OK("alice", docker, "diff", "web"); !strings.Contains(got, "A /new") || !strings.Contains(got, "D /etc/group") {
		t.Errorf("diff tells %q", got)
	}
	l.OK("alice", docker, "export", "-o", "export.tar", "web")
	if got := l.OK("alice", "tar", "-xOf", "export.tar", "new"); got != "text" {
		t.Errorf("the export holds %q", got)
	}
	for _, verb := range []string{"export", "diff"} {
		if r := l.Run("bob", docker, verb, "web"); r.Code == 0 || !strings.Contains(r.Err, "No such container") {
			t.Errorf("bob's %s: %s", verb, r.Err)
		}
	}
}

// TestACopyLetsTheContainerRunOn holds a copy open and looks at what goes on
// meanwhile and after it.
func TestACopyLetsTheContainerRunOn(t *testing.T) {
	l := start(t, lab.Options{Admins: []string{"ada"}})
	count := []string{"docker", "exec", "web", "cat", "/count"}
	begin := func() (feed *os.File, end func()) {
		t.Helper()
		in, feed, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := l.Command("alice", "docker", "cp", "-", "web:/tmp")
		cmd.Stdin = in
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		in.Close()
		whole := archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o644})
		feed.Write(whole[:600])
		l.Eventually("it can't be started", 30*time.Second, func() bool { return l.Docker("alice", "start", "web").Code != 0 })
		return feed, func() {
			feed.Write(whole[600:])
			feed.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /count; sleep 0.02; done")
	counted := func() (n string) {
		t.Helper()
		l.Eventually("it counts", 30*time.Second, func() bool { n = l.Run("alice", count...).Out; return n != "" })
		return n
	}
	moves := func() {
		t.Helper()
		before := counted()
		l.Eventually("it goes on", 30*time.Second, func() bool { return counted() != before })
	}
	moves()

	_, end := begin()
	for _, verb := range []string{"start", "restart"} {
		if r := l.Docker("alice", verb, "web"); r.Code == 0 || !strings.Contains(r.Err, "files are being copied") {
			t.Errorf("%s: %d %s", verb, r.Code, r.Err)
		}
	}
	moves()
	l.OK("alice", "docker", "pause", "web")
	l.OK("alice", "docker", "unpause", "web")
	lab.Resumed(t, l, "alice", "docker", "web")
	l.OK("alice", "docker", "commit", "web", "snap") // for this it does stand still, and not until the copy is over
	moves()
	end()
	l.OK("alice", "docker", "exec", "web", "test", "-e", "/tmp/file")
	l.OK("alice", "docker", "restart", "-t", "0", "web")
	moves()

	// It may end meanwhile: the copy still arrives.
	l.OK("alice", "docker", "exec", "web", "rm", "/tmp/file")
	_, end = begin()
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	end()
	l.OK("alice", "docker", "start", "web")
	l.OK("alice", "docker", "exec", "web", "test", "-e", "/tmp/file")

	// A client that is killed ends it.
	before := lab.Descriptors(t, l)
	for range 3 {
		feed, _ := begin()
		feed.Close()
		l.Eventually("it is over without the client", 30*time.Second, func() bool { return l.Docker("alice", "start", "web").Code == 0 })
	}
	l.Eventually("the daemon has closed everything", 30*time.Second, func() bool { return lab.Descriptors(t, l) <= before+4 })
	moves()

	// A daemon that is stopped doesn't wait for a client.
	begin()
	l.EndDaemon(syscall.SIGTERM)
	l.StartDaemon()
	l.OK("alice", "docker", "start", "web")
}

// TestWhoStandsStillForACommitRunsOnAfterIt looks at containers that a daemon
// leaves frozen, and at those that are paused.
func TestWhoStandsStillForACommitRunsOnAfterIt(t *testing.T) {
	l := start(t, lab.Options{})
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "commit", "web", "snap")
	if lab.Frozen(t, l) {
		t.Error("it stands still")
	}

	// A daemon that is killed leaves it frozen, and its successor lets it go.
	l.EndDaemon(syscall.SIGKILL)
	freeze(t, l, l.UID("alice"), l.AtEngine("ps", "-q", "--no-trunc"))
	l.StartDaemon()
	l.Eventually("it goes on under the next daemon", 30*time.Second, func() bool { return !lab.Frozen(t, l) })

	// Who was paused stays paused.
	l.OK("alice", "docker", "pause", "web")
	l.OK("alice", "docker", "commit", "web", "snap")
	l.OK("alice", "docker", "cp", "web:/etc/passwd", "-")
	if !lab.Frozen(t, l) {
		t.Error("a commit or a copy resumed it")
	}
	l.OK("alice", "docker", "unpause", "web")
}

func freeze(t *testing.T, l *lab.Lab, uid int, id string) {
	t.Helper()
	if lab.FrozenAt(t, l, uid, id) {
		t.Fatal("it stands still already")
	}
	group := filepath.Join(l.Engine.CgroupParent(), "people", fmt.Sprintf("u%d", uid), id)
	v1 := os.WriteFile(filepath.Join("/sys/fs/cgroup/freezer", group, "freezer.state"), []byte("FROZEN"), 0)
	v2 := os.WriteFile(filepath.Join("/sys/fs/cgroup", group, "cgroup.freeze"), []byte("1"), 0)
	if v1 != nil && v2 != nil {
		t.Fatal(v1, v2)
	}
	l.Eventually("it stands still", 30*time.Second, func() bool { return lab.FrozenAt(t, l, uid, id) })
}

// TestForeignMountsAreNotCopiedThrough: a container that was adopted may have
// anything of the host in it.
func TestForeignMountsAreNotCopiedThrough(t *testing.T) {
	l := start(t, lab.Options{Admins: []string{"ada"}})
	outside := filepath.Join(l.Root, "outside")
	if err := os.Mkdir(outside, 0o777); err != nil {
		t.Fatal(err)
	}
	l.AtEngine("run", "-d", "--name", "old", "-v", outside+":/w", "busybox", "sleep", "1000")
	l.Eventually("it is adopted", 30*time.Second, func() bool {
		return l.DS01("ada", "container", "adopt", "old", l.Login("alice")).Code == 0
	})
	for _, to := range []string{"old:/w", "old:/tmp"} {
		r := put(l, "docker", archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "suid", Mode: 0o4755}), to)
		if r.Code == 0 {
			t.Errorf("%s: taken", to)
		}
		lab.Contains(t, r.Err, "ds01:", "/w in it was not mounted by ds01")
	}
	if r := l.Docker("alice", "cp", "old:/w", "-"); r.Code == 0 {
		t.Error("it is read")
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("the host has %v, %v", left, err)
	}
}
