package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"ds01.dev/ds01/internal/problem"
)

func (a *app) imageSave() *cobra.Command {
	var output string
	return a.command(spec{
		use:   "save NAME…",
		short: "Write images into an archive",
		long: "Writes images with all their layers into one archive, which 'ds01 image load' and 'docker load' read on\n" +
			"any host. It holds your names of them. Without --output it goes to stdout, which must not be a terminal.",
		examples: []string{"ds01 image save --output app.tar app:1", "ds01 image save app:1 app:2 > apps.tar"},
		guide:    "This writes images into a file, to keep them or take them elsewhere. It changes no image.",
		exits:    exitsOfOne(), min: 1, max: -1, complete: a.completeImages(false),
		flags: func(f *pflag.FlagSet) { f.StringVarP(&output, "output", "o", "", "write to `FILE`") },
		run: func(ctx context.Context, args []string) error {
			if _, ok := terminal(a.Out); ok && output == "" {
				return usage("nothing saved", "an archive is nothing to look at", "Name a file with --output, or write to one with '>'.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			return a.progress("Saving", func() error {
				if output == "" {
					return c.SaveImages(ctx, args, a.Out)
				}
				return writeWhole(output, func(w io.Writer) error { return c.SaveImages(ctx, args, w) })
			})
		},
	})
}

// writeWhole writes a file whole or not at all: what it was stays until then.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	part, err := os.CreateTemp(filepath.Dir(path), ".ds01-")
	if err != nil {
		return notWritten(path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	if err := write(part); err != nil {
		return errors.Join(err, part.Close())
	}
	if err := part.Close(); err != nil {
		return notWritten(path, err)
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return notWritten(path, err)
	}
	return nil
}

func notWritten(path string, err error) error {
	return &problem.Error{What: path + " not written", Why: err, Next: "Is there room, and may you write there?"}
}

func (a *app) imageLoad() *cobra.Command {
	var input string
	return a.command(spec{
		use:   "load",
		short: "Read images from an archive",
		long: "Reads images from an archive that 'ds01 image save' or 'docker save' wrote, as it is or compressed with\n" +
			"gzip or bzip2. The images are yours and get their names in your own repository: no shared image loses\n" +
			"its name. Without --input it reads stdin.",
		examples: []string{"ds01 image load --input app.tar", "ds01 image load < apps.tar.gz"},
		guide:    "This reads images from a file. They are yours alone until you share them.",
		exits:    exitsReading(), max: 0,
		flags: func(f *pflag.FlagSet) {
			f.StringVarP(&input, "input", "i", "", "read `FILE`")
		},
		run: func(ctx context.Context, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			from := a.stdin.reader(ctx)
			if input != "" {
				file, err := os.Open(input) //nolint:gosec // the caller's own file
				if err != nil {
					return &problem.Error{What: input + " not read", Why: problem.Because(problem.ErrInvalid, err.Error()), Next: "Name the archive with --input."}
				}
				defer file.Close() //nolint:errcheck // read only
				from = file
			} else if a.interactive() {
				return usage("nothing to load", "stdin is a terminal", "Name the archive with --input, or read it with '<'.")
			}
			return a.progress("Loading", func() error {
				return c.LoadImages(ctx, from, func(line string) { fmt.Fprintln(a.Out, line) })
			})
		},
	})
}
