// Package curator knows whose each image is and what people call it: it finds
// what a reference means to somebody, shows names in their words, and takes
// an image away only once nobody else needs it. What the store says about
// owners counts, and names in people's own repositories, which nobody else
// can write; labels never do.
package curator

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"ds01.dev/ds01/internal/container"
)

// Store keeps owners and names over restarts.
type Store interface {
	Images(ctx context.Context) ([]container.ImageOwner, error)
	OwnImage(ctx context.Context, o container.ImageOwner) error
	DisownImage(ctx context.Context, image string, uid int) error
	ImageNames(ctx context.Context) ([]container.ImageName, error)
	SaveImageName(ctx context.Context, n container.ImageName) error
	DeleteImageName(ctx context.Context, name string) error
	Makings(ctx context.Context) ([]container.Making, error)
	SaveMaking(ctx context.Context, m container.Making) error
	DeleteMaking(ctx context.Context, id string) error
}

// Engine has the images, and the containers that run them.
type Engine interface {
	Image(ctx context.Context, reference string) (container.Image, error)
	Images(ctx context.Context) ([]container.Image, error)
	TagImage(ctx context.Context, id, name string) error
	RemoveImage(ctx context.Context, reference string, force bool) ([]container.Removed, error)
	List(ctx context.Context) ([]container.Observed, error)
}

// Ledger tells whose a container is.
type Ledger interface {
	ByContainer(id string) (container.Record, bool)
}

// A Person is who asks.
type Person struct {
	UID   int
	Admin bool // sees and removes everybody's

	since int // names returned until they began to look, and 1; 0: they look at what is now
}

// Curator is one engine's. It is safe for concurrent use.
type Curator struct {
	engine Engine // without marks
	marked Engine // with them
	store  Store
	ledger Ledger
	now    func() time.Time

	naming sync.Mutex // held while names change at the engine: what was looked up still holds

	mu       sync.Mutex                        // also held while any of it is stored: the store says the same
	owners   map[string][]container.ImageOwner // by image
	names    map[string]container.ImageName    // by name: shared and lent ones
	returned []container.ImageName             // lent names that were taken back, in order: a few for each push
	former   map[string][]int                  // by image: who owned it, for events that are yet to come
	makings  map[string]making                 // by id
	recalled map[question]container.Image      // what was found lately
}

// New loads what the store knows.
func New(ctx context.Context, store Store, engine Engine, ledger Ledger, now func() time.Time) (*Curator, error) {
	c := &Curator{
		engine: unmarked{engine}, marked: engine, store: store, ledger: ledger, now: now,
		owners: map[string][]container.ImageOwner{}, names: map[string]container.ImageName{}, former: map[string][]int{},
		makings: map[string]making{}, recalled: map[question]container.Image{},
	}
	owners, err := store.Images(ctx)
	if err != nil {
		return nil, err
	}
	for _, o := range owners {
		c.owners[o.Image] = append(c.owners[o.Image], o)
	}
	names, err := store.ImageNames(ctx)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		c.names[n.Name] = n
	}
	makings, err := store.Makings(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range makings {
		c.makings[m.ID] = making{Making: m}
	}
	return c, nil
}

// Own notes that somebody made an image, by whichever way. Who owns it already
// goes on owning it.
func (c *Curator) Own(ctx context.Context, image string, uid int, how string) error {
	o := container.ImageOwner{Image: image, UID: uid, How: how, Since: c.now().UTC()}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.store.OwnImage(ctx, o); err != nil {
		return err
	}
	if !owned(c.owners[image], uid) {
		c.owners[image] = append(c.owners[image], o)
	}
	return nil
}

// maxFormer bounds what is remembered of images that are gone; their events
// come within a moment.
const maxFormer = 1000

// wasOwned reports whether an image was somebody's a moment ago.
func (c *Curator) wasOwned(image string, uid int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.former[image], uid)
}

// disown forgets that an image is somebody's.
func (c *Curator) disown(ctx context.Context, image string, uid int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.recalled)
	if err := c.store.DisownImage(ctx, image, uid); err != nil {
		return err
	}
	if len(c.former) > maxFormer {
		clear(c.former)
	}
	c.former[image] = append(c.former[image], uid)
	c.owners[image] = slices.DeleteFunc(slices.Clone(c.owners[image]), func(o container.ImageOwner) bool { return o.UID == uid })
	if len(c.owners[image]) == 0 {
		delete(c.owners, image)
	}
	return nil
}

func owned(owners []container.ImageOwner, uid int) bool {
	return slices.ContainsFunc(owners, func(o container.ImageOwner) bool { return o.UID == uid })
}

// Owners returns who made an image, the first first; none for one that was
// pulled.
func (c *Curator) Owners(image string) []container.ImageOwner {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.owners[image])
}

// Owns reports whether somebody made an image.
func (c *Curator) Owns(image string, uid int) bool { return owned(c.Owners(image), uid) }

// note keeps what a name means from now on.
func (c *Curator) note(ctx context.Context, n container.ImageName) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.store.SaveImageName(ctx, n); err != nil {
		return err
	}
	c.names[n.Name] = n
	return nil
}

// forget drops what a name meant.
func (c *Curator) forget(ctx context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.recalled)
	n, known := c.names[name]
	if !known {
		return nil
	}
	if err := c.store.DeleteImageName(ctx, name); err != nil {
		return err
	}
	if n.Kind == container.NameLent {
		c.returned = append(c.returned, n)
	}
	delete(c.names, name)
	return nil
}

// looking returns p as somebody who asks the engine from now on: a name that is
// lent now, and isn't any more when the engine's answer is read, was still lent
// when the engine gave it.
func (c *Curator) looking(p Person) Person {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.since = 1 + len(c.returned)
	return p
}

// lentTo returns the names that are lent, or were since p began to look.
func (c *Curator) lentTo(p Person) []container.ImageName {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lent []container.ImageName
	for _, n := range c.names {
		if n.Kind == container.NameLent {
			lent = append(lent, n)
		}
	}
	if p.since > 0 {
		lent = append(lent, c.returned[p.since-1:]...)
	}
	return lent
}

// Named brings what is known of a name in step with the engine: once it stands
// for another image it is shared no longer, also when it comes back.
func (c *Curator) Named(ctx context.Context, name, image string) error {
	if n, ok := c.meaning(name); ok && n.Image != image {
		return c.forget(ctx, name)
	}
	return nil
}

func (c *Curator) meaning(name string) (container.ImageName, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.names[name]
	return n, ok
}

// kept returns every name that is shared or lent.
func (c *Curator) kept() []container.ImageName {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.names))
}

// users returns whose containers use each image; one that ds01 doesn't know
// counts as root's.
func (c *Curator) users(ctx context.Context) (map[string][]int, error) {
	list, err := c.engine.List(ctx)
	if err != nil {
		return nil, err
	}
	users := map[string][]int{}
	for _, o := range list {
		record, _ := c.ledger.ByContainer(o.ID)
		users[o.ImageID] = append(users[o.ImageID], record.UID)
	}
	return users, nil
}
