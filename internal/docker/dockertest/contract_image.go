package dockertest

import (
	"slices"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/problem"
)

// imageOf returns the image of that id in the engine's list.
func imageOf(t *testing.T, e Subject, id string) container.Image {
	t.Helper()
	list, err := e.Images(t.Context())
	must(t, err)
	i := slices.IndexFunc(list, func(i container.Image) bool { return i.ID == id })
	if i < 0 {
		t.Fatalf("%s isn't listed: %+v", id, list)
	}
	return list[i]
}

func images(t *testing.T, e Subject) {
	t.Helper()
	ctx := t.Context()
	busybox, err := e.Image(ctx, "busybox")
	must(t, err)
	must(t, e.TagImage(ctx, busybox.ID, "contract/x:1"))
	must(t, e.TagImage(ctx, busybox.ID, "contract/x:1"))
	must(t, e.TagImage(ctx, busybox.ID, "contract/y"))
	if got := imageOf(t, e, busybox.ID); !slices.Contains(got.Names, "contract/x:1") || !slices.Contains(got.Names, "contract/y:latest") || !slices.Contains(got.Names, "busybox:latest") {
		t.Errorf("its names are %v", got.Names)
	}
	for _, reference := range []string{"contract/x:1", "docker.io/contract/x:1", busybox.ID, busybox.ID[:20], busybox.ID[len("sha256:"):][:12]} {
		if i, err := e.Image(ctx, reference); err != nil || i.ID != busybox.ID {
			t.Errorf("%s: %+v, %v", reference, i, err)
		}
	}
	wantKind(t, "naming what isn't there", e.TagImage(ctx, "contract-none", "contract/z"), problem.ErrNotFound)
	_, err = e.RemoveImage(ctx, busybox.ID, false)
	wantKind(t, "removing by id what has names in several repositories", err, problem.ErrConflict)
	id := create(t, e, "of-image", false)
	if o := inspect(t, e, id); o.ImageID != busybox.ID {
		t.Errorf("the container is of image %q", o.ImageID)
	}
	removed, err := e.RemoveImage(ctx, "contract/x:1", false)
	if err != nil || !slices.Equal(removed, []container.Removed{{Untagged: "contract/x:1"}}) {
		t.Errorf("removed %+v, %v", removed, err)
	}
	_, err = e.RemoveImage(ctx, "contract/x:1", false)
	wantKind(t, "removing it again", err, problem.ErrNotFound)
	_, err = e.RemoveImage(ctx, "contract/y", false)
	must(t, err)
	_, err = e.RemoveImage(ctx, "busybox", false)
	wantKind(t, "removing the last name of what a container uses", err, problem.ErrConflict)
	if got := imageOf(t, e, busybox.ID); !slices.Contains(got.Names, "busybox:latest") {
		t.Errorf("its names are %v", got.Names)
	}
}
