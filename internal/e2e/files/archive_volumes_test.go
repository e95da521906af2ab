package files_test

import (
	"archive/tar"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestArchiveVolumes is what docker cp does with volumes, and what it must not
// do.
func TestArchiveVolumes(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain, Limits: "defaults:\n  max_containers_per_user: 9\n"})
			l.AtEngine("run", "--name", "base", "busybox", "true")
			l.AtEngine("commit", "--change", "VOLUME /declared", "base", "voluminous")
			l.AtEngine("rm", "base")
			stories := map[string]func(*testing.T, *lab.Lab){
				"volumes are copied like a container's own files": volumesAreCopied,
				"nothing is reached through a volume":             nothingIsReachedThroughAVolume,
				"names that change in a volume reach nothing":     changingNamesReachNothing,
				"changing names of its own reach nothing":         changingNamesOfItsOwnReachNothing,
				"changing names get nothing of an image's files":  changingNamesGetNothingOfAnImage,
				"changing names put nothing into an image":        changingNamesPutNothingIntoAnImage,
			}
			if !plain {
				stories["what lies beside volumes is copied"] = filesBesideVolumesAreCopied
				stories["who has a volume keeps it while another is copied"] = whoHasAVolumeKeepsIt
			}
			for name, story := range stories {
				t.Run(name, func(t *testing.T) {
					defer clearVolumes(l)
					story(t, l)
				})
			}
		})
	}
}

// volumesAreCopied compares what comes of a copy to and from a volume with
// what comes of one to and from the container's own layer, which is the
// engine's work.
func volumesAreCopied(t *testing.T, l *lab.Lab) {
	l.OK("alice", "sh", "-c", "rm -rf tree && mkdir -p tree/dir/empty && echo text >tree/file && ln -s file tree/link && ln -s /data/tree/dir tree/far && ln tree/file tree/dir/hard &&"+
		" touch tree/suid && chmod 4750 tree/suid && mkfifo tree/pipe && chmod 700 tree/dir && touch -d 2020-02-03 tree/file tree/dir && echo x >'tree/ö \"odd\"'")
	l.OK("alice", "docker", "create", "--name", "web", "-v", "data:/data", "-v", "/loose", "voluminous", "sleep", "1000")
	l.OK("alice", "docker", "create", "--name", "from", "--volumes-from", "web", "busybox", "sleep", "1000")
	copyTrees(t, l, "-a")
	l.OK("alice", "docker", "start", "web", "from")
	l.OK("alice", "docker", "exec", "web", "sh", "-c", "rm -r /data/* /loose/* /declared/* /root/tree")
	copyTrees(t, l, "-L")
	for _, c := range [][]string{{"web", "/declared"}, {"from", "/loose"}} {
		tell := func(in, dir string) string {
			return l.OK("alice", "docker", "exec", in, "sh", "-c", "cd "+dir+"/tree && find . ! -path '*new' ! -name dir ! -name link ! -path ./dir/file -exec stat -c '%n %F %a %u:%g %h' {} + | sort; cat dir/hard")
		}
		if got, want := tell(c[0], c[1]), tell("web", "/root"); got != want || !strings.Contains(want, "suid") {
			t.Errorf("in the container it is\n%s\nwant\n%s", got, want)
		}
	}
}

func copyTrees(t *testing.T, l *lab.Lab, flag string) {
	t.Helper()
	cp := func(from, to string) {
		t.Helper()
		l.OK("alice", "docker", "cp", flag, from, to)
	}
	archive := func(of string) string { // without owners: the engine tells the host's ids
		return l.OK("alice", "sh", "-c", "docker cp "+of+" - | tee out | tar -tvf - --full-time | awk '{$2=$3=\"\"; print}' | sort -k4; tar -xOf out | sha256sum")
	}
	cp("tree", "web:/root")
	want := archive("web:/root/tree")
	for _, c := range []string{"web:/data", "web:/declared", "from:/loose/.", "web:/data/../data/"} {
		cp("tree", c)
		if got := archive(c + "/tree"); got != want {
			t.Errorf("in %s is\n%s\nwant\n%s", c, got, want)
		}
	}
	for _, each := range []string{"link", "dir/", "dir/.", "dir/hard"} {
		if got, want := archive("web:/data/tree/"+each), archive("web:/root/tree/"+each); got != want {
			t.Errorf("of %s comes\n%s\nwant\n%s", each, got, want)
		}
	}
	for _, as := range []string{"new", "link", "far/new"} {
		cp("tree/suid", "web:/data/tree/"+as)
	}
	cp("tree/file", "web:/data/tree/dir")
	if got := archive("web:/data/tree/file"); !strings.Contains(got, "-rwsr-x---") {
		t.Errorf("through a link came %s", got)
	}
	if r := l.Run("alice", "docker", "cp", "tree/dir", "web:/data/tree/file"); r.Code == 0 {
		t.Error("a directory replaces a file")
	}
	if r := l.Run("alice", "docker", "cp", "web:/data/none", "-"); r.Code == 0 || !strings.Contains(r.Err, "none") {
		t.Errorf("what isn't there: %d %s", r.Code, r.Err)
	}
}

