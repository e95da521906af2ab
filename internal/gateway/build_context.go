package gateway

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

// ownDockerfile is the file in the context that the engine reads: one that ds01
// writes after all others, so that nothing in the context is in its place. The
// name stays the same, so that the cache of what copies the whole context holds.
const ownDockerfile = ".ds01-dockerfile"

// ignoreFile names what isn't copied from a context; the engine takes the
// Dockerfile and this file itself out of the context if it names them.
const ignoreFile = ".dockerignore"

// usualDockerfiles are the names of the Dockerfile where the client names none.
func usualDockerfiles() []string { return []string{"Dockerfile", "dockerfile"} }

// A contextWriter writes the context of a build anew, entry by entry. The
// Dockerfile and what is to be ignored are kept until the end.
type contextWriter struct {
	out   *tar.Writer
	names []string // which of them is the Dockerfile, the first that is there
	links map[string]bool
	kept  map[string]*keptFile // by name
	buf   []byte
}

// A keptFile is a small file of the context. Its header is nil where there is
// something of that name that is no file.
type keptFile struct {
	header *tar.Header
	data   []byte
}

// writeContext writes the client's context for the engine, and at its end the
// Dockerfile, reviewed. What that builds on is found or fetched then.
func (b *building) writeContext(ctx context.Context, to io.Writer) error {
	plain, err := uncompressedContext(b.r.Body)
	if err != nil {
		return err
	}
	in := &inflow{from: plain, look: func() error { return b.room(notBuilt, 0) }}
	w := &contextWriter{out: tar.NewWriter(to), names: usualDockerfiles(), links: map[string]bool{}, kept: map[string]*keptFile{}, buf: make([]byte, 64<<10)}
	if b.ask.Dockerfile != "" && b.ask.Dockerfile != usualDockerfiles()[0] {
		w.names = []string{b.ask.Dockerfile}
	}
	err = w.copy(in)
	if _, full, _ := in.end(); full != nil {
		return full
	}
	if err != nil {
		return err
	}
	text, err := w.dockerfile()
	if err != nil {
		return err
	}
	ours, err := b.recipe(ctx, text)
	if err != nil {
		return err
	}
	return w.finish(ours, b.Recipes)
}

// uncompressedContext returns a context without its compression.
func uncompressedContext(body io.Reader) (io.Reader, error) {
	plain, err := inflated(body)
	if err != nil {
		return nil, badContext(err.Error())
	}
	return plain, nil
}

func badContext(why string) error {
	return &problem.Error{
		What: notBuilt, Why: problem.Because(problem.ErrInvalid, "the context can't be read: "+why),
		Next: "Send a tar archive of a folder, as it is or compressed with gzip or bzip2: 'docker build FOLDER' does.",
	}
}

func (w *contextWriter) copy(from io.Reader) error {
	for in := tar.NewReader(from); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return badContext(err.Error())
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			continue // it names no file, and the engine skips it as well
		}
		if err := w.entry(in, h); err != nil {
			return err
		}
	}
	// What follows the archive's end is the client's to send, and nobody's to read.
	if _, err := io.CopyN(io.Discard, from, trailer); err != nil && !errors.Is(err, io.EOF) {
		return badContext(err.Error())
	}
	return nil
}

// entry writes one entry, or keeps it for the end.
func (w *contextWriter) entry(in io.Reader, h *tar.Header) error {
	ours, err := admission.ReviewContextEntry(h)
	if err != nil {
		return err
	}
	name := path.Clean(ours.Name)
	if err := w.check(name, h); err != nil {
		return err
	}
	if w.keeps(name) {
		return w.keep(name, ours, in)
	}
	if target, ok := w.kept[path.Clean(ours.Linkname)]; ok && ours.Typeflag == tar.TypeLink && target.header != nil {
		return w.write(copyOf(target, ours.Name))
	}
	if err := w.out.WriteHeader(ours); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := io.CopyBuffer(w.out, struct{ io.Reader }{in}, w.buf); err != nil {
		return fmt.Errorf("copy %s: %w", name, err)
	}
	return nil
}

