package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/recorder"
)

const notLoaded = "Images not loaded"

// A loading is an archive of images on its way to the engine, with marks in
// the place of the names in it.
type loading struct {
	uid    int
	begin  func(names [][]string) (container.Making, error)
	room   func(more quantity.ByteSize) error
	scale  scale            // of what is in the archive
	making container.Making // of the archive's images, once found
	found  bool             // the archive has a manifest
	whole  bool             // all of it went on
	err    error            // why it was cut off
}

// editor takes the names out of an archive and keeps those of the manifest.
func (l *loading) editor() editor {
	return editor{
		documents: map[string]func([]byte) ([]byte, error){
			admission.Manifest:     l.manifest,
			admission.Repositories: func([]byte) ([]byte, error) { return nil, nil },
			admission.Index:        admission.TakeIndexNames,
		},
		end: func() error {
			if !l.found {
				return unreadable("it has no manifest.json")
			}
			return l.roomToUnpack()
		},
		scale: &l.scale,
	}
}

func (l *loading) manifest(data []byte) ([]byte, error) {
	if l.found {
		return nil, unreadable("it has two manifests")
	}
	marked, err := admission.ChangeNames(data, func(names [][]string) ([]string, error) {
		own, err := l.own(names)
		if err != nil {
			return nil, err
		}
		if l.making, err = l.begin(own); err != nil {
			return nil, err
		}
		marks := make([]string, len(own))
		for i := range own {
			marks[i] = curator.Mark(l.making, i)
		}
		return marks, nil
	})
	l.found = err == nil
	return marked, err
}

// own returns the names that the images get.
func (l *loading) own(names [][]string) ([][]string, error) {
	all := make([][]string, len(names))
	for i, of := range names {
		for _, name := range of {
			if _, personal := account.ImageOwner(name); personal {
				return nil, unreadable(fmt.Sprintf("%q is a name in a person's own repository", name))
			}
			own, err := curator.OwnName(name, l.uid)
			if err != nil {
				return nil, err
			}
			all[i] = append(all[i], own)
		}
	}
	return all, nil
}

// roomToUnpack looks whether there is room for what is in the archive beside
// itself, of which the engine keeps what it has got until it has unpacked all.
func (l *loading) roomToUnpack() error { return l.room(l.scale.weight()) }

// copy copies the archive.
func (l *loading) copy(to io.Writer, from io.Reader) error {
	plain, err := uncompressed(from)
	if err != nil {
		return err
	}
	in := &inflow{from: plain, look: l.roomToUnpack}
	err = l.editor().edit(to, in)
	if _, full, _ := in.end(); full != nil {
		err = full
	}
	return err
}

// pump has the archive copied, and cuts the engine off where it mustn't go on.
func (l *loading) pump(to *io.PipeWriter, copied func(to io.Writer) error) {
	err := copied(to)
	if _, said := errors.AsType[*problem.Error](err); said {
		l.err = err
	}
	l.whole = err == nil
	_ = to.CloseWithError(err) // it returns nil
}

// imageLoad loads the caller's archive. The images are theirs before they get
// their names.
func (c *call) imageLoad() error {
	ctx := context.WithoutCancel(c.r.Context())
	if err := c.room(notLoaded, 0); err != nil {
		c.drain()
		return err
	}
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	l := &loading{uid: c.who.UID, begin: func(names [][]string) (container.Making, error) {
		return c.Images.Begin(ctx, c.who.UID, container.ByLoad, names...)
	}}
	l.room = func(more quantity.ByteSize) error { return c.room(notLoaded, more) }
	from, to := io.Pipe()
	over := make(chan struct{})
	go func() {
		defer close(over)
		l.pump(to, func(to io.Writer) error {
			return c.guard(ctx, brokenBy(notLoaded), func() error { return l.copy(to, c.r.Body) })
		})
	}()
	resp, err := c.upload("/images/load", c.only("quiet", "platform"), from)
	_ = from.Close() // an engine that answers has read what it wants; it returns nil
	<-over
	if err == nil {
		defer resp.Body.Close() //nolint:errcheck // read below
	}
	if l.err != nil {
		c.drain()
	}
	switch failed := cmp.Or(l.err, err); {
	case failed != nil && l.making.ID == "":
		return failed
	case failed != nil && !l.whole: // the engine loads whole archives only
		return c.unmade(ctx, l.making, failed)
	case failed != nil:
		_, err = c.made(ctx, l.making, failed)
		return err
	}
	var ids []string
	err = c.follow(resp, func(doc []byte) []byte {
		named, loaded := loadedIDs(doc)
		ids = append(ids, loaded...)
		if named || len(loaded) > 0 {
			return nil // told below, by name
		}
		return doc
	})
	return c.late(c.christen(ctx, l.making, ids, err))
}

var loadedID = regexp.MustCompile(`Loaded image ID: (sha256:[0-9a-f]{64})`)

// loadedIDs reads what the engine says of an image that it has loaded: by its
// name, or by its id where it found none.
func loadedIDs(doc []byte) (named bool, ids []string) {
	var said struct{ Stream string }
	if json.Unmarshal(doc, &said) != nil {
		return false, nil
	}
	for _, m := range loadedID.FindAllStringSubmatch(said.Stream, -1) {
		ids = append(ids, m[1])
	}
	return strings.HasPrefix(said.Stream, "Loaded image: "), ids
}

// christen ends a loading, and tells the images by their names. An engine that
// reads no names where the marks are has told their ids.
func (c *call) christen(ctx context.Context, m container.Making, ids []string, failed error) error {
	if m.ID == "" { // it has told what is wrong with the archive
		return failed
	}
	for i, id := range ids[:min(len(ids), len(m.Wanted))] {
		if err := c.Images.Put(ctx, m, i, id); err != nil {
			return err
		}
	}
	images, err := c.made(ctx, m, failed)
	for i, id := range images {
		for _, wanted := range m.Wanted[i] {
			if id != "" {
				c.say("Loaded image: " + account.OwnImage(wanted.Name, c.who.UID))
			}
		}
		if id != "" && len(m.Wanted[i]) == 0 {
			c.say("Loaded image ID: " + id)
		}
	}
	return err
}

// say tells a line of text in a stream of the engine's shape.
func (c *call) say(line string) {
	doc, err := json.Marshal(map[string]string{"stream": line + "\n"})
	if err == nil {
		c.tell(doc)
	}
}
