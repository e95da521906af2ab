package limits

import (
	"cmp"
	"slices"
	"time"

	"ds01.dev/ds01/internal/account"
)

// A Change is one value that differs between two documents for one person.
type Change struct {
	User   string // login name
	Key    string // as in the limits file, or "group"
	Before string
	After  string
}

// Diff returns what changes for whom when after replaces before at the moment
// now: sorted by login name, the group first, then in the order of Values. A
// value that comes from another rule but stays the same is no change.
func Diff(before, after *Document, accounts []account.Account, now time.Time) []Change {
	var changes []Change
	sorted := slices.SortedStableFunc(slices.Values(accounts), func(a, b account.Account) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	for _, a := range sorted {
		was, is := before.Resolve(a, now), after.Resolve(a, now)
		if was.Group != is.Group {
			changes = append(changes, Change{User: a.Name, Key: "group", Before: was.Group, After: is.Group})
		}
		now := is.Values()
		for i, v := range was.Values() {
			if v.Text != now[i].Text {
				changes = append(changes, Change{User: a.Name, Key: v.Key, Before: v.Text, After: now[i].Text})
			}
		}
	}
	return changes
}
