package sampler

import (
	"fmt"
	"sync"
	"time"

	"ds01.dev/ds01/internal/problem"
)

// patience is how long the kernel may take to tell what one container did to
// disks. Where it counts for processes, it waits for one that is about to run
// another program, and that one may wait for a file server which is gone.
const patience = time.Second

// disks reads what goes to disks, of all groups but those that it still waits for.
type disks struct {
	groups Groups

	mu      sync.Mutex
	overdue map[string]bool // by group
}

// read returns what Groups.Transferred does, or after patience an error of kind
// problem.ErrUnavailable.
func (d *disks) read(group string) (map[uint64]int64, error) {
	if d.late(group) {
		return nil, slow(group)
	}
	type answer struct {
		bytes map[uint64]int64
		err   error
	}
	answers := make(chan answer)
	given := make(chan struct{})
	go func() { // ends when the kernel answers; there is one at most for a group
		bytes, err := d.groups.Transferred(group)
		select {
		case answers <- answer{bytes, err}:
		case <-given:
			d.arrived(group)
		}
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case a := <-answers:
		return a.bytes, a.err
	case <-late.C:
	}
	d.wait(group)
	close(given)
	return nil, slow(group)
}

func slow(group string) error {
	return problem.Because(problem.ErrUnavailable, fmt.Sprintf("the kernel has not told for %s what group %s did to disks", patience, group))
}

func (d *disks) late(group string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.overdue[group]
}

func (d *disks) wait(group string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.overdue == nil {
		d.overdue = map[string]bool{}
	}
	d.overdue[group] = true
}

func (d *disks) arrived(group string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.overdue, group)
}
