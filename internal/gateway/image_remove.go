package gateway

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
)

// imageRemove takes names away, and images that nobody else needs.
func (c *call) imageRemove() error {
	ctx := context.WithoutCancel(c.r.Context())
	steps, err := c.Images.Remove(ctx, c.person(), c.match.Param, curator.Removal{Force: c.truth("force"), KeepParents: c.truth("noprune")})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, c.ownRemoved(steps))
}

// imagePrune removes the caller's images that nothing uses.
func (c *call) imagePrune() error {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return err
	}
	if err := filters.allow("dangling", "label", "label!", "until"); err != nil {
		return err
	}
	all := false
	if want := filters["dangling"]; len(want) > 0 {
		dangling, err := strconv.ParseBool(want[0])
		if err != nil {
			return badFilter("dangling is true or false")
		}
		all = !dangling
	}
	before, err := until(filters["until"])
	if err != nil {
		return err
	}
	want := func(i container.Image, now time.Time) bool {
		return i.CreatedAt.Before(before(now)) && hasLabels(i.Labels, filters["label"], true) && hasLabels(i.Labels, filters["label!"], false)
	}
	steps, bytes, err := c.Images.Prune(context.WithoutCancel(c.r.Context()), c.person(), all, want)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, map[string]any{"ImagesDeleted": c.ownRemoved(steps), "SpaceReclaimed": bytes})
}

// hasLabels reports whether labels have each of the wanted ones, "key" or
// "key=value", or none of them.
func hasLabels(labels map[string]string, wanted []string, each bool) bool {
	return !slices.ContainsFunc(wanted, func(want string) bool {
		key, value, valued := strings.Cut(want, "=")
		got, ok := labels[key]
		return (ok && (!valued || got == value)) != each
	})
}

// until reads the filter of that name: a moment, or how long ago it was. Without
// one nothing is too young.
func until(values []string) (func(now time.Time) time.Time, error) {
	if len(values) == 0 {
		return func(time.Time) time.Time { return time.Unix(1<<40, 0) }, nil
	}
	if ago, err := time.ParseDuration(values[0]); err == nil {
		return func(now time.Time) time.Time { return now.Add(-ago) }, nil
	}
	at, err := moment(values[0])
	return func(time.Time) time.Time { return at }, err
}

func moment(text string) (time.Time, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		return time.Unix(int64(seconds), 0), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, badFilter("until=" + strconv.Quote(text) + " is neither a duration nor a time")
}
