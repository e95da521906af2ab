package tenants_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/probe"
)

// free returns how many MiB the engine's disk has left.
func free(t *testing.T, l *lab.Lab) int64 {
	t.Helper()
	_, left, err := probe.Disk(l.AtEngine("info", "--format", "{{.DockerRootDir}}"))
	if err != nil {
		t.Fatal(err)
	}
	return int64(left / lab.MiB)
}

// full wants a command of alice's to be refused for want of room.
func full(t *testing.T, l *lab.Lab, words ...string) {
	t.Helper()
	r := l.Run("alice", words...)
	if r.Code == 0 || !strings.Contains(r.Err, "must stay free (disk.keep_free in ds01.yaml)") {
		t.Errorf("%v: exit code %d: %s", words, r.Code, r.Err)
	}
}

// TestNobodyFillsTheEnginesDisk makes images of 60 MiB on a disk of 200 of
// which 100 must stay free.
func TestNobodyFillsTheEnginesDisk(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}, Disk: "200m", Config: "disk: {keep_free: 100MiB}"})
	lab.Contains(t, l.OK("alice", l.Binary(), "doctor"), "of 200MiB free; 100MiB must stay free")
	lab.Contains(t, l.OK("alice", l.Binary(), "user", "limits"), "(inactive: not enforced: the engine's data, ", "lies on no disk of the kernel's)")
	much := []string{"docker", "run", "--name", "much", "busybox", "dd", "if=/dev/zero", "of=/much", "bs=1M", "count=60"}
	tree, app := filepath.Join(l.Home("alice"), "tree.tar"), filepath.Join(l.Home("alice"), "app.tar")
	empty := free(t, l)

	l.OK("alice", much...)
	full(t, l, "docker", "commit", "much", "app:1")
	l.OK("alice", "docker", "export", "-o", tree, "much")
	l.OK("alice", "docker", "rm", "much")
	l.OK("alice", "docker", "import", tree, "app:1")
	l.OK("alice", "docker", "save", "-o", app, "app:1")

	before := free(t, l)
	full(t, l, "docker", "import", tree, "app:2")
	full(t, l, "sh", "-c", "gzip -1 < "+tree+" | docker import - app:2")
	l.Eventually("what came of the import is gone", 30*time.Second, func() bool { return free(t, l) >= before-1 })

	l.OK("alice", "docker", "rmi", "app:1")
	full(t, l, "docker", "load", "-i", app) // beside the archive there is no room for what is in it
	full(t, l, l.Binary(), "image", "load", "-i", app)
	l.Eventually("what came of the load is gone", 30*time.Second, func() bool { return free(t, l) >= empty-1 })
	if got := l.AtEngine("images", "-aq"); len(strings.Fields(got)) != 1 {
		t.Errorf("left at the engine: %s", got)
	}

	config := l.Read("etc/ds01/ds01.yaml")
	l.Write("etc/ds01/ds01.yaml", strings.ReplaceAll(config, "100MiB", "1TiB"))
	l.Reload()
	full(t, l, "docker", "pull", "busybox")
	full(t, l, "docker", "create", "busybox")
	full(t, l, l.Binary(), "container", "create", "box")
	if r := l.DS01("alice", "doctor"); r.Code != 1 || !strings.Contains(r.Out, "1TiB must stay free (disk.keep_free). No image is pulled") {
		t.Errorf("exit code %d: %s", r.Code, r.Out)
	}
	l.Write("etc/ds01/ds01.yaml", strings.ReplaceAll(config, "100MiB", "20MiB"))
	l.Reload()
	l.OK("alice", "docker", "load", "-i", app)
	l.OK("alice", "docker", "rmi", "app:1")

	l.OK("alice", "dd", "if=/dev/zero", "of=much", "bs=1M", "count=200")
	for _, place := range []string{"box:/tmp/much", "box:/data/much"} {
		l.OK("alice", "docker", "create", "--name", "box", "-v", "data:/data", "busybox")
		full(t, l, "docker", "cp", "much", place)
		if left := free(t, l); left < 15 {
			t.Errorf("a copy to %s left %d MiB", place, left)
		}
		l.OK("alice", "docker", "rm", "box")
		l.OK("alice", "docker", "volume", "rm", "data")
	}
}
