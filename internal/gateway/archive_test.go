package gateway_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// tarOf returns an archive of these entries; files hold their own names.
func tarOf(t *testing.T, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			io.WriteString(w, h.Name)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (l *lab) put(t *testing.T, path, encoding string, archive []byte) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://docker/v1.41/containers/web/archive?path="+path, bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-tar")
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	return l.send(t, alice, r)
}

func zipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// names returns what an archive holds, with the contents of files.
func inArchive(t *testing.T, archive string) []string {
	t.Helper()
	var all []string
	for in := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%v in %q", err, archive)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h.Name+"="+string(data))
	}
}

func TestAnArchiveIsWrittenAnewOnItsWay(t *testing.T) {
	plain := tarOf(t, tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}},
		tar.Header{Typeflag: tar.TypeDir, Name: "dir"}, tar.Header{Typeflag: tar.TypeReg, Name: "BZh9"})
	padded := append(slices.Clone(plain), make([]byte, 10240)...)
	for name, c := range map[string]struct {
		encoding string
		sent     []byte
	}{
		"as it is":             {"", plain},
		"with blocks of zeros": {"", padded},
		"said to be as it is":  {"identity", plain},
		"compressed":           {"", zipped(t, plain)},
		"encoded":              {"gzip", zipped(t, plain)},
		"encoded twice":        {"x-gzip", zipped(t, zipped(t, plain))},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.api = "1.42"
			id := l.create(t, alice)
			l.engine.answers["PUT /containers/"+id+"/archive"] = "{}"
			if a := l.put(t, "/root&noOverwriteDirNonDir=true", c.encoding, c.sent); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			last := len(l.engine.bodies) - 1
			if got := inArchive(t, l.engine.bodies[last]); !slices.Equal(got, []string{"./dir/=", "./BZh9=BZh9"}) {
				t.Errorf("the engine got %q", got)
			}
			if want := "PUT /v1.41/containers/" + id + "/archive?noOverwriteDirNonDir=true&path=%2Froot"; l.engine.last() != want {
				t.Errorf("asked %s", l.engine.last())
			}
			if h := l.engine.headers[last]; h.Get("Content-Type") != "application/x-tar" || h.Get("Content-Encoding") != "" || len(h) != 1 {
				t.Errorf("with %v", h)
			}
		})
	}
}

func TestArchivesThatAreNotReadDontReachTheEngine(t *testing.T) {
	file := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "x"})
	for says, c := range map[string]struct {
		path, encoding string
		sent           []byte
		status         int
	}{
		"compressed by xz":      {"/", "", []byte("\xfd7zXZ\x00rest"), 403},
		"compressed by zstd":    {"/", "", []byte("\x28\xb5\x2f\xfdrest"), 403},
		"compressed by br":      {"/", "br", file, 403},
		"compressed by deflate": {"/", "deflate", file, 403},
		"no whole tar archive":  {"/", "gzip", file, 400},
		"is your directory":     {"/x/../w/y", "", file, 403},
		"/w is your directory":  {"w", "", file, 403},
	} {
		l := newLab(t)
		l.api = "1.42"
		l.create(t, alice)
		wantRefusal(t, l.put(t, c.path, c.encoding, c.sent), c.status, says)
		if len(l.engine.requests) > 0 {
			t.Errorf("%s: the engine was asked %v", says, l.engine.requests)
		}
	}
}

func TestARefusalInMidArchiveEndsItForTheEngineToo(t *testing.T) {
	for says, bad := range map[string]tar.Header{
		"is a device":       {Typeflag: tar.TypeChar, Name: "node"},
		"climbs":            {Typeflag: tar.TypeReg, Name: "../x"},
		"is your directory": {Typeflag: tar.TypeReg, Name: "w/x"},
	} {
		l := newLab(t)
		l.api = "1.42"
		id := l.create(t, alice)
		wantRefusal(t, l.put(t, "/", "", tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "first"}, bad)), 403, says)
		if l.engine.last() != "PUT /v1.41/containers/"+id+"/archive?path=%2F" || strings.Contains(l.engine.bodies[len(l.engine.bodies)-1], bad.Name) {
			t.Errorf("%s: the engine got %q", says, l.engine.bodies)
		}
	}
	l := newLab(t)
	l.api = "1.42"
	l.create(t, alice)
	wantRefusal(t, l.put(t, "/", "", tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "whole"})[:514]), 400, "no whole tar archive")
}

func TestTheEnginesAnswerToAnArchiveIsPassedOn(t *testing.T) {
	l := newLab(t)
	l.api = "1.42"
	id := l.create(t, alice)
	l.engine.answers["PUT /containers/"+id+"/archive"] = `404!{"message":"no such directory in web._.71001"}`
	if a := l.put(t, "/none", "", tarOf(t)); a.status != 404 || a.body != `{"message":"no such directory in web"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	l.engine.answers["GET /containers/"+id+"/archive"] = "archive"
	if a := l.ask(t, alice, "GET", "/v1.41/containers/web/archive?path=/etc", ""); a.status != 200 || a.body != "archive" {
		t.Errorf("%d %s", a.status, a.body)
	}
	for _, method := range []string{"GET", "PUT", "HEAD"} {
		if a := l.ask(t, bob, method, "/v1.41/containers/"+id+"/archive?path=/etc", ""); a.status != 404 {
			t.Errorf("bob's %s: %d %s", method, a.status, a.body)
		}
	}
}

func TestAHiddenPathIsSaidToBeADirectorySoThatTheNextRequestTellsWhy(t *testing.T) {
	l := newLab(t)
	l.api = "1.42"
	l.create(t, alice)
	a := l.ask(t, alice, "HEAD", "/v1.41/containers/web/archive?path=/w/secret", "")
	stat, err := base64.StdEncoding.DecodeString(a.header.Get("X-Docker-Container-Path-Stat"))
	if err != nil || a.status != 200 || !strings.Contains(string(stat), `"name":"secret"`) || !strings.Contains(string(stat), `"size":0`) {
		t.Errorf("%d %s, %v", a.status, stat, err)
	}
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/containers/web/archive?path=/w/secret", ""), 403, "is your directory /home/x/w")
	wantRefusal(t, l.ask(t, alice, "GET", "/v1.41/containers/web/archive", ""), 400, "no path")
	if len(l.engine.requests) > 0 {
		t.Errorf("the engine was asked %v", l.engine.requests)
	}
}

func TestAnEngineThatCopiesUnconfinedIsNotLetToACopy(t *testing.T) {
	l := newLab(t)
	l.create(t, alice)
	asked := len(l.engine.requests)
	for _, method := range []string{"GET", "PUT"} {
		wantRefusal(t, l.ask(t, alice, method, "/v1.41/containers/web/archive?path=/etc", ""), 403, "overlay2")
	}
	if now := l.engine.requests[asked:]; len(now) > 0 {
		t.Errorf("asked %v", now)
	}
}
