package docker

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/image"

	"ds01.dev/ds01/internal/container"
)

// Image returns what is known of a local image.
func (e *Engine) Image(ctx context.Context, reference string) (container.Image, error) {
	i, err := e.api.ImageInspect(ctx, reference)
	if err != nil {
		return container.Image{}, explain("find image "+reference, err)
	}
	out := container.Image{
		ID: i.ID, Names: slices.Concat(i.RepoTags, i.RepoDigests), Parent: i.Parent, //nolint:staticcheck // the classic builder's images have one
		CreatedAt: parseTime(i.Created), Size: i.Size,
	}
	if i.Config != nil {
		out.User, out.WorkingDir, out.Env, out.Labels = i.Config.User, i.Config.WorkingDir, i.Config.Env, i.Config.Labels
		out.Makes = slices.AppendSeq([]string{i.Config.WorkingDir}, maps.Keys(i.Config.Volumes))
		out.Volumes = slices.Sorted(maps.Keys(i.Config.Volumes))
		out.Triggers = i.Config.OnBuild
		out.Exposed = slices.Sorted(maps.Keys(i.Config.ExposedPorts))
		if h := i.Config.Healthcheck; h != nil {
			out.Probes = container.Probes{Interval: h.Interval, StartInterval: h.StartInterval}
		}
	}
	return out, nil
}

// Images returns every image that has a name or no children, newest first.
// User and WorkingDir aren't filled.
func (e *Engine) Images(ctx context.Context) ([]container.Image, error) {
	list, err := e.api.ImageList(ctx, image.ListOptions{})
	if err != nil {
		return nil, explain("list images", err)
	}
	all := make([]container.Image, len(list))
	for i, s := range list {
		names := slices.DeleteFunc(slices.Concat(s.RepoTags, s.RepoDigests), func(n string) bool { return strings.HasPrefix(n, "<none>") })
		all[i] = container.Image{ID: s.ID, Names: names, Parent: s.ParentID, CreatedAt: time.Unix(s.Created, 0).UTC(), Size: s.Size, Labels: s.Labels}
	}
	return all, nil
}

// TagImage gives an image one more name, whatever had it before.
func (e *Engine) TagImage(ctx context.Context, id, name string) error {
	if err := e.api.ImageTag(ctx, id, name); err != nil {
		return explain("name image "+id, err)
	}
	return nil
}

// RemoveImage takes a name away, and the image with its last one; by its id
// it removes an image that has one name or none. One that a container uses
// stays unless force says so and the container is stopped; one that others
// were made from always does: problem.ErrConflict. Parents stay.
func (e *Engine) RemoveImage(ctx context.Context, reference string, force bool) ([]container.Removed, error) {
	list, err := e.api.ImageRemove(ctx, reference, image.RemoveOptions{Force: force})
	if err != nil {
		return nil, explain("remove image "+reference, err)
	}
	removed := make([]container.Removed, len(list))
	for i, r := range list {
		removed[i] = container.Removed{Untagged: r.Untagged, Deleted: r.Deleted}
	}
	return removed, nil
}
