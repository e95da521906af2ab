package curator

import (
	"context"
	"slices"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
)

// unmarked is an engine on which marks aren't seen: an image that has nothing
// else has no name.
type unmarked struct{ Engine }

// Image returns an image without its marks.
func (u unmarked) Image(ctx context.Context, reference string) (container.Image, error) {
	i, err := u.Engine.Image(ctx, reference)
	return withoutMarks(i), err
}

// Images returns all images without their marks.
func (u unmarked) Images(ctx context.Context) ([]container.Image, error) {
	list, err := u.Engine.Images(ctx)
	for i := range list {
		list[i] = withoutMarks(list[i])
	}
	return list, err
}

// RemoveImage doesn't tell of marks that went with an image.
func (u unmarked) RemoveImage(ctx context.Context, reference string, force bool) ([]container.Removed, error) {
	removed, err := u.Engine.RemoveImage(ctx, reference, force)
	return slices.DeleteFunc(removed, func(r container.Removed) bool { return account.IsMark(r.Untagged) }), err
}

func withoutMarks(i container.Image) container.Image {
	i.Names = slices.DeleteFunc(slices.Clone(i.Names), account.IsMark)
	return i
}
