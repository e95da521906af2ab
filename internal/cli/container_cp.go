package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/client"
	"ds01.dev/ds01/internal/problem"
)

func (a *app) containerCp() *cobra.Command {
	return a.command(spec{
		use:     "cp SOURCE DEST",
		aliases: []string{"copy"},
		short:   "Copy files into a container, or out of it",
		long: "Copies a file, or a directory with all that is in it, between this host and a container. One of SOURCE\n" +
			"and DEST is NAME:/PATH. Where DEST is a directory the copy goes into it, else it gets that name. The\n" +
			"container may run or not, and runs on; it can't be started until its own files are copied. Your\n" +
			"directories in it, such as /workspace, are on this host already: copy there without ds01.",
		examples: []string{"ds01 container cp model.pt web:/opt", "ds01 container cp web:/var/log ./logs"},
		guide:    "This copies files between this host and your container. What runs in it runs on.",
		exits:    exitsOfOne(), min: 2, max: 2, complete: completeFiles,
		run: func(ctx context.Context, args []string) error {
			from, to := placeOf(args[0]), placeOf(args[1])
			if (from.container == "") == (to.container == "") {
				return usage("not clear which way to copy", "one of the two must be in a container, and the other on this host",
					"Write 'ds01 container cp FILE NAME:/PATH', or 'ds01 container cp NAME:/PATH FILE'.")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			found, err := c.Container(ctx, from.container+to.container)
			if err != nil {
				return err
			}
			return a.progress("Copying", func() error {
				if to.container != "" {
					return a.copyIn(ctx, c, found.ID, from.path, to)
				}
				return a.copyOut(ctx, c, found.ID, from.path, to.path)
			})
		},
	})
}

// A place is a path on this host, or in a container.
type place struct {
	container string // "" on this host
	path      string
}

// placeOf reads "NAME:PATH"; a path with a colon in it is written ./x:y.
func placeOf(text string) place {
	name, rest, ok := strings.Cut(text, ":")
	if !ok || !account.ValidContainerName(name) && name != "" || name == "" {
		return place{path: text}
	}
	return place{container: name, path: rest}
}

func (a *app) skipped(file string) {
	fmt.Fprintf(a.Err, "%s is left out: it is no file, directory or link.\n", file)
}

// copyIn copies a file or directory of this host into a container.
func (a *app) copyIn(ctx context.Context, c *client.Client, id, source string, to place) error {
	source = filepath.Clean(source)
	if _, err := os.Lstat(source); err != nil {
		return usage(source+" can't be read", err.Error(), "Name a file or directory of this host.")
	}
	directory, name := path.Clean("/"+to.path), filepath.Base(source)
	switch at, err := c.StatPath(ctx, id, directory); {
	case errors.Is(err, problem.ErrNotFound), err == nil && !at.Mode.IsDir() && at.LinkTarget == "":
		directory, name = path.Split(directory)
	case err != nil:
		return err
	}
	reader, writer := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := client.PackTree(writer, source, name, a.skipped)
		packed <- err
		_ = writer.CloseWithError(err) // it never fails
	}()
	err := c.CopyIn(ctx, id, directory, reader)
	_ = reader.Close() // it never fails
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		return perr
	}
	if err == nil {
		fmt.Fprintf(a.Out, "%s is %s:%s now.\n", source, to.container, path.Join(directory, name))
	}
	return err
}

// copyOut copies a file or directory of a container to this host.
func (a *app) copyOut(ctx context.Context, c *client.Client, id, source, dest string) error {
	archive, stat, err := c.CopyOut(ctx, id, path.Clean("/"+source))
	if err != nil {
		return err
	}
	defer archive.Close() //nolint:errcheck // read to its end or given up
	directory, name := dest, stat.Name
	if info, err := os.Stat(dest); err != nil || !info.IsDir() {
		directory, name = filepath.Split(filepath.Clean(dest))
	}
	if directory == "" {
		directory = "."
	}
	if name == "/" {
		name = "root"
	}
	if err := client.UnpackTree(archive, directory, strings.Trim(stat.Name, "/"), name, a.skipped); err != nil {
		return &problem.Error{What: "not all of " + source + " is copied", Why: err, Next: "What is there is in " + filepath.Join(directory, name) + "; remove it, or copy again."}
	}
	fmt.Fprintf(a.Out, "%s is %s now.\n", source, filepath.Join(directory, name))
	return nil
}
