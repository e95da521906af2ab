package api

import (
	"strconv"
	"time"

	"ds01.dev/ds01/internal/event"
	"ds01.dev/ds01/internal/problem"
)

// Audit reads the audit log.
type Audit interface {
	// Select returns the last events, limit at most, since a moment that
	// match, oldest first.
	Select(since time.Time, limit int, match func(event.Event) bool) ([]event.Event, error)
}

// maxEvents is how many events one answer holds at most.
const maxEvents = 10000

// audit shows what was asked and decided.
func (c *call) audit() error {
	query := c.r.URL.Query()
	since := time.Time{}
	if text := query.Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return badQuery("since", text, "an RFC 3339 time")
		}
	}
	limit := maxEvents
	if text := query.Get("limit"); text != "" {
		var err error
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxEvents {
			return badQuery("limit", text, "a number from 1 to "+strconv.Itoa(maxEvents))
		}
	}
	of, denied := query.Get("of"), query.Get("denied") == "true"
	events, err := c.Audit.Select(since, limit, func(e event.Event) bool {
		return (of == "" || e.User == of || e.Owner == of) && (!denied || e.Decision == event.Denied)
	})
	if err != nil {
		return &problem.Error{What: "Audit log not shown", Why: problem.Because(problem.ErrUnavailable, err.Error()), Next: "Look at its folder; 'ds01 doctor' tells whether it can be written."}
	}
	if events == nil {
		events = []event.Event{}
	}
	return c.answer(events)
}

func badQuery(key, text, want string) error {
	return &problem.Error{What: "Audit log not shown", Why: problem.Because(problem.ErrInvalid, key+" is "+strconv.Quote(text)+", not "+want)}
}