func filesBesideVolumesAreCopied(t *testing.T, l *lab.Lab) {
	home := l.Home("alice")
	l.OK("alice", "mkdir", "-p", "work")
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", home+"/work:/app", "-v", "/app/modules", "-v", "data:/data", "-v", "deep:/data/a/deep", "voluminous", "sleep", "1000")
	l.OK("alice", "docker", "exec", "web", "sh", "-c", "echo m >/app/modules/f; echo d >/data/a/deep/f; echo d >/data/f; echo t >/tmp/f")
	for _, state := range []string{"running", "stopped"} {
		for path, want := range map[string]string{"/tmp/f": "t", "/app/modules/f": "m", "/data/a/deep/f": "d", "/data/f": "d"} {
			if got := l.OK("alice", "sh", "-c", "docker cp web:"+path+" - | tar -xOf -"); got != want {
				t.Errorf("%s: %s holds %q", state, path, got)
			}
			l.OK("alice", "sh", "-c", "docker cp web:"+path+" copy && docker cp copy web:"+path+"2")
		}
		l.OK("alice", "docker", "diff", "web")
		l.OK("alice", "docker", "stop", "-t", "0", "web")
	}
	l.OK("alice", "docker", "start", "web")
	if got := l.OK("alice", "docker", "exec", "web", "cat", "/app/modules/f2", "/data/a/deep/f2", "/data/f2", "/tmp/f2"); got != "m\nd\nd\nt" {
		t.Errorf("it holds %q", got)
	}
	if got := l.OK("alice", "ls", "work"); got != "modules" { // the engine makes it in what it mounts
		t.Logf("her directory holds %q", got)
	}
	lab.Contains(t, l.Docker("alice", "cp", "work", "web:/app").Err, "ds01:", "is your directory")
	for says, to := range map[string]string{"each volume is copied to for itself": "/", "is your directory": "/app/modules/.."} {
		r := put(l, "docker", archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "data/x", Mode: 0o644}), "web:"+to)
		if r.Code == 0 {
			t.Errorf("%s: taken", to)
		}
		lab.Contains(t, r.Err, "ds01:", says)
	}
	l.OK("alice", "docker", "create", "--name", "new", "-v", "fresh:/data:ro", "busybox", "cat", "/etc/own")
	l.OK("alice", "sh", "-c", "echo own >own && docker cp own new:/etc")
	lab.Contains(t, l.Docker("alice", "cp", "own", "new:/data").Err, "ds01:", "mounted read-only")
	if got := l.OK("alice", "docker", "start", "-a", "new"); got != "own" {
		t.Errorf("a new container reads %q", got)
	}
}

