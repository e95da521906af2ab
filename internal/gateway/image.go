package gateway

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
)

// An imageRow is one image as the engine lists or inspects it; what isn't
// named passes as it is.
type imageRow map[string]json.RawMessage

// field reads one member of a row.
func field[T any](row imageRow, key string) (T, error) {
	var v T
	if raw, ok := row[key]; ok {
		if err := json.Unmarshal(raw, &v); err != nil {
			return v, fmt.Errorf("read the engine's answer: %w", err)
		}
	}
	return v, nil
}

// put writes one member of a row.
func (row imageRow) put(key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	row[key] = data
	return nil
}

// imageList answers with the images the caller may use, in their names.
func (c *call) imageList() error {
	filters, err := readFilters(c.match.Query.Get("filters"))
	if err != nil {
		return err
	}
	if err := filters.allow("before", "dangling", "label", "reference", "since", "until"); err != nil {
		return err
	}
	v, err := c.Images.View(c.r.Context(), c.person())
	if err != nil {
		return err
	}
	query, err := c.imageQuery(filters)
	if err != nil {
		return err
	}
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/images/json", query, nil)
	if err != nil {
		return err
	}
	var rows []imageRow
	if err := json.Unmarshal(data, &rows); err != nil {
		return fmt.Errorf("read the engine's list: %w", err)
	}
	kept := make([]imageRow, 0, len(rows))
	for _, row := range rows {
		if wanted, err := c.showImage(v, row, filters); err != nil {
			return err
		} else if wanted {
			kept = append(kept, row)
		}
	}
	return c.json(http.StatusOK, kept)
}

// imageQuery returns the query for the engine: names and what has none are
// ours to tell.
func (c *call) imageQuery(filters filterSet) (url.Values, error) {
	query := maps.Clone(c.match.Query)
	passed := filterSet{}
	for key, values := range filters {
		if key != "reference" && key != "dangling" {
			passed[key] = slices.Clone(values)
		}
	}
	for _, key := range []string{"before", "since"} {
		for i, reference := range passed[key] {
			found, err := c.Images.Find(c.r.Context(), c.person(), reference)
			if err != nil {
				return nil, err
			}
			passed[key][i] = found.ID
		}
	}
	query.Del("only_ids") // of old SDKs: it means nothing any more
	query.Del("filters")
	if len(passed) > 0 {
		query.Set("filters", passed.encode())
	}
	return query, nil
}

// none is how engines up to API 1.42 list an image without a name.
const none = "<none>"

// showImage puts the caller's names into a row of the list, and reports
// whether they may see it and want to.
func (c *call) showImage(v *curator.View, row imageRow, filters filterSet) (bool, error) {
	tags, digests, err := rename(v, row)
	if err != nil || tags == nil {
		return false, err
	}
	if len(tags)+len(digests) == 0 && c.minor() < 43 {
		if err := errorsOf(row.put("RepoTags", []string{none + ":" + none}), row.put("RepoDigests", []string{none + "@" + none})); err != nil {
			return false, err
		}
	}
	if want := filters["dangling"]; len(want) > 0 {
		dangling, err := strconv.ParseBool(want[0])
		if err != nil {
			return false, badFilter("dangling is true or false")
		}
		if dangling != (len(tags)+len(digests) == 0) {
			return false, nil
		}
	}
	return matches(filters["reference"], append(slices.Clone(tags), digests...))
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// minor returns the minor number of the API's version.
func (c *call) minor() int { return minor(c.version) }

// rename puts the caller's names into what the engine says of an image. tags
// is nil where they may not see it.
func rename(v *curator.View, row imageRow) (tags, digests []string, err error) {
	id, err := field[string](row, "Id")
	if err != nil {
		return nil, nil, err
	}
	if tags, err = field[[]string](row, "RepoTags"); err != nil {
		return nil, nil, err
	}
	if digests, err = field[[]string](row, "RepoDigests"); err != nil {
		return nil, nil, err
	}
	unnamed := func(name string) bool { return name == none+":"+none || name == none+"@"+none }
	tags, digests = slices.DeleteFunc(tags, unnamed), slices.DeleteFunc(digests, unnamed)
	if !v.Sees(id, slices.Concat(tags, digests)) {
		return nil, nil, nil
	}
	tags, digests = v.Names(id, tags), v.Names(id, digests)
	return tags, digests, errorsOf(row.put("RepoTags", tags), row.put("RepoDigests", digests))
}

func matches(patterns, names []string) (bool, error) {
	for _, pattern := range patterns {
		for _, name := range names {
			ok, err := account.ImageMatches(pattern, name)
			if err != nil {
				return false, badFilter(err.Error())
			}
			if ok {
				return true, nil
			}
		}
	}
	return len(patterns) == 0, nil
}

// imageInspect answers about an image that the caller may use.
func (c *call) imageInspect() error {
	found, err := c.Images.Find(c.r.Context(), c.person(), c.match.Param)
	if err != nil {
		return err
	}
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/images/"+found.ID+"/json", c.match.Query, nil)
	if err != nil {
		return err
	}
	var doc imageRow
	if err := json.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	v, err := c.Images.View(c.r.Context(), c.person())
	if err != nil {
		return err
	}
	if _, _, err := rename(v, doc); err != nil {
		return err
	}
	return c.json(http.StatusOK, doc)
}

// imageHistory answers with the steps an image was made in; names of steps are
// the caller's.
func (c *call) imageHistory() error {
	found, err := c.Images.Find(c.r.Context(), c.person(), c.match.Param)
	if err != nil {
		return err
	}
	v, err := c.Images.View(c.r.Context(), c.person())
	if err != nil {
		return err
	}
	data, err := c.fetch(c.r.Context(), http.MethodGet, "/images/"+found.ID+"/history", c.match.Query, nil)
	if err != nil {
		return err
	}
	var steps []imageRow
	if err := json.Unmarshal(data, &steps); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	for _, step := range steps {
		id, err := field[string](step, "Id")
		if err != nil {
			return err
		}
		tags, err := field[[]string](step, "Tags")
		if err != nil {
			return err
		}
		if tags != nil {
			if err := step.put("Tags", v.Names(id, tags)); err != nil {
				return err
			}
		}
	}
	return c.json(http.StatusOK, steps)
}

// imageTag gives an image one more name.
func (c *call) imageTag() error {
	target := withTag(c.match.Query.Get("repo"), c.match.Query.Get("tag"))
	if err := c.Images.Tag(c.r.Context(), c.person(), c.match.Param, target); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// truth reads a parameter as the engine does: empty, 0, no, false and none are
// false.
func (c *call) truth(key string) bool {
	return !slices.Contains([]string{"", "0", "no", "false", "none", "False"}, c.match.Query.Get(key))
}

// ownRemoved returns steps of a removal in the caller's names.
func (c *call) ownRemoved(steps []container.Removed) []container.Removed {
	shown := make([]container.Removed, len(steps))
	for i, s := range steps {
		shown[i] = container.Removed{Untagged: account.OwnImage(s.Untagged, c.who.UID), Deleted: s.Deleted}
	}
	return shown
}
