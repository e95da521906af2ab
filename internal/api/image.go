package api

import (
	"context"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/curator"
	"ds01.dev/ds01/internal/problem"
)

// person is who asks, to the curator of images: the caller, or for
// administrators whom they act for.
func (c *call) person() curator.Person {
	return curator.Person{UID: c.owner.UID, Admin: c.roles.Admin}
}

func (c *call) images() error {
	everybody := c.r.URL.Query().Get("all_users") == "true"
	if everybody && !c.roles.Admin {
		return adminsOnly("Other people's images")
	}
	v, err := c.Images.View(c.r.Context(), curator.Person{UID: c.owner.UID, Admin: everybody})
	if err != nil {
		return err
	}
	list := []apitype.Image{}
	for _, i := range v.Images() {
		list = append(list, c.describeImage(v, i, everybody))
	}
	return c.answer(list)
}

func (c *call) describeImage(v *curator.View, i container.Image, everybody bool) apitype.Image {
	out := apitype.Image{ID: i.ID, Names: []apitype.ImageName{}, Owners: []string{}, SizeBytes: i.Size, CreatedAt: i.CreatedAt}
	for _, full := range i.Names {
		for _, name := range v.Names(i.ID, []string{full}) {
			if !strings.Contains(full, "@") {
				out.Names = append(out.Names, c.describeName(i.ID, name, full))
			}
		}
	}
	for _, o := range c.Images.Owners(i.ID) {
		if everybody || o.UID == c.owner.UID {
			out.Owners = append(out.Owners, c.login(o.UID))
		}
	}
	return out
}

func (c *call) describeName(image, name, full string) apitype.ImageName {
	out := apitype.ImageName{Name: name, FullName: full, Shared: c.Images.Shared(image, full)}
	if uid, personal := account.ImageOwner(full); personal {
		out.User = c.login(uid)
	}
	return out
}

// login returns the login name of a uid, or the number where the host knows
// nobody.
func (c *call) login(uid int) string {
	if who, err := c.Accounts.Lookup(uid); err == nil {
		return who.Name
	}
	return "uid " + strconv.Itoa(uid)
}

func (c *call) removeImage() error {
	query := c.r.URL.Query()
	if query.Get("name") == "" {
		return nameless("removed")
	}
	steps, err := c.Images.Remove(context.WithoutCancel(c.r.Context()), c.person(), query.Get("name"), curator.Removal{Force: query.Get("force") == "true"})
	if err != nil {
		return err
	}
	out := make([]apitype.RemovedImage, len(steps))
	for i, s := range steps {
		out[i] = apitype.RemovedImage{Untagged: account.OwnImage(s.Untagged, c.owner.UID), Deleted: s.Deleted}
	}
	return c.answer(out)
}

func nameless(verb string) error {
	return &problem.Error{What: "No image " + verb, Why: problem.Because(problem.ErrInvalid, "none is named"), Next: "'ds01 image list' shows yours."}
}

func (c *call) shareImage() error { return c.changeSharing(c.Images.Share, true) }

func (c *call) unshareImage() error { return c.changeSharing(c.Images.Unshare, false) }

func (c *call) changeSharing(change func(context.Context, curator.Person, string) (string, error), shared bool) error {
	var want apitype.NameImage
	if err := c.read(&want); err != nil {
		return err
	}
	if want.Name == "" {
		return nameless("changed")
	}
	full, err := change(context.WithoutCancel(c.r.Context()), c.person(), want.Name)
	if err != nil {
		return err
	}
	c.Log.InfoContext(c.r.Context(), "image sharing changed", "image", full, "shared", shared, "user", c.who.Name)
	uid, _ := account.ImageOwner(full)
	return c.answer(apitype.ImageName{Name: account.OwnImage(full, c.owner.UID), FullName: full, User: c.login(uid), Shared: shared})
}
