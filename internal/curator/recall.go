package curator

import "ds01.dev/ds01/internal/container"

// A question is what somebody calls an image.
type question struct {
	uid       int
	admin     bool
	reference string
}

// maxRecalled bounds for how many questions the answer is remembered.
const maxRecalled = 256

// Recall returns what Find returned last for the same, unless ds01 has changed
// since what names mean, or who may use what. It may be out of date: who goes by it
// asks Find beside that, and lets nothing come of it where the answers differ.
func (c *Curator) Recall(p Person, reference string) (i container.Image, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, known = c.recalled[question{p.UID, p.Admin, reference}]
	return i, known
}

func (c *Curator) remember(p Person, reference string, i container.Image, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	of := question{p.UID, p.Admin, reference}
	if err != nil {
		delete(c.recalled, of)
		return
	}
	if len(c.recalled) >= maxRecalled {
		clear(c.recalled)
	}
	c.recalled[of] = i
}

// Renamed has nothing recalled: names may mean something else from now on.
func (c *Curator) Renamed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.recalled)
}
