package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/quantity"
)

// room refuses what would leave too little of the engine's disk free.
func (c *call) room(what string, more quantity.ByteSize) error { return c.Space().Room(what, more) }

// lookEvery is how many bytes of a stream go on between two looks at the disk.
// What the engine unpacks may become a thousand times as much there.
const lookEvery = 64 << 10

// An inflow is a client's stream on its way to the engine, which ends when the
// disk has too little room. It is safe for one reader, and for those who ask
// what became of it.
type inflow struct {
	from io.Reader
	look func() error // whether there is room for more

	mu     sync.Mutex
	read   quantity.ByteSize
	next   quantity.ByteSize // when to look again
	whole  bool
	full   error
	broken error
}

func (i *inflow) Read(p []byte) (int, error) {
	if err := i.looked(); err != nil {
		return 0, err
	}
	n, err := i.from.Read(p[:min(len(p), lookEvery)])
	i.mu.Lock()
	defer i.mu.Unlock()
	i.read += quantity.ByteSize(n)
	if errors.Is(err, io.EOF) {
		i.whole = true
	} else if err != nil {
		i.broken = err
	}
	return n, err
}

func (i *inflow) looked() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.full == nil && i.read >= i.next {
		i.next = i.read + lookEvery
		i.full = i.look()
	}
	return i.full
}

// end tells whether all of it was read, and else why it was cut off, or what is
// wrong with it.
func (i *inflow) end() (whole bool, full, broken error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.whole, i.full, i.broken
}

// drainFor is how long a client may go on sending what nobody wants.
const drainFor = 30 * time.Second

// drain reads what the client has yet to send: many look at an answer only when
// they have sent everything, and take a connection that ends before for a
// failure.
func (c *call) drain() {
	if http.NewResponseController(c.w).SetReadDeadline(c.Now().Add(drainFor)) == nil {
		_, _ = io.Copy(io.Discard, c.r.Body) // whether it ends or not, the answer is the same
	}
}

// written returns what a container has written, which a commit takes once more.
// It isn't asked where nothing comes of it.
func (c *call) written(record container.Record) (quantity.ByteSize, error) {
	if !c.Space().Known {
		return 0, nil
	}
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/containers/"+record.ContainerID+"/json", url.Values{"size": {"1"}}, nil)
	if err != nil {
		return 0, err
	}
	var doc struct{ SizeRw int64 }
	if err := json.Unmarshal(data, &doc); err != nil {
		return 0, fmt.Errorf("read the engine's answer: %w", err)
	}
	return quantity.ByteSize(doc.SizeRw), nil
}
