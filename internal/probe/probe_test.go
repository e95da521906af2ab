package probe

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/safety"
)

// folder is one that everybody may enter: a test's own isn't.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ds01t-probe-") //nolint:usetesting // the test's own is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	os.Chmod(dir, 0o755)
	return dir
}

// serve answers on a socket as a handler says, or with bytes.
func serve(t *testing.T, path string, mode os.FileMode, h http.Handler, raw string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	if h != nil {
		go http.Serve(l, h)
		return
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				head := make([]byte, 3)
				if io.ReadFull(conn, head); string(head) == "PRI" {
					io.WriteString(conn, raw)
				}
			}()
		}
	}()
}

func TestSocketsThatLeadPastDs01AreFound(t *testing.T) {
	docker := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/_ping" {
			w.Header().Set("Api-Version", "1.41")
		}
	})
	other := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	dir := folder(t)
	serve(t, filepath.Join(dir, "open.sock"), 0o666, docker, "")
	serve(t, filepath.Join(dir, "a/b/c/deep.sock"), 0o666, docker, "")
	serve(t, filepath.Join(dir, "ours.sock"), 0o666, docker, "")
	serve(t, filepath.Join(dir, "web.sock"), 0o666, other, "")
	serve(t, filepath.Join(dir, "silent.sock"), 0o666, nil, "")
	serve(t, filepath.Join(dir, "containerd/containerd.sock"), 0o666, nil, settings)
	serve(t, filepath.Join(dir, "containerd/other.sock"), 0o666, nil, "junk")
	serve(t, filepath.Join(dir, "systemd/engine.sock"), 0o666, docker, "")
	want := []string{"Docker's API at a/b/c/deep.sock", "Docker's API at open.sock", "containerd at containerd/containerd.sock"}
	if os.Geteuid() == 0 { // to root, what a mode closes is open
		serve(t, filepath.Join(dir, "root.sock"), 0o600, docker, "")
		serve(t, filepath.Join(dir, "closed/in.sock"), 0o666, docker, "")
		os.Chmod(filepath.Join(dir, "closed"), 0o700)
		serve(t, filepath.Join(dir, "person.sock"), 0o600, docker, "")
		os.Chown(filepath.Join(dir, "person.sock"), 12345, 12345)
		want = append(want, "Docker's API at person.sock")
	}
	if err := os.Symlink(filepath.Join(dir, "ours.sock"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range Sockets(t.Context(), dir, filepath.Join(dir, "link")) {
		got = append(got, s.Speaks+" at "+strings.TrimPrefix(s.Where, dir+"/"))
		if s.OpenTo == "" {
			t.Errorf("%+v doesn't say to whom", s)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("found %q\nwant  %q", got, want)
	}
}

func TestOpenToSaysWho(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root, who tells for others")
	}
	dir := folder(t)
	serve(t, filepath.Join(dir, "all"), 0o666, http.NotFoundHandler(), "")
	serve(t, filepath.Join(dir, "owner"), 0o600, http.NotFoundHandler(), "")
	os.Chown(filepath.Join(dir, "owner"), 12345, 0)
	serve(t, filepath.Join(dir, "group"), 0o660, http.NotFoundHandler(), "")
	os.Chown(filepath.Join(dir, "group"), 0, 54321) // a group of nobody
	for name, want := range map[string]string{"all": "everybody", "owner": "its owner, uid 12345", "group": "", "none": ""} {
		if got := openTo(t.Context(), filepath.Join(dir, name)); got != want {
			t.Errorf("%s is open to %q, want %q", name, got, want)
		}
	}
}

func TestFixesAreReadFromAChangelog(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	io.WriteString(w, "runc (1.1.5) * Fix CVE-2024-21626, CVE-2023-1\n  * CVE-2024-21626 again, CVE-2019-5736")
	w.Close()
	name := filepath.Join(t.TempDir(), "changelog.gz")
	os.WriteFile(name, packed.Bytes(), 0o600)
	if got := fixes(name); !slices.Equal(got, []string{"CVE-2019-5736", "CVE-2024-21626"}) {
		t.Errorf("read %q", got)
	}
	os.WriteFile(name, []byte("no gzip"), 0o600)
	if got := fixes(name) == nil && fixes(name+"x") == nil; !got {
		t.Error("something is read where nothing is")
	}
}

func TestHostReadsWhatThereIs(t *testing.T) {
	f := Host(t.Context(), folder(t))
	if f.MaxKeys < 1 || len(f.Sockets) > 0 {
		t.Errorf("%+v", f)
	}
	for _, check := range safety.Judge(f) {
		if check.Detail == "" {
			t.Errorf("%+v says nothing", check)
		}
	}
	if got := Members(t.Context(), "no-such-group"); got != nil {
		t.Errorf("members of no group: %q", got)
	}
}

func TestADiskIsAsLargeAsItIs(t *testing.T) {
	total, free, err := Disk(t.TempDir())
	if err != nil || free <= 0 || total <= free {
		t.Errorf("%s of %s are free, %v", free, total, err)
	}
	if _, _, err := Disk("/no/such/folder"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
