package archiver_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/archiver"
	"ds01.dev/ds01/internal/problem"
)

var when = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)

// A place is a directory with a tree in it and a secret beside that.
type place struct {
	t    *testing.T
	dir  string // the tree's
	tree *archiver.Tree
}

func newPlace(t *testing.T, ids archiver.IDs) place {
	t.Helper()
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	dir := filepath.Join(outside, "_data")
	must(t, os.Mkdir(dir, 0o755))
	root, err := os.OpenRoot(dir)
	must(t, err)
	tree := archiver.New(root, "/data", ids)
	t.Cleanup(func() { tree.Close() })
	return place{t, dir, tree}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("must run as root")
	}
	t.Skip("must run as root")
}

func (p place) write(name string, keepKinds bool, entries ...tar.Header) error {
	p.t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		must(p.t, w.WriteHeader(&h))
		if h.Typeflag == tar.TypeReg {
			w.Write([]byte("text"))
		}
	}
	must(p.t, w.Close())
	return p.tree.Write(&b, name, keepKinds)
}

// read returns the entries of an archive, "name text" each.
func (p place) read(name, as string, follow bool) ([]string, map[string]*tar.Header, error) {
	p.t.Helper()
	var b bytes.Buffer
	if err := p.tree.Read(&b, name, as, follow); err != nil {
		return nil, nil, err
	}
	var all []string
	headers := map[string]*tar.Header{}
	for in := tar.NewReader(&b); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all, headers, nil
		}
		must(p.t, err)
		data, err := io.ReadAll(in)
		must(p.t, err)
		all = append(all, strings.TrimSpace(h.Name+" "+h.Linkname+string(data)))
		headers[h.Name] = h
	}
}

func file(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o640, ModTime: when, Uid: os.Getuid(), Gid: os.Getgid()}
}

func like(h tar.Header, kind byte, link string) tar.Header {
	h.Typeflag, h.Linkname = kind, link
	return h
}

