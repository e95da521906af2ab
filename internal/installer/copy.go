package installer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"ds01.dev/ds01/internal/quantity"
	"ds01.dev/ds01/internal/takeover"
)

// remappedRoot is what an engine that remaps calls its folder in the one that
// it is told.
var remappedRoot = regexp.MustCompile(`/[0-9]+\.[0-9]+$`)

// copyImages copies what is in the folder that the engine has left to the one
// that it has now. A second engine opens the former meanwhile. What was copied
// before stays, so that it goes on where it was cut off.
func (i *Installer) copyImages(ctx context.Context) (err error) {
	to, err := i.Engine(i.at(i.wish.Engine))
	if err != nil {
		return err
	}
	defer to.Close() //nolint:errcheck // what it said was heard
	info, err := to.Info(ctx)
	if err != nil {
		return err
	}
	settings, err := i.look(takeover.Daemon)
	if err != nil {
		return err
	}
	socket, stop, err := i.Spare(ctx, Spare{
		Folder: remappedRoot.ReplaceAllString(info.DataRoot, ""), Storage: info.Storage, Remap: !info.Remapped, Settings: settings.Text,
	})
	if err != nil {
		return fmt.Errorf("open the folder that the engine has left: %w", err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	from, err := i.Engine(socket)
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was only asked
	if err := i.await(ctx, func(ctx context.Context) error {
		_, err := from.Info(ctx)
		return err
	}); err != nil {
		return fmt.Errorf("the engine for the folder that was left: %w", err)
	}
	return i.copyAll(ctx, from, to, i.at(info.DataRoot))
}

// copyAll copies images that are at one engine and not at the other, and sees
// that they are there.
func (i *Installer) copyAll(ctx context.Context, from, to Engine, root string) error {
	missing, err := lacks(ctx, from, to)
	if err != nil || len(missing) == 0 {
		return err
	}
	layers, err := from.LayerBytes(ctx)
	if err != nil {
		return err
	}
	room, err := free(root)
	if err != nil {
		return fmt.Errorf("room in %s: %w", root, err)
	}
	done := 0
	for _, batch := range takeover.Batches(missing, (room-layers)/2) { // it is packed, and unpacked, beside what it becomes
		i.tell(fmt.Sprintf("images %d–%d of %d: %s", done+1, done+len(batch), len(missing), named(batch)))
		if err := i.copyBatch(ctx, from, to, batch); err != nil {
			return err
		}
		done += len(batch)
	}
	if missing, err = lacks(ctx, from, to); err == nil && len(missing) > 0 {
		err = fmt.Errorf("images have other ids or names where they were copied to: %s", named(missing))
	}
	return err
}

// telling is how often one is told how far a copy is.
const telling = 10 * time.Second

func (i *Installer) copyBatch(ctx context.Context, from, to Engine, batch []takeover.Image) error {
	var references []string
	for _, one := range batch {
		references = append(references, one.References()...)
	}
	archive, err := from.SaveImages(ctx, references)
	if err != nil {
		return err
	}
	defer archive.Close() //nolint:errcheck // read to its end, or given up
	c := &counter{Reader: archive}
	ticker := time.NewTicker(telling)
	defer ticker.Stop()
	loaded := make(chan error, 1)
	go func() { loaded <- to.LoadImages(ctx, c) }()
	for {
		select {
		case err := <-loaded:
			return err
		case <-ticker.C:
			i.tell("copied so far: " + quantity.ByteSize(c.n.Load()).Rounded())
		}
	}
}

// A counter counts what is read.
type counter struct {
	io.Reader
	n atomic.Int64
}

// Read counts what it reads.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func (i *Installer) tell(text string) {
	if i.Tell != nil {
		i.Tell(text)
	}
}

// named names images for people: the first few.
func named(all []takeover.Image) string {
	const most = 5
	var names []string
	for _, one := range all[:min(most, len(all))] {
		names = append(names, one.References()[0])
	}
	if len(all) > most {
		names = append(names, "…")
	}
	return strings.Join(names, ", ")
}

// lacks returns the images of one engine that another doesn't have under the
// same id and all their names, in order.
func lacks(ctx context.Context, from, to Engine) ([]takeover.Image, error) {
	theirs, err := images(ctx, to)
	if err != nil {
		return nil, err
	}
	all, err := images(ctx, from)
	return slices.DeleteFunc(all, func(one takeover.Image) bool {
		return slices.ContainsFunc(theirs, func(other takeover.Image) bool {
			return other.ID == one.ID && !slices.ContainsFunc(one.Names, func(n string) bool { return !slices.Contains(other.Names, n) })
		})
	}), err
}

// images returns an engine's images in order. Names by digest can't be copied.
func images(ctx context.Context, e Engine) ([]takeover.Image, error) {
	there, err := e.Images(ctx)
	var all []takeover.Image
	for _, one := range there {
		names := slices.DeleteFunc(slices.Clone(one.Names), func(n string) bool { return strings.Contains(n, "@") })
		slices.Sort(names)
		all = append(all, takeover.Image{ID: one.ID, Names: names, Bytes: one.Size})
	}
	slices.SortFunc(all, func(a, b takeover.Image) int { return strings.Compare(a.References()[0], b.References()[0]) })
	return all, err
}
