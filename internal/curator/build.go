package curator

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/label"
)

// ownBuilt makes images uid's that their builds have left without a name:
// results of stages, and of the last step before one that failed. Such an image
// has nobody, and the label that ds01 begins each stage with. Who writes that
// label into an image by another way owns it already.
func (c *Curator) ownBuilt(ctx context.Context, uid int) error {
	list, err := c.engine.Images(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, i := range list {
		if len(i.Names) > 0 || i.Parent == "" || i.Labels[label.UID] != strconv.Itoa(uid) || len(c.Owners(i.ID)) > 0 {
			continue
		}
		errs = append(errs, c.Own(ctx, i.ID, uid, container.ByBuild))
	}
	return errors.Join(errs...)
}

// Pullable reports whether a registry can have what a reference means: it is
// neither an id nor a name in somebody's own repository.
func Pullable(reference string) bool {
	name, err := account.ImageName(reference)
	if err != nil || strings.HasPrefix(reference, "sha256:") {
		return false
	}
	_, personal := account.ImageOwner(name)
	return !personal
}
