package audit

import (
	"slices"
	"time"

	"ds01.dev/ds01/internal/event"
)

// Select returns the last events, limit at most, since a moment that match,
// oldest first. Lines that are no events are left out; Verify finds them.
func (l *Log) Select(since time.Time, limit int, match func(event.Event) bool) ([]event.Event, error) {
	var found []event.Event
	err := Unmoved(func() ([]string, error) { return Files(l.path) }, func(files []string) error {
		found = nil
		for _, path := range slices.Backward(files) {
			events, older, err := matching(path, since, match)
			if err != nil {
				return err
			}
			found = append(events, found...)
			if older || len(found) >= limit {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found[max(0, len(found)-limit):], nil
}

// matching returns the events of one file that match; older says that it
// begins before since.
func matching(path string, since time.Time, match func(event.Event) bool) (found []event.Event, older bool, err error) {
	err = eachLine(path, func(line event.Line) bool {
		e, err := event.Parse(line.Text)
		switch {
		case err != nil:
		case e.Time.Before(since):
			older = true
		case match(e):
			found = append(found, e)
		}
		return true
	})
	return found, older, err
}