func TestSomeIDsAreThemselves(t *testing.T) {
	needRoot(t)
	p := newPlace(t, archiver.IDs{Base: 100000, Size: 65536, Users: []int{1001, 1512345678}, Groups: []int{27}})
	for name, owners := range map[string][4]int{"own": {1001, 27, 1001, 27}, "far": {1512345678, 0, 1512345678, 100000}, "other": {27, 1001, 100027, 101001}} {
		h := file(name)
		h.Uid, h.Gid = owners[0], owners[1]
		must(t, p.write(".", false, h))
		info, err := os.Stat(filepath.Join(p.dir, name))
		must(t, err)
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != owners[2] || int(st.Gid) != owners[3] {
			t.Errorf("%s is %d:%d's on the host, want %v", name, st.Uid, st.Gid, owners[2:])
		}
		_, headers, err := p.read(name, "x", false)
		must(t, err)
		if got := headers["x"]; got.Uid != h.Uid || got.Gid != h.Gid {
			t.Errorf("%s is read as %d:%d's, want %d:%d", name, got.Uid, got.Gid, h.Uid, h.Gid)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	needRoot(t)
	p := newPlace(t, archiver.IDs{Base: 100000, Size: 65536})
	suid := file("./dir/suid")
	suid.Mode, suid.Uid, suid.Gid = 0o4750, 5, 6
	must(t, p.write(".", false, like(file("./dir/"), tar.TypeDir, ""), suid, like(file("./link"), tar.TypeSymlink, "dir/suid"),
		like(file("./hard"), tar.TypeLink, "dir/suid"), like(file("./pipe"), tar.TypeFifo, ""), file("./made/by/the/way")))
	got, headers, err := p.read(".", "data", false)
	must(t, err)
	want := []string{"data/", "data/dir/", "data/dir/suid text", "data/hard data/dir/suid", "data/link dir/suid", "data/made/", "data/made/by/", "data/made/by/the/", "data/made/by/the/way text", "data/pipe"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if h := headers["data/dir/suid"]; h.Mode != 0o4750 || h.Uid != 5 || h.Gid != 6 || !h.ModTime.Equal(when) || h.Uname != "" {
		t.Errorf("the file is %+v", h)
	}
	for _, name := range []string{"data/dir/", "data/link", "data/pipe"} {
		if h := headers[name]; !h.ModTime.Equal(when) || h.Uid != 0 {
			t.Errorf("%s is %+v", name, h)
		}
	}
	info, err := os.Stat(filepath.Join(p.dir, "dir", "suid"))
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 100005 || st.Gid != 100006 || info.Mode()&os.ModeSetuid == 0 {
		t.Errorf("on the host it is %d:%d's, %v", st.Uid, st.Gid, info.Mode())
	}
	if h := headers["data/made/by/"]; h.Uid != 0 {
		t.Errorf("what was made on the way is %+v", h)
	}
	for _, id := range []int{-1, 65536} {
		bad := file("x")
		bad.Uid = id
		if err := p.write(".", false, bad); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("the user %d: %v", id, err)
		}
	}
	must(t, os.Lchown(filepath.Join(p.dir, "pipe"), 3, 3))
	if _, headers, err = p.read("pipe", "x", false); err != nil || headers["x"].Uid != 65534 {
		t.Errorf("a file of nobody's in the container: %+v, %v", headers["x"], err)
	}
}

func TestStatAndLinks(t *testing.T) {
	p := newPlace(t, archiver.IDs{})
	must(t, p.write(".", false, file("dir/file"), like(file("near"), tar.TypeSymlink, "dir"), like(file("own"), tar.TypeSymlink, "/data/dir/"),
		like(file("self"), tar.TypeSymlink, "/data"), like(file("up"), tar.TypeSymlink, "../secret"), like(file("other"), tar.TypeSymlink, "/etc"), like(file("loop"), tar.TypeSymlink, "loop")))
	for name, c := range map[string]struct {
		follow bool
		link   string
		kind   error
	}{
		"near": {false, "dir", nil}, "near/file": {false, "", nil}, "own/file": {false, "", nil}, "self/self/near/file": {false, "", nil}, "own": {true, "", nil},
		"none": {false, "", problem.ErrNotFound}, "dir/file/x": {false, "", problem.ErrNotFound}, "none/x": {true, "", problem.ErrNotFound},
		"up": {true, "", problem.ErrDenied}, "other/passwd": {false, "", problem.ErrDenied}, "up/x": {true, "", problem.ErrDenied}, "../secret": {false, "", problem.ErrDenied},
		"loop": {false, "loop", nil}, "loop/x": {false, "", unix.ELOOP},
	} {
		info, link, err := p.tree.Stat(name, c.follow)
		if !errors.Is(err, c.kind) || link != c.link || err == nil && info == nil {
			t.Errorf("%s: %v, %q, %v", name, info, link, err)
		}
	}
	for _, name := range []string{"near", "own", "self/own"} {
		if got, _, err := p.read(name, "x", true); err != nil || !slices.Equal(got, []string{"x/", "x/file text"}) {
			t.Errorf("%s is read as %q, %v", name, got, err)
		}
		if got, _, err := p.read(name, "x", false); err != nil || len(got) != 1 {
			t.Errorf("the link %s is read as %q, %v", name, got, err)
		}
		must(t, p.write(name, false, file("./new")))
		must(t, os.Remove(filepath.Join(p.dir, "dir", "new")))
	}
}

func TestNothingIsWrittenOutside(t *testing.T) {
	for name, entries := range map[string][]tar.Header{
		"a climbing name":       {file("../new")},
		"through a link":        {like(file("l"), tar.TypeSymlink, ".."), file("l/new")},
		"through a root's link": {like(file("l"), tar.TypeSymlink, "/"), file("l/tmp/ds01t-new")},
		"by a hard link":        {like(file("l"), tar.TypeSymlink, ".."), like(file("h"), tar.TypeLink, "l/secret")},
		"a device":              {like(file("d"), tar.TypeChar, "")},
	} {
		p := newPlace(t, archiver.IDs{})
		if err := p.write(".", false, entries...); err == nil {
			t.Errorf("%s: taken", name)
		}
		left, err := os.ReadDir(filepath.Dir(p.dir))
		data, rerr := os.ReadFile(filepath.Join(filepath.Dir(p.dir), "secret"))
		if err != nil || rerr != nil || len(left) != 2 || string(data) != "secret" {
			t.Errorf("%s: outside are %v, %q", name, left, data)
		}
	}
}

func TestWhatIsThereIsReplacedInItsKind(t *testing.T) {
	p := newPlace(t, archiver.IDs{})
	must(t, p.write(".", true, file("file"), file("dir/old"), like(file("link"), tar.TypeSymlink, "file")))
	must(t, p.write(".", true, file("file"), like(file("dir"), tar.TypeDir, ""), file("link")))
	if got, _, err := p.read(".", ".", false); err != nil || !slices.Equal(got, []string{"./", "./dir/", "./dir/old text", "./file text", "./link text"}) {
		t.Errorf("there is %q, %v", got, err)
	}
	for name, h := range map[string]tar.Header{"directory": file("dir"), "file": like(file("file"), tar.TypeDir, "")} {
		if err := p.write(".", true, h); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("a %s changes its kind: %v", name, err)
		}
		must(t, p.write(".", false, h))
	}
	if err := p.write("none", false); !errors.Is(err, problem.ErrNotFound) {
		t.Errorf("to nowhere: %v", err)
	}
	if err := p.write("dir", false); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("into a file: %v", err)
	}
}

