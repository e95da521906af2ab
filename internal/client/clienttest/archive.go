package clienttest

import (
	"archive/tar"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path"

	"ds01.dev/ds01/internal/problem"
)

// folders are the directories that every container has.
func folders(name string) bool { return name == "/" || name == "/opt" }

// archive answers HEAD and GET about a file that was copied into a container.
func (f *Fake) archive(w http.ResponseWriter, r *http.Request) {
	name, at := f.name(r.PathValue("id")), r.FormValue("path")
	f.mu.Lock()
	data, there := f.files[name+":"+at]
	f.mu.Unlock()
	mode := os.FileMode(0o644)
	switch {
	case name == "" || !there && !folders(at):
		dockerError(w, &problem.Error{What: "Could not find the file " + at, Why: problem.ErrNotFound})
		return
	case folders(at):
		mode = os.ModeDir | 0o755
	}
	stat, _ := json.Marshal(map[string]any{"name": path.Base(at), "size": len(data), "mode": mode}) // it always encodes
	w.Header().Set("X-Docker-Container-Path-Stat", base64.StdEncoding.EncodeToString(stat))
	if r.Method == http.MethodGet {
		out := tar.NewWriter(w)
		_ = out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: path.Base(at), Mode: 0o644, Size: int64(len(data))}) // see reply
		_, _ = out.Write(data)
		_ = out.Close()
	}
}

// extract keeps the files of an archive.
func (f *Fake) extract(w http.ResponseWriter, r *http.Request) {
	name := f.name(r.PathValue("id"))
	for in := tar.NewReader(r.Body); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			dockerError(w, err)
			return
		}
		data, err := io.ReadAll(in)
		if err != nil {
			dockerError(w, err)
			return
		}
		f.mu.Lock()
		if f.files == nil {
			f.files = map[string][]byte{}
		}
		f.files[name+":"+path.Join(r.FormValue("path"), h.Name)] = data //nolint:gosec // a key, no file
		f.mu.Unlock()
	}
}