func nothingIsReachedThroughAVolume(t *testing.T, l *lab.Lab) {
	outside := filepath.Join(l.Root, "outside")
	l.OK("root", "sh", "-c", "mkdir -p "+outside+" && echo secret >"+outside+"/file && chmod 700 "+outside)
	defer l.OK("root", "rm", "-rf", outside)
	before := listing(t, outside)
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", "data:/data", "-v", "other:/other", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "exec", "web", "sh", "-c", "cd /data && ln -s / up && ln -s ../../../../../../../../.. climb && ln -s "+outside+" out && ln -s /other beside && ln -s data /tmp/rel && ln -s /data /tmp/link && echo o >/other/f && mkdir d")
	for _, from := range []string{"up", "climb", "out"} {
		for _, path := range []string{"/data/" + from + outside + "/file", "/data/" + from + "/file", "/data/" + from + "/", "/tmp/link/" + from + "/file", "/tmp/link/" + from + outside + "/file"} {
			if r := l.Docker("alice", "cp", "-L", "web:"+path, "-"); strings.Contains(r.Out, "secret") {
				t.Errorf("%s gives a file of the host", path)
			}
			rawPut(l, path, archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "new", Mode: 0o4755}))
		}
		for name, entries := range map[string][]tar.Header{
			"through a link":        {{Typeflag: tar.TypeReg, Name: from + "/new", Mode: 0o4755}},
			"through one it brings": {{Typeflag: tar.TypeSymlink, Name: "d/own", Linkname: outside}, {Typeflag: tar.TypeReg, Name: "d/own/new", Mode: 0o4755}},
			"by a hard link":        {{Typeflag: tar.TypeLink, Name: "hard", Linkname: from + "/file"}},
			"a directory's mode":    {{Typeflag: tar.TypeSymlink, Name: "d/own", Linkname: outside}, {Typeflag: tar.TypeDir, Name: "d/own/", Mode: 0o777, Uid: 5}},
		} {
			if r := put(l, "docker", archiveOf(t, entries...), "web:/data"); r.Code == 0 && name != "a directory's mode" {
				t.Errorf("%s, %s: taken", from, name)
			}
		}
	}
	if after := listing(t, outside); after != before {
		t.Errorf("the host has\n%s\nit had\n%s", after, before)
	}
	lab.Contains(t, l.Docker("alice", "cp", "web:/data/beside/f", "-").Err, "ds01:", "leads out of the volume")
	if r := put(l, "docker", archiveOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "node", Mode: 0o666, Devmajor: 1, Devminor: 3}), "web:/data"); r.Code == 0 {
		t.Error("a device is taken")
	}
	if r := l.Docker("bob", "cp", "web:/data/d", "-"); r.Code == 0 || !strings.Contains(r.Err, "No such container") {
		t.Errorf("bob copies: %s", r.Err)
	}
}

// changingNamesReachNothing exchanges a directory of a volume and a link to the
// host, again and again, as whoever has the volume in another container can,
// while files are copied. Something is mounted at that directory, so that the
// engine, which mounts it for each copy, could mount it anywhere.
func changingNamesReachNothing(t *testing.T, l *lab.Lab) {
	outside := filepath.Join(l.Root, "outside")
	l.OK("root", "sh", "-c", "mkdir -p "+outside+" && echo secret >"+outside+"/file")
	defer l.OK("root", "rm", "-rf", outside)
	before := listing(t, outside)
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", "data:/data", "-v", "deep:/data/sub", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "run", "-d", "--name", "other", "-v", "data:/data", "busybox", "sh", "-c",
		"cd /data; ln -s "+outside+" link; mkdir -p sub; touch ready; while :; do mv sub x; mv link sub; mv sub link; mv x sub; done")
	volume := l.AtEngine("volume", "inspect", "-f", "{{.Mountpoint}}", l.EngineName("alice", "data"))
	l.Eventually("they are there", 30*time.Second, func() bool { return l.Docker("alice", "exec", "other", "ls", "/data/ready").Code == 0 })
	l.OK("alice", "docker", "pause", "other") // its loop is slow: go on at the host, faster
	os.RemoveAll(filepath.Join(volume, "x"))
	os.RemoveAll(filepath.Join(volume, "sub"))
	os.RemoveAll(filepath.Join(volume, "link"))
	if err := os.Mkdir(filepath.Join(volume, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(volume, "link")); err != nil {
		t.Fatal(err)
	}
	defer exchanging(t, volume, "sub", "link")()
	deadline := time.Now().Add(1500 * time.Millisecond)
	for tries := 0; time.Now().Before(deadline); tries++ {
		for _, path := range []string{"/tmp", "/data/sub", "/data"} {
			rawPut(l, path, archiveOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "sub/", Mode: 0o755}, tar.Header{Typeflag: tar.TypeReg, Name: "sub/new", Mode: 0o4755}))
			if _, got := l.Ask("alice", "GET", "/containers/web/archive?path="+path+"/file", ""); strings.Contains(got, "secret") {
				t.Fatalf("%s gives a file of the host", path)
			}
		}
		mounted, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(mounted), outside) {
			t.Fatalf("try %d: something is mounted on the host, at %s; %v", tries, outside, err)
		}
	}
	if after := listing(t, outside); after != before {
		t.Errorf("the host has\n%s\nit had\n%s", after, before)
	}
	l.OK("alice", "docker", "unpause", "other")
}

