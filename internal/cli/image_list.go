package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/apitype"
)

func (a *app) imageList() *cobra.Command {
	var mine, allUsers, asJSON bool
	return a.command(spec{
		use:     "list",
		aliases: []string{"ls"},
		short:   "List the images you can use",
		long: "Lists the images you can use: your own, which nobody else sees until they are shared, and the shared\n" +
			"ones. What is pulled is shared. Your own names come first: where you have a busybox, 'busybox' is yours.",
		examples: []string{
			"ds01 image list",
			"ds01 image list --mine",
			"ds01 image list --all-users --json",
		},
		guide: "This lists images: what containers are made from. It changes nothing.",
		exits: exitsReading(), json: &asJSON,
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&mine, "mine", false, "only your own")
			f.BoolVar(&allUsers, "all-users", false, "everybody's (admins)")
		},
		run: func(ctx context.Context, _ []string) error {
			if moreThanOne(mine, allUsers) {
				return usage("--mine and --all-users contradict each other", "both are given", "Leave out one.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			images, err := c.Images(ctx, allUsers)
			if err != nil {
				return err
			}
			if mine {
				images = slices.DeleteFunc(images, func(i apitype.Image) bool { return !own(i) })
			}
			if asJSON {
				return a.printJSON(list(images))
			}
			if len(images) == 0 {
				fmt.Fprintln(a.Out, "No images. 'docker pull NAME' fetches one for everybody.")
				return nil
			}
			writeImages(a.Out, images, a.now())
			return nil
		},
	})
}

// own reports whether an image is the caller's: they made it, or it has a name
// of theirs.
func own(i apitype.Image) bool {
	return len(i.Owners) > 0 || slices.ContainsFunc(i.Names, func(n apitype.ImageName) bool { return n.Name != n.FullName })
}

// writeImages prints a row for each name, and one for an image without.
func writeImages(w io.Writer, images []apitype.Image, now time.Time) {
	var t table
	t.add("NAME", "OWNER", "READ BY", "ID", "SIZE", "AGE")
	for _, i := range images {
		id, old := strings.TrimPrefix(i.ID, "sha256:"), rough(now.Sub(i.CreatedAt))
		id = id[:min(len(id), 12)]
		for _, n := range i.Names {
			t.add(n.Name, orNone(n.User), readers(n), id, size(i.SizeBytes), old)
		}
		if len(i.Names) == 0 {
			t.add(none, orNone(strings.Join(i.Owners, ", ")), "its owner", id, size(i.SizeBytes), old)
		}
	}
	t.write(w)
}

func readers(n apitype.ImageName) string {
	switch {
	case !n.Shared:
		return "its owner"
	case n.Name != n.FullName:
		return "everybody, as " + n.FullName
	}
	return "everybody"
}
