package sim

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"ds01.dev/ds01/internal/gpu"
)

// SetHealth says what a card tells of its state until a reset.
func (d *Driver) SetHealth(cardUUID string, change func(*gpu.Health)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.card(cardUUID)
	if err != nil {
		return err
	}
	change(&c.health)
	return d.save()
}

// Strike lets an error happen on a card or instance: who watches is told. Its
// number below 1 is ErrInvalid. As with NVIDIA's driver, nothing else of it is
// kept.
func (d *Driver) Strike(uuid string, xid int) error {
	if xid < 1 {
		return invalid("no error on "+uuid, fmt.Sprintf("%d is no XID", xid), "")
	}
	d.mu.Lock()
	c, _, err := d.device(uuid)
	watchers := slices.Collect(maps.Values(d.watchers))
	d.mu.Unlock()
	if err != nil {
		return err
	}
	for _, tell := range watchers {
		tell(gpu.Fault{Card: c.uuid, Device: uuid, XID: xid})
	}
	return nil
}

// Watch tells of each error from now on, and returns when ctx ends.
func (d *Driver) Watch(ctx context.Context, tell func(gpu.Fault)) error {
	d.mu.Lock()
	d.watches++
	me := d.watches
	d.watchers[me] = tell
	d.mu.Unlock()
	<-ctx.Done()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.watchers, me)
	return nil
}
