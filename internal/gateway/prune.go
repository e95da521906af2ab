package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// prune removes those of the caller's containers that don't run and pass the
// filters, one by one. Administrators, too, prune their own.
func (c *call) prune() error {
	want, _, err := c.pruneFilters("until")
	if err != nil {
		return err
	}
	rows, err := c.ownRows([]string{"created", "exited", "dead"})
	if err != nil {
		return err
	}
	pruned := struct {
		ContainersDeleted []string
		SpaceReclaimed    int64
	}{ContainersDeleted: []string{}}
	for _, row := range rows {
		if !want.takes(time.Unix(row.Created, 0), row.Labels) {
			continue
		}
		freed, err := c.pruneOne(row.ID)
		if errors.Is(err, errKept) {
			continue
		}
		if err != nil {
			return err
		}
		pruned.ContainersDeleted = append(pruned.ContainersDeleted, row.ID)
		pruned.SpaceReclaimed += freed
	}
	return c.json(http.StatusOK, pruned)
}

// An ownRow is one of the caller's containers, as far as prunes and counts look
// at it.
type ownRow struct {
	ID      string `json:"Id"`
	State   string
	Created int64
	Labels  map[string]string
}

// ownRows returns the caller's containers in these states, in all if there are
// none, oldest first.
func (c *call) ownRows(states []string) ([]ownRow, error) {
	filters := filterSet{"id": c.ownIDs(nil)}
	if len(filters["id"]) == 0 {
		return nil, nil
	}
	if len(states) > 0 {
		filters["status"] = states
	}
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/containers/json", url.Values{"all": {"1"}, "filters": {filters.encode()}}, nil)
	if err != nil {
		return nil, err
	}
	var rows []ownRow
	if err := json.Unmarshal(data, &rows); err != nil {
		return nil, fmt.Errorf("read the engine's list: %w", err)
	}
	rows = slices.DeleteFunc(rows, func(r ownRow) bool { return !slices.Contains(filters["id"], r.ID) })
	slices.SortFunc(rows, func(a, b ownRow) int { return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.ID, b.ID)) })
	return rows, nil
}

// errKept says that a container wasn't pruned: it was started meanwhile, or is
// gone.
var errKept = errors.New("kept")

// pruneOne removes one container and returns how many bytes it had written.
func (c *call) pruneOne(id string) (freed int64, err error) {
	record, ok := c.Ledger.ByContainer(id)
	if !ok || record.UID != c.who.UID || record.ComesBack() {
		return 0, errKept
	}
	ctx := context.WithoutCancel(c.r.Context())
	data, status, err := c.try(ctx, http.MethodGet, "/containers/"+id+"/json", url.Values{"size": {"1"}})
	if err == nil && status == http.StatusOK {
		var size struct{ SizeRw int64 }
		err = json.Unmarshal(data, &size)
		freed = size.SizeRw
	}
	if err != nil {
		return 0, fmt.Errorf("measure container %s: %w", id, err)
	}
	data, status, err = c.try(ctx, http.MethodDelete, "/containers/"+id, nil)
	switch {
	case err != nil:
		return 0, err
	case status == http.StatusConflict, status == http.StatusNotFound:
		return 0, errKept
	case status >= http.StatusMultipleChoices:
		return 0, fmt.Errorf("remove container %s: the engine answered %d: %s", id, status, data)
	}
	c.observe(ctx, record)
	return freed, nil
}

// try asks the engine and returns its answer, whatever it is.
func (c *call) try(ctx context.Context, method, path string, query url.Values) (data []byte, status int, err error) {
	resp, err := c.ask(ctx, method, path, query, nil)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	data, err = io.ReadAll(resp.Body)
	return data, resp.StatusCode, err
}
