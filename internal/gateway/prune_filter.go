package gateway

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/problem"
)

// A pruneFilter says which of the caller's things a prune takes.
type pruneFilter struct {
	until   time.Time // what was made before; zero is any time
	with    []string  // labels that it has, "key" or "key=value"
	without []string  // labels that it lacks
}

// pruneFilters reads the filters of a prune: those that each kind has, and
// others of these keys as they are.
func (c *call) pruneFilters(others ...string) (pruneFilter, filterSet, error) {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return pruneFilter{}, nil, err
	}
	if err := filters.allow(append(others, "label", "label!")...); err != nil {
		return pruneFilter{}, nil, err
	}
	until, err := pruneUntil(filters["until"], c.Now())
	return pruneFilter{until: until, with: filters["label"], without: filters["label!"]}, filters, err
}

// takes reports whether something made at that time, with these labels, passes.
func (f pruneFilter) takes(created time.Time, labels map[string]string) bool {
	has := func(want string) bool {
		key, value, valued := strings.Cut(want, "=")
		have, ok := labels[key]
		return ok && (!valued || have == value)
	}
	lacks := func(want string) bool { return !has(want) }
	return (f.until.IsZero() || created.Before(f.until)) && !slices.ContainsFunc(f.with, lacks) && !slices.ContainsFunc(f.without, has)
}

// pruneUntil reads the filter until: a time, or how long before now. It is
// zero where there is none.
func pruneUntil(values []string, now time.Time) (time.Time, error) {
	switch len(values) {
	case 0:
		return time.Time{}, nil
	case 1:
	default:
		return time.Time{}, badFilter("more than one until filter")
	}
	text := values[0]
	if d, err := time.ParseDuration(text); err == nil && text != "0" { // that is 1970
		return now.Add(-d), nil
	}
	if t, ok := unixTime(text); ok {
		return t, nil
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02T15Z07:00", "2006-01-02Z07:00",
		"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02T15", "2006-01-02",
	} {
		if t, err := time.ParseInLocation(layout, text, now.Location()); err == nil {
			return t, nil
		}
	}
	return time.Time{}, &problem.Error{
		What: "Nothing pruned", Why: problem.Because(problem.ErrInvalid, fmt.Sprintf("until: %q is neither a time nor a duration", text)),
		Next: "Write it as 24h, or as 2030-05-17T12:00:00Z.",
	}
}

// unixTime reads seconds since 1970, with a fraction or without.
func unixTime(text string) (t time.Time, ok bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	nanos, err := strconv.ParseUint((fraction + "000000000")[:9], 10, 32)
	return time.Unix(seconds, int64(nanos)), err == nil
}
