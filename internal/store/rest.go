package store

import (
	"encoding/json"
	"time"

	"ds01.dev/ds01/internal/container"
)

// rest is what of a record nothing is looked up by. A key that is left out is
// the zero value, so that a new one needs no migration.
type rest struct {
	Wishes *container.Wishes `json:"wishes,omitempty"`
	Killed *container.Kill   `json:"killed,omitempty"`
	Lasts  time.Duration     `json:"lasts,omitempty"`
}

func restOf(c container.Record) rest { return rest{Wishes: c.Wishes, Killed: c.Killed, Lasts: c.Lasts} }

func readRest(data []byte, c *container.Record) error {
	var r rest
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	c.Wishes, c.Killed, c.Lasts = r.Wishes, r.Killed, r.Lasts
	return nil
}
