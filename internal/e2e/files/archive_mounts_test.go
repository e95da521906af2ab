package files_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// archiveOf returns a tar archive of these entries; regular files hold "text".
func archiveOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			w.Write([]byte("text"))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// put sends an archive to a path of a container of alice's, with docker cp.
func put(l *lab.Lab, docker string, archive []byte, to string) lab.Result {
	cmd := l.Command("alice", docker, "cp", "-", to)
	cmd.Stdin = bytes.NewReader(archive)
	return l.Finish(cmd)
}

// rawPut sends an archive as no docker client does: without a look before it.
func rawPut(l *lab.Lab, at string, archive []byte) {
	cmd := l.Command("alice", "curl", "-s", "--max-time", "20", "--unix-socket", l.GatewaySocket(), "-X", "PUT", "-H", "Content-Type: application/x-tar",
		"--data-binary", "@-", "http://docker/v1.41/containers/web/archive?path="+at)
	cmd.Stdin = bytes.NewReader(archive)
	l.Finish(cmd)
}

// filesCantBeCopiedPastTheMounts tries to have the engine, which is root on
// the host, read and write the directories of people that are mounted in a
// container. What counts is what is on the host afterwards.
func filesCantBeCopiedPastTheMounts(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "target")
	defer l.OK("root", "rm", "-rf", work)
	l.OK("root", "sh", "-c", fmt.Sprintf("cd %s && echo bobs secret > closed && chown %d closed && chmod 600 closed", work, l.UID("bob")))
	l.OK("alice", "sh", "-c", "echo alices own words > "+work+"/file; mkdir "+work+"/dir; echo text > own; ln -sfn / "+work+"/up")
	before := listing(t, work)
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		defer l.ClearAll()
		l.OK("alice", docker, "run", "-d", "--name", "web", "-v", work+":/a/w", "-v", work+"/file:/f", "busybox", "sleep", "1000")
		makeLinks(l, docker)
		// Each way for itself, as the first copy since the start.
		for _, at := range []string{"/tmp/link", "/tmp/link/dir", "/tmp/a/w", "/tmp/rel", "/tmp/file"} {
			l.OK("alice", docker, "restart", "-t", "0", "web")
			rawPut(l, at, archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "foreign", Mode: 0o4755, Uid: 5, Gid: 5}))
			if after := listing(t, work); after != before {
				t.Fatalf("written through %s: the host has\n%s\nit had\n%s", at, after, before)
			}
			l.OK("alice", docker, "restart", "-t", "0", "web")
			if _, got := l.Ask("alice", "GET", "/containers/web/archive?path="+at+"/closed", ""); strings.Contains(got, "bobs secret") {
				t.Fatalf("read through %s: %q", at, got)
			}
		}
		for _, state := range []string{"running", "stopped", "running again"} {
			writePastTheMounts(t, l, docker, state)
			readPastTheMounts(t, l, docker, state)
			if after := listing(t, work); after != before {
				t.Fatalf("%s: the host has\n%s\nit had\n%s", state, after, before)
			}
			if state == "running" {
				l.OK("alice", docker, "stop", "-t", "0", "web")
			} else {
				l.OK("alice", docker, "start", "web")
			}
		}
		if got := l.OK("alice", docker, "exec", "web", "sh", "-c", "grep -E ' /f | /a/w ' /proc/self/mountinfo >&2; ls -la /f /a/w >&2; cat /a/w/file /f"); got != "alices own words\nalices own words" {
			t.Errorf("the container reads %q from its mounts", got)
		}
	})
}

// makeLinks makes ways into the mounts that only the container knows. In uid
// mode everything runs as alice, who may write to /tmp only.
func makeLinks(l *lab.Lab, docker string) {
	l.OK("alice", docker, "exec", "web", "sh", "-c", "cd /tmp && ln -s /a/w link && ln -s /a a && ln -s /f file && ln -s ../a/w rel")
}

func writePastTheMounts(t *testing.T, l *lab.Lab, docker, state string) {
	t.Helper()
	setuid := tar.Header{Typeflag: tar.TypeReg, Name: "suid", Mode: 0o4755}
	foreign := tar.Header{Typeflag: tar.TypeReg, Name: "foreign", Mode: 0o4755, Uid: 5, Gid: 5}
	node := tar.Header{Typeflag: tar.TypeChar, Name: "node", Mode: 0o666, Devmajor: 1, Devminor: 3}
	secret := tar.Header{Typeflag: tar.TypeReg, Name: "closed", Mode: 0o644}
	for _, to := range []string{"/a/w", "/a/w/dir", "/a/w/up", "/a/../a/./w", "/tmp/link", "/tmp/link/dir", "/tmp/a/w", "/tmp/rel", "/proc/1/root/a/w", "/f", "/tmp/file"} {
		for _, h := range []tar.Header{setuid, foreign, node, secret} {
			if r := put(l, docker, archiveOf(t, h), "web:"+to); r.Code == 0 {
				t.Errorf("%s: %s goes to %s", state, h.Name, to)
			}
		}
	}
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	in := func(h tar.Header, name string) tar.Header { h.Name = name; return h }
	for name, entries := range map[string][]tar.Header{
		"through the parent":        {in(setuid, "a/w/suid")},
		"through a link of its own": {link("tmp/in", "/a/w"), in(foreign, "tmp/in/suid")},
		"through two links":         {link("tmp/one", "/a"), link("tmp/two", "one/w"), in(foreign, "tmp/two/suid")},
		"over a link":               {link("tmp/over", "/f"), in(secret, "tmp/over/x")},
		"by a hard link":            {{Typeflag: tar.TypeLink, Name: "tmp/hard", Linkname: "a/w/file"}, in(secret, "tmp/hard")},
		"over the mount":            {link("a", "/tmp"), in(setuid, "a/suid")},
	} {
		r := put(l, docker, archiveOf(t, entries...), "web:/")
		if r.Code == 0 && name != "over the mount" {
			t.Errorf("%s: %s: written", state, name)
		}
	}
	lab.Contains(t, put(l, docker, archiveOf(t, setuid), "web:/a/w").Err, "ds01:", "is your directory", "Copy it there")
}

func readPastTheMounts(t *testing.T, l *lab.Lab, docker, state string) {
	t.Helper()
	for _, from := range []string{"/a/w/closed", "/a/w", "/tmp/link/closed", "/tmp/a/w/closed", "/tmp/rel/", "/a", "/", "/f", "/tmp/file", "/proc/1/root/a/w/closed"} {
		cmd := l.Command("alice", docker, "cp", "-L", "web:"+from, "-")
		r := l.Finish(cmd)
		if strings.Contains(r.Out, "bobs secret") || strings.Contains(r.Out, "alices own") {
			t.Errorf("%s: %s gives a file of the host", state, from)
		}
	}
	r := l.Run("alice", docker, "cp", "web:/a/w/closed", "-")
	lab.Contains(t, r.Err, "ds01:", "is your directory")
}

// listing tells everything about what is below a directory.
func listing(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		data, _ := os.ReadFile(path) // a directory has none
		fmt.Fprintf(&b, "%s %o %d:%d %x %q\n", path, st.Mode, st.Uid, st.Gid, st.Rdev, data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
