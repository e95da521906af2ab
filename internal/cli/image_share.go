package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) imageShare() *cobra.Command {
	return a.changeSharing(spec{
		use:   "share NAME",
		short: "Let everybody read an image of yours",
		long: "Everybody on this host can then use the image by its full name, ds01-UID/NAME:TAG, which is printed, and\n" +
			"read everything in it: look for passwords and data first. It is shared as it is now: once you give the\n" +
			"name to another image, that one is yours alone. Nobody but you and the admins can move or delete it.\n" +
			"Admins share other people's images by their full names.",
		examples: []string{"ds01 image share app:1"},
		guide: "This lets everybody on this host read an image and make containers of it. " +
			"What is in it, anybody can look at. 'ds01 image unshare' takes it back.",
	}, true, func(n apitype.ImageName) string {
		return n.Name + " can be used by everybody: docker run " + n.FullName
	})
}

func (a *app) imageUnshare() *cobra.Command {
	return a.changeSharing(spec{
		use:   "unshare NAME",
		short: "Keep an image of yours to yourself again",
		long: "Nobody else finds the image any more. Who has a container of it keeps that, and can see the image for as\n" +
			"long; who tagged it keeps it.",
		examples: []string{"ds01 image unshare app:1"},
		guide:    "This hides an image from others that you shared. Their containers go on.",
	}, false, func(n apitype.ImageName) string { return n.Name + " is yours alone." })
}

func (a *app) changeSharing(s spec, shared bool, done func(apitype.ImageName) string) *cobra.Command {
	s.exits, s.min, s.max, s.complete = exitsOfOne(), 1, 1, a.completeImages(true)
	s.run = func(ctx context.Context, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		name, err := c.ShareImage(ctx, args[0], shared)
		if err == nil {
			fmt.Fprintln(a.Out, done(name))
		}
		return err
	}
	return a.command(s)
}