// check refuses an entry in the place of ours, and one behind a link, which may
// lie anywhere.
func (w *contextWriter) check(name string, h *tar.Header) error {
	if name == ownDockerfile {
		return badContext(fmt.Sprintf("%q is a name of ds01's", h.Name))
	}
	if name == "." && h.Typeflag != tar.TypeDir {
		return badContext("its root is no directory")
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if w.links[dir] {
			return badContext(fmt.Sprintf("the entry %q lies behind a link", h.Name))
		}
	}
	delete(w.links, name)
	if h.Typeflag == tar.TypeSymlink || h.Typeflag == tar.TypeLink {
		w.links[name] = true
	}
	return nil
}

func (w *contextWriter) keeps(name string) bool {
	return name == ignoreFile || slices.Contains(w.names, name)
}

// keep reads a small file. A link in its place stays a link, and isn't read.
func (w *contextWriter) keep(name string, ours *tar.Header, in io.Reader) error {
	if ours.Typeflag == tar.TypeLink {
		if target, ok := w.kept[path.Clean(ours.Linkname)]; ok && target.header != nil {
			w.kept[name] = copyOf(target, ours.Name)
			return nil
		}
	}
	if ours.Typeflag != tar.TypeReg {
		if name == ignoreFile {
			return badContext(ignoreFile + " is no file")
		}
		w.kept[name] = &keptFile{}
		if err := w.out.WriteHeader(ours); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(in, admission.MaxBody+1))
	if err != nil {
		return badContext(err.Error())
	}
	if len(data) > admission.MaxBody {
		return badContext(fmt.Sprintf("%s has more than %d bytes", name, admission.MaxBody))
	}
	w.kept[name] = &keptFile{ours, data}
	return nil
}

// copyOf returns a kept file under another name.
func copyOf(f *keptFile, name string) *keptFile {
	header := *f.header
	header.Name = name
	return &keptFile{&header, f.data}
}

func (w *contextWriter) write(f *keptFile) error {
	if err := w.out.WriteHeader(f.header); err != nil {
		return fmt.Errorf("write %s: %w", f.header.Name, err)
	}
	if _, err := w.out.Write(f.data); err != nil {
		return fmt.Errorf("write %s: %w", f.header.Name, err)
	}
	return nil
}

// dockerfile returns the text that the person builds by.
func (w *contextWriter) dockerfile() ([]byte, error) {
	for _, name := range w.names {
		f, ok := w.kept[name]
		switch {
		case !ok:
			continue
		case f.header == nil:
			return nil, badContext(name + " is no file but a link or a directory; name the file with -f")
		}
		return f.data, nil
	}
	return nil, &problem.Error{
		What: notBuilt, Why: problem.Because(problem.ErrInvalid, "Cannot locate specified Dockerfile: "+w.names[0]),
		Next: "Name it with -f; it lies in the folder that is built.",
	}
}

// finish writes what was kept, and the Dockerfile that the engine reads. That
// is left out of the context again by the engine, which takes out what a
// .dockerignore names of these two files; what else it would have taken out is
// left out here.
func (w *contextWriter) finish(ours []byte, recipes Dockerfiles) error {
	ignore := w.kept[ignoreFile]
	for _, name := range w.names {
		f, ok := w.kept[name]
		if !ok || f.header == nil {
			continue
		}
		if ignore != nil && name == w.read() {
			if ignored, err := recipes.Ignored(ignore.data, name); err != nil {
				return err
			} else if ignored {
				continue
			}
		}
		if err := w.write(f); err != nil {
			return err
		}
	}
	list := []byte(ignoreFile) // one that isn't there for people isn't there for their steps
	header := &tar.Header{Typeflag: tar.TypeReg, Mode: 0o644}
	if ignore != nil {
		list, header = ignore.data, ignore.header
	}
	header.Name = "./" + ignoreFile
	list = bytes.Join([][]byte{list, []byte(ownDockerfile), nil}, []byte("\n"))
	header.Size = int64(len(list))
	if err := w.write(&keptFile{header, list}); err != nil {
		return err
	}
	err := w.write(&keptFile{&tar.Header{Typeflag: tar.TypeReg, Name: "./" + ownDockerfile, Mode: 0o644, Size: int64(len(ours))}, ours})
	if err == nil {
		err = w.out.Close()
	}
	if err != nil {
		return fmt.Errorf("end the context: %w", err)
	}
	return nil
}

// read returns the name of the Dockerfile that was read.
func (w *contextWriter) read() string {
	for _, name := range w.names {
		if w.kept[name] != nil {
			return name
		}
	}
	return ""
}
