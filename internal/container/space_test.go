package container_test

import (
	"errors"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

func TestRoomIsWhatNeedntStayFree(t *testing.T) {
	const gib = quantity.ByteSize(1 << 30)
	of := func(free quantity.ByteSize) container.Space {
		return container.Space{Known: true, Total: 100 * gib, Free: free, Keep: 10 * gib}
	}
	for name, c := range map[string]struct {
		space container.Space
		more  quantity.ByteSize
		why   string // "" where there is room
	}{
		"just enough":              {of(10 * gib), 0, ""},
		"a byte too few":           {of(10*gib - 1), 0, "the engine's disk has 9.9GiB free, and 10GiB must stay free"},
		"enough for more":          {of(15 * gib), 5 * gib, ""},
		"not enough for more":      {of(15 * gib), 6 * gib, "has 15GiB free, this takes 6GiB, and 10GiB must stay free"},
		"more than there ever was": {of(15 * gib), 1 << 62, "must stay free"},
		"nothing is left":          {of(0), 0, "has 0B free"},
		"nothing must stay free":   {container.Space{Known: true}, 0, ""},
		"nothing is known":         {container.Space{Keep: 10 * gib}, 1 << 62, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.space.Room("Image x not pulled", c.more)
			if c.why == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			lines := problem.Lines(err)
			if !errors.Is(err, problem.ErrExhausted) || len(lines) != 3 || lines[0] != "Image x not pulled" || !strings.Contains(lines[1], c.why) {
				t.Errorf("got %q", lines)
			}
		})
	}
}