func TestADeepTreeIsRefused(t *testing.T) {
	p := newPlace(t, archiver.IDs{})
	dir, err := os.OpenRoot(p.dir)
	must(t, err)
	for range 1002 {
		must(t, dir.Mkdir("d", 0o755))
		below, err := dir.OpenRoot("d")
		must(t, err)
		dir.Close()
		dir = below
	}
	dir.Close()
	if _, _, err := p.read(".", ".", false); err == nil {
		t.Error("it is read")
	}
}

// Names change between directories, files, pipes and links to the outside
// while all is read and written.
func TestNamesThatChangeLeadNowhere(t *testing.T) {
	p := newPlace(t, archiver.IDs{})
	must(t, p.write(".", false, file("a/secret"), like(file("b"), tar.TypeSymlink, ".."), like(file("c"), tar.TypeFifo, ""), file("d")))
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			for _, pair := range [][2]string{{"a", "b"}, {"b", "c"}, {"a", "d"}} {
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(p.dir, pair[0]), unix.AT_FDCWD, filepath.Join(p.dir, pair[1]), unix.RENAME_EXCHANGE)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		for _, name := range []string{".", "a", "a/secret"} {
			got, _, err := p.read(name, "x", true)
			if err == nil && strings.Contains(strings.Join(got, " "), "secretsecret") || slices.Contains(got, "x secret") || slices.Contains(got, "x/secret secret") {
				t.Fatalf("read %q", got)
			}
			_ = p.write(name, false, file("secret"), file("new")) // what counts is what comes of it
		}
	}
	close(stop)
	<-stopped
	left, err := os.ReadDir(filepath.Dir(p.dir))
	data, rerr := os.ReadFile(filepath.Join(filepath.Dir(p.dir), "secret"))
	if err != nil || rerr != nil || len(left) != 2 || string(data) != "secret" {
		t.Errorf("outside are %v, %q", left, data)
	}
}

// everything is a place whose tree is all that whoever sees it knows, with
// something mounted in it.
func everything(t *testing.T) place {
	t.Helper()
	p := newPlace(t, archiver.IDs{})
	must(t, os.MkdirAll(filepath.Join(p.dir, "etc/dir/below"), 0o755))
	for name, text := range map[string]string{"etc/hosts": "", "etc/passwd": "users"} {
		must(t, os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644))
	}
	must(t, os.Symlink("/../etc/passwd", filepath.Join(p.dir, "absolute")))
	must(t, os.Symlink("../../etc/passwd", filepath.Join(p.dir, "etc/climbing")))
	must(t, os.Symlink("/../secret", filepath.Join(p.dir, "out")))
	root, err := os.OpenRoot(p.dir)
	must(t, err)
	p.tree = archiver.New(root, "", archiver.IDs{}).WithPoints(map[string]string{"etc/hosts": filepath.Join(p.dir, "../secret"), "etc/dir/below": ""})
	t.Cleanup(func() { p.tree.Close() })
	return p
}

func TestNoLinkLeadsOutOfEverything(t *testing.T) {
	p := everything(t)
	for _, name := range []string{"absolute", "etc/climbing"} {
		if got, _, err := p.read(name, "as", true); err != nil || !slices.Equal(got, []string{"as users"}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if got, _, err := p.read("out", "as", true); !errors.Is(err, problem.ErrNotFound) || !strings.Contains(err.Error(), "in the container") {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestWhatIsMountedIsReadAndNotReplaced(t *testing.T) {
	needRoot(t)
	p := everything(t)
	if got, _, err := p.read("etc/hosts", "hosts", false); err != nil || !slices.Equal(got, []string{"hosts secret"}) {
		t.Errorf("got %v, %v", got, err)
	}
	if got, _, err := p.read("etc", "etc", false); err != nil || !slices.Contains(got, "etc/hosts secret") || !slices.Contains(got, "etc/passwd users") {
		t.Errorf("got %v, %v", got, err)
	}
	if info, _, err := p.tree.Stat("etc/hosts", false); err != nil || info.Size() != int64(len("secret")) {
		t.Errorf("got %v, %v", info, err)
	}
	for name, h := range map[string]tar.Header{
		"a file in its place":              file("etc/hosts"),
		"a link in its place":              like(file("etc/hosts"), tar.TypeSymlink, "passwd"),
		"a file in a directory's place":    file("etc/dir/below"),
		"a file below it":                  file("etc/dir/below/new"),
		"a file in place of what is above": file("etc/dir"),
		"a file in place of everything":    file("etc"),
	} {
		if err := p.write(".", false, h); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, p.write(".", false, like(file("etc/dir/below/"), tar.TypeDir, ""), file("etc/dir/new"), file("etc/passwd")))
	if got, _, err := p.read("etc", "etc", false); err != nil || !slices.Contains(got, "etc/dir/new text") || !slices.Contains(got, "etc/passwd text") || !slices.Contains(got, "etc/hosts secret") {
		t.Errorf("got %v, %v", got, err)
	}
}