// exchanging has two names in a directory exchanged without pause, until the
// function that it returns is called.
func exchanging(t *testing.T, directory, one, other string) (stop func()) {
	t.Helper()
	dir, err := os.Open(directory)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	var swaps sync.WaitGroup
	swaps.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				_ = unix.Renameat2(int(dir.Fd()), one, int(dir.Fd()), other, unix.RENAME_EXCHANGE) // what counts is what comes of it
			}
		}
	})
	return func() {
		close(over)
		swaps.Wait()
		dir.Close()
	}
}

// changingNamesOfItsOwnReachNothing is the same with the container's own files.
// The engine mounts files such as /etc/hosts, whose text is the
// container's to write, for each copy.
func changingNamesOfItsOwnReachNothing(t *testing.T, l *lab.Lab) {
	outside := filepath.Join(l.Root, "outside")
	l.OK("root", "sh", "-c", "mkdir -p "+outside+" && cd "+outside+" && echo secret | tee file hosts hostname resolv.conf")
	defer l.OK("root", "rm", "-rf", outside)
	before := listing(t, outside)
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sh", "-c", "ln -s "+outside+" /link; touch /tmp/file; sleep 1000")
	l.OK("alice", "docker", "run", "-d", "--name", "fixed", "--read-only", "busybox", "sleep", "1000")
	lab.Contains(t, put(l, "docker", archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "new", Mode: 0o644}), "fixed:/").Err, "--read-only")
	merged := l.AtEngine("inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", l.EngineName("alice", "web"))
	l.Eventually("it is there", 30*time.Second, func() bool { return l.Docker("alice", "exec", "web", "ls", "/tmp/file").Code == 0 })
	l.OK("root", "sh", "-c", "cd "+merged+" && cp -a etc own && rm -r etc && mv own etc") // one of the image's can't be exchanged
	defer exchanging(t, merged, "etc", "link")()
	deadline := time.Now().Add(2 * time.Second)
	for tries := 0; time.Now().Before(deadline); tries++ {
		rawPut(l, "/etc", archiveOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "new", Mode: 0o4755}))
		for _, path := range []string{"/etc/file", "/etc", "/link/file", "/link/"} {
			if _, got := l.Ask("alice", "GET", "/containers/web/archive?path="+path, ""); strings.Contains(got, "secret") {
				t.Fatalf("%s gives a file of the host", path)
			}
		}
		mounted, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil || strings.Contains(string(mounted), outside) {
			t.Fatalf("try %d: something is mounted on the host, at %s; %v", tries, outside, err)
		}
	}
	if after := listing(t, outside); after != before {
		t.Errorf("the host has\n%s\nit had\n%s", after, before)
	}
}

// changingNamesGetNothingOfAnImage is the same with a volume that is empty
// again: the engine copies into empty ones what the image of a new container has
// at their place.
func changingNamesGetNothingOfAnImage(t *testing.T, l *lab.Lab) {
	outside := filepath.Join(l.Root, "outside")
	l.OK("root", "mkdir", "-p", outside)
	defer l.OK("root", "rm", "-rf", outside)
	l.AtEngine("run", "--name", "base", "busybox", "sh", "-c", "mkdir /data; cd /data; for i in $(seq 300); do mkdir $i; echo x >$i/evil; done")
	l.AtEngine("commit", "base", "full")
	l.AtEngine("rm", "base")
	defer l.AtEngine("rmi", "full")
	files := func() string {
		return l.OK("alice", "docker", "run", "--rm", "-v", "data:/data", "full", "sh", "-c", "ls /data | wc -l")
	}
	if got := files(); got != "300" {
		t.Errorf("a new volume gets %s of the image's files", got)
	}
	l.OK("alice", "docker", "run", "--rm", "-v", "data:/data", "busybox", "sh", "-c", "rm -r /data/*")
	volume := l.AtEngine("volume", "inspect", "-f", "{{.Mountpoint}}", l.EngineName("alice", "data"))
	stop := make(chan struct{})
	var links sync.WaitGroup
	links.Go(func() { // as soon as a directory is there it is a link
		for {
			select {
			case <-stop:
				return
			default:
			}
			for i := range 300 {
				name := filepath.Join(volume, strconv.Itoa(i+1))
				if os.Rename(name, name+".old") == nil {
					_ = os.Symlink(outside, name) // what counts is what comes of it
				}
			}
		}
	})
	got := files()
	close(stop)
	links.Wait()
	if left := listing(t, outside); got != "0" || strings.Contains(left, "evil") {
		t.Errorf("one that was used gets %s; the host has\n%s", got, left)
	}
}

