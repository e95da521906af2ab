package dockertest

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"ds01.dev/ds01/internal/container"
)

// AddImage makes an image known by its id and names, which other images lose.
func (e *Engine) AddImage(i container.Image) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range i.Names {
		e.untag(name)
	}
	e.images[i.ID] = i
}

// whole returns a name as the engine writes it.
func whole(name string) string {
	for _, prefix := range []string{"index.", "docker.io/", "library/"} {
		name = strings.TrimPrefix(name, prefix)
	}
	if !strings.Contains(name[strings.LastIndex(name, "/")+1:], ":") {
		name += ":latest"
	}
	return name
}

// findImage looks an image up by a name, else by its id or the beginning of it.
func (e *Engine) findImage(reference string) (container.Image, error) {
	var found []container.Image
	for _, i := range e.images {
		if slices.Contains(i.Names, whole(reference)) || slices.Contains(i.Names, reference) {
			return i, nil
		}
		if strings.HasPrefix(i.ID, reference) || strings.HasPrefix(i.ID, "sha256:"+reference) {
			found = append(found, i)
		}
	}
	if len(found) != 1 {
		return container.Image{}, refuse(http.StatusNotFound, "No such image: "+reference)
	}
	return found[0], nil
}

// untag takes a name away from whichever image has it.
func (e *Engine) untag(name string) {
	for id, i := range e.images {
		i.Names = slices.DeleteFunc(slices.Clone(i.Names), func(n string) bool { return n == name })
		e.images[id] = i
	}
}

// Image returns a local image by name or id.
func (e *Engine) Image(_ context.Context, reference string) (i container.Image, err error) {
	err = e.call("Image", reference, func() (err error) {
		i, err = e.findImage(reference)
		return err
	})
	return i, err
}

// Images returns every image, newest first.
func (e *Engine) Images(context.Context) (all []container.Image, err error) {
	err = e.call("Images", "", func() error {
		all = slices.SortedFunc(maps.Values(e.images), func(a, b container.Image) int {
			if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
				return c
			}
			return strings.Compare(a.ID, b.ID)
		})
		return nil
	})
	return all, err
}

// TagImage gives an image one more name.
func (e *Engine) TagImage(_ context.Context, id, name string) error {
	return e.call("TagImage", id+" "+name, func() error {
		i, err := e.findImage(id)
		if err != nil {
			return err
		}
		e.untag(whole(name))
		i = e.images[i.ID]
		i.Names = append(slices.Clone(i.Names), whole(name))
		e.images[i.ID] = i
		e.send(container.Event{Kind: container.KindImage, ID: i.ID, Action: "tag"})
		return nil
	})
}

// RemoveImage takes a name away, and the image with its last one.
func (e *Engine) RemoveImage(_ context.Context, reference string, force bool) (removed []container.Removed, err error) {
	err = e.call("RemoveImage", reference, func() (err error) {
		removed, err = e.removeImage(reference, force)
		return err
	})
	return removed, err
}

func (e *Engine) removeImage(reference string, force bool) (removed []container.Removed, err error) {
	i, err := e.findImage(reference)
	if err != nil {
		return nil, err
	}
	stopped, running := e.using(i.ID)
	byName := slices.Contains(i.Names, whole(reference))
	switch {
	case running || stopped && !force:
		if !byName || !force && len(i.Names) == 1 {
			return nil, refuse(http.StatusConflict, "conflict: unable to remove "+reference+": a container uses it")
		}
	case !byName && len(i.Names) > 1 && !force:
		return nil, refuse(http.StatusConflict, "conflict: unable to delete "+reference+" (must be forced) - image is referenced in multiple repositories")
	}
	names := i.Names
	if byName {
		names = []string{whole(reference)}
	}
	for _, name := range names {
		e.untag(name)
		removed = append(removed, container.Removed{Untagged: name})
	}
	if len(e.images[i.ID].Names) > 0 || running {
		return removed, nil
	}
	for _, child := range e.images {
		if child.Parent == i.ID {
			return nil, refuse(http.StatusConflict, "conflict: unable to delete "+reference+" (cannot be forced) - image has dependent child images")
		}
	}
	delete(e.images, i.ID)
	return append(removed, container.Removed{Deleted: i.ID}), nil
}

// using tells whether containers use an image, those that run apart.
func (e *Engine) using(id string) (stopped, running bool) {
	for _, c := range e.containers {
		stopped = stopped || c.ImageID == id && !c.Running()
		running = running || c.ImageID == id && c.Running()
	}
	return stopped, running
}
