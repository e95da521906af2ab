package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/problem"
)

// A loading is an archive of images on its way to the engine, without the
// names in it.
type loading struct {
	uid   int
	names [][]string // of each image, as the engine will write them
	found bool       // the archive has a manifest
	err   error      // why it was cut off
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
			return nil
		},
	}
}

func (l *loading) manifest(data []byte) ([]byte, error) {
	if l.found {
		return nil, unreadable("it has two manifests")
	}
	without, names, err := admission.TakeNames(data)
	if err != nil {
		return nil, err
	}
	l.found = true
	for _, of := range names {
		own := make([]string, len(of))
		for i, name := range of {
			if _, personal := account.ImageOwner(name); personal {
				return nil, unreadable(fmt.Sprintf("%q is a name in a person's own repository", name))
			}
			if own[i], err = curator.OwnName(name, l.uid); err != nil {
				return nil, err
			}
		}
		l.names = append(l.names, own)
	}
	return without, nil
}

// pump copies the archive, and cuts the engine off where it mustn't go on.
func (l *loading) pump(to *io.PipeWriter, from io.Reader) {
	plain, err := uncompressed(from)
	if err == nil {
		err = l.editor().edit(to, plain)
	}
	if _, said := errors.AsType[*problem.Error](err); said {
		l.err = err
	}
	_ = to.CloseWithError(err) // it returns nil
}

// imageLoad loads the caller's archive. The images come without names and are
// theirs before they get some.
func (c *call) imageLoad() error {
	l := &loading{uid: c.who.UID}
	from, to := io.Pipe()
	over := make(chan struct{})
	go func() {
		defer close(over)
		l.pump(to, c.r.Body)
	}()
	resp, err := c.upload("/images/load", c.only("quiet", "platform"), from)
	_ = from.Close() // an engine that answers has read what it wants; it returns nil
	<-over
	if err == nil {
		defer resp.Body.Close() //nolint:errcheck // read below
	}
	if l.err != nil || err != nil {
		return cmp.Or(l.err, err)
	}
	var ids []string
	c.follow(resp, func(doc []byte) []byte {
		loaded := loadedIDs(doc)
		ids = append(ids, loaded...)
		if len(loaded) > 0 {
			return nil // told below, by name
		}
		return doc
	})
	return c.late(c.christen(ids, l.names))
}

var loadedID = regexp.MustCompile(`Loaded image ID: (sha256:[0-9a-f]{64})`)

func loadedIDs(doc []byte) (ids []string) {
	var said struct{ Stream string }
	if json.Unmarshal(doc, &said) != nil {
		return nil
	}
	for _, m := range loadedID.FindAllStringSubmatch(said.Stream, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// christen makes images that were loaded the caller's and names them.
func (c *call) christen(ids []string, names [][]string) error {
	ctx := context.WithoutCancel(c.r.Context())
	for _, id := range ids {
		if err := c.keep(ctx, id, "", container.ByLoad); err != nil {
			return err
		}
	}
	if len(ids) == 0 {
		return nil // the engine has said why
	}
	if len(ids) != len(names) {
		return fmt.Errorf("%d images of %d were loaded: they are yours, without names", len(ids), len(names))
	}
	for i, id := range ids {
		for _, name := range names[i] {
			if err := c.Images.Adorn(ctx, id, name); err != nil {
				return err
			}
			c.say("Loaded image: " + account.OwnImage(name, c.who.UID))
		}
		if len(names[i]) == 0 {
			c.say("Loaded image ID: " + id)
		}
	}
	return nil
}

// say tells a line of text in a stream of the engine's shape.
func (c *call) say(line string) {
	doc, err := json.Marshal(map[string]string{"stream": line + "\n"})
	if err == nil {
		c.tell(doc)
	}
}