// changingNamesPutNothingIntoAnImage is the same while the container is
// committed, and compared with its image.
func changingNamesPutNothingIntoAnImage(t *testing.T, l *lab.Lab) {
	secret := filepath.Join(l.Root, "secret")
	l.OK("root", "sh", "-c", "echo secret >"+secret+" && chmod 600 "+secret)
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sh", "-c", "mkdir /own && cd /own && mkdir dir && echo mine12 >file && ln -s "+secret+" link && ln -s /etc dlink; touch /tmp/file; sleep 1000")
	merged := l.AtEngine("inspect", "-f", "{{.GraphDriver.Data.MergedDir}}", l.EngineName("alice", "web"))
	l.Eventually("it is there", 30*time.Second, func() bool { return l.Docker("alice", "exec", "web", "ls", "/tmp/file").Code == 0 })
	defer exchanging(t, filepath.Join(merged, "own"), "file", "link")()
	defer exchanging(t, filepath.Join(merged, "own"), "dir", "dlink")()
	for range 8 {
		l.OK("alice", "docker", "commit", "web", "snap")
		for _, name := range []string{"file", "link"} {
			if got := l.Docker("alice", "run", "--rm", "snap", "cat", "/own/"+name).Out; got != "mine12" && got != "" { // a name that changes at the wrong moment is left out
				t.Fatalf("%s holds %q", name, got)
			}
		}
		for line := range strings.Lines(l.OK("alice", "docker", "diff", "web")) {
			if strings.Contains(line, "/own/dir/") || strings.Contains(line, "/own/dlink/") {
				t.Fatalf("it tells of files of the host: %s", line)
			}
		}
		l.OK("alice", "docker", "rmi", "snap")
	}
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.OK("alice", "docker", "commit", "web", "snap")
	l.OK("alice", "docker", "start", "web")
	for _, name := range []string{"file", "link"} { // a name that changes at the wrong moment is left out
		if got := l.Docker("alice", "run", "--rm", "snap", "cat", "/own/"+name).Out; got != "mine12" && got != "" {
			t.Errorf("in the image of a stopped one %s holds %q", name, got)
		}
	}
	l.OK("alice", "docker", "rmi", "snap")
}

func whoHasAVolumeKeepsIt(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "web", "-v", "data:/data", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "run", "-d", "--name", "other", "-v", "data:/data", "busybox", "sh", "-c", "echo text >/data/f; sleep 1000")
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
	defer feed.Close() // also where the test fails: the daemon waits for it
	feed.Write(whole[:600])
	l.Eventually("the copy goes on", 10*time.Second, func() bool { return l.Docker("alice", "start", "web").Code != 0 })
	if got := l.OK("alice", "docker", "exec", "other", "sh", "-c", "echo more >>/data/f; cat /data/f"); got != "text\nmore" {
		t.Errorf("the other one reads %q", got)
	}
	if got := l.OK("alice", "docker", "run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/f"); got != "text\nmore" {
		t.Errorf("a new one reads %q", got)
	}
	if got := l.OK("alice", "sh", "-c", "docker cp other:/data/f - | tar -xOf -"); got != "text\nmore" {
		t.Errorf("meanwhile the volume gives %q", got)
	}
	feed.Write(whole[600:])
	feed.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := l.OK("alice", "docker", "run", "--rm", "-v", "data:/data", "busybox", "cat", "/data/f"); got != "text\nmore" {
		t.Errorf("afterwards it holds %q", got)
	}
}
