package gateway_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// newVolumeLab is a lab in which alice's container web has volumes at /data and
// /data/a/deep, and a read-only one at /ro. All lie in one directory.
func newVolumeLab(t *testing.T) *lab {
	t.Helper()
	l := newLab(t)
	l.api = "1.42"
	l.volume = t.TempDir()
	a := l.ask(t, alice, "POST", "/v1.41/containers/create?name=web", `{"Image":"busybox","HostConfig":{"Binds":["data:/data","deep:/data/a/deep","ro:/ro:ro","/home/x/w:/data/w"]}}`)
	if a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	l.log.take()
	return l
}

func TestFilesInAVolumeAreCopiedWithoutTheEngine(t *testing.T) {
	l := newVolumeLab(t)
	uid, gid := os.Getuid(), os.Getgid()
	if a := l.put(t, "/data/&noOverwriteDirNonDir=1", "", zipped(t, tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "sub/file", Mode: 0o600, Uid: uid, Gid: gid}))); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if data, err := os.ReadFile(filepath.Join(l.volume, "sub", "file")); err != nil || string(data) != "sub/file" {
		t.Errorf("in the volume is %q, %v", data, err)
	}
	if events := l.log.take(); len(events) != 1 || events[0].Decision != "allowed" {
		t.Errorf("written down is %s", said(events))
	}
	a := l.ask(t, alice, "GET", "/v1.41/containers/web/archive?path=/data/sub/.", "")
	if got := inArchive(t, a.body); a.status != 200 || !slices.Equal(got, []string{"./=", "./file=sub/file"}) || a.header.Get("Content-Type") != "application/x-tar" {
		t.Errorf("%d %v %q", a.status, a.header, got)
	}
	if err := os.Symlink("sub/file", filepath.Join(l.volume, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		name, link string
		mode       os.FileMode
	}{"/data/sub": {"sub", "", os.ModeDir}, "/data": {"data", "", os.ModeDir}, "data/link": {"link", "sub/file", os.ModeSymlink}, "/ro/sub/file": {"file", "", 0}} {
		a := l.ask(t, alice, "HEAD", "/v1.41/containers/web/archive?path="+path, "")
		text, err := base64.StdEncoding.DecodeString(a.header.Get("X-Docker-Container-Path-Stat"))
		if err != nil || a.status != 200 {
			t.Errorf("%s: %d, %v", path, a.status, err)
		}
		var stat struct {
			Name, LinkTarget string
			Mode             os.FileMode
			Mtime            time.Time
		}
		if err := json.Unmarshal(text, &stat); err != nil || stat.Name != want.name || stat.LinkTarget != want.link || stat.Mode.Type() != want.mode || stat.Mtime.IsZero() {
			t.Errorf("%s is %s, %v", path, text, err)
		}
	}
	if len(l.engine.requests) > 0 {
		t.Errorf("the engine was asked %v", l.engine.requests)
	}
}

func TestCopiesToAndFromVolumesThatAreRefused(t *testing.T) {
	l := newVolumeLab(t)
	if err := os.Symlink("/etc", filepath.Join(l.volume, "out")); err != nil {
		t.Fatal(err)
	}
	file := func(name string) []byte { return tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: name}) }
	for _, c := range []struct {
		path    string
		archive []byte
		status  int
		says    string
	}{
		{"/ro", file("x"), 403, "the volume at /ro is mounted read-only"},
		{"/", file("data/x"), 403, "each volume is copied to for itself"},
		{"/data", file("a/deep/x"), 403, "the volume at /data/a/deep"},
		{"/data", file("w/x"), 403, "is your directory /home/x/w"},
		{"/data/w", file("x"), 403, "is your directory /home/x/w"},
		{"/data/none", file("x"), 404, "there is no"},
		{"/data/out", file("x"), 403, "leads out of the volume"},
		{"/data", file("out/x"), 403, "leads out of the volume"},
		{"/data", tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "node"}), 403, "is a device"},
		{"/data", file("whole")[:514], 400, "no whole tar archive"},
	} {
		wantRefusal(t, l.put(t, c.path, "", c.archive), c.status, c.says)
	}
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/containers/web/archive?path=/data/none", ""), 404, "there is no")
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/containers/web/archive?path=/data/out/passwd", ""), 403, "leads out of the volume")
	if a := l.ask(t, alice, "HEAD", "/v1.41/containers/web/archive?path=/data/out/passwd", ""); a.status != 200 {
		t.Errorf("the look before it: %d", a.status)
	}
	if a := l.ask(t, alice, "HEAD", "/v1.41/containers/web/archive?path=/data/none", ""); a.status != 404 {
		t.Errorf("a look at nothing: %d", a.status)
	}
	for _, method := range []string{"GET", "PUT", "HEAD"} {
		if a := l.ask(t, bob, method, "/v1.41/containers/web/archive?path=/data", ""); a.status != 404 {
			t.Errorf("bob's %s: %d", method, a.status)
		}
	}
	l.log.full = true
	wantRefusal(t, l.put(t, "/data", "", file("unwritten")), 503, "audit log")
	left, err := os.ReadDir(l.volume)
	if err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), "x") || e.Name() == "unwritten" }) {
		t.Errorf("the volume holds %v, %v", left, err)
	}
}

// Clients that keep their connection send the next request on it.
func TestACopyLeavesItsConnectionToTheNext(t *testing.T) {
	l := newVolumeLab(t)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", l.sockets[alice])
	}}}
	defer client.CloseIdleConnections()
	whole := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "file", Mode: 0o600, Uid: os.Getuid(), Gid: os.Getgid()})
	for i := range 30 {
		body := io.MultiReader(bytes.NewReader(whole), strings.NewReader(strings.Repeat("\x00", i*1000))) // it ends with as many zeros as tar likes
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://docker/v1.41/containers/web/archive?path=/data", body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || resp.Close {
			t.Fatalf("try %d: %d %s, closed: %t, %v", i, resp.StatusCode, said, resp.Close, err)
		}
	}
}
