package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/archiver"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/recorder"
)

// Files are copied by ds01 itself. The engine finds its way by names, as root of
// the host, and whoever has an open directory of the container or the volume,
// in another container or on the host, could turn one into a link meanwhile: no
// freezing stops those. ds01 opens what is to be copied and never leaves it.

// tree opens what the path of an archive request lies in.
func (c *call) tree(s site, write bool) (*archiver.Tree, error) {
	if s.in.Target != "" {
		return c.Files.Volume(s.in)
	}
	defer c.lockLayer(s.record)()
	return c.Files.Layer(s.record, s.seen, write)
}

// archiveTree tells what is at a path, or streams it.
func (c *call) archiveTree(ctx context.Context, s site) error {
	tree, err := c.tree(s, false)
	if err != nil {
		return err
	}
	defer tree.Close() //nolint:errcheck // nothing is written through it
	asked := c.match.Query.Get("path")
	name, follow := below(s, asked), strings.HasSuffix(asked, "/") || strings.HasSuffix(asked, "/.")
	info, link, err := tree.Stat(name, follow)
	if err != nil {
		return err
	}
	if err := c.tellStat(info.Size(), info.Mode(), info.ModTime(), link); err != nil {
		return err
	}
	if c.match.Op == admission.ArchiveStat {
		return errAnswered
	}
	return c.streamTree(ctx, tree, name, path.Base(asked), follow)
}

func (c *call) streamTree(ctx context.Context, tree *archiver.Tree, name, as string, follow bool) error {
	during, cancel := c.untilClosing(ctx)
	defer cancel()
	defer c.bePatient(during, func() {})()
	c.w.Header().Set("Content-Type", "application/x-tar")
	c.w.WriteHeader(http.StatusOK)
	if err := tree.Read(c.w, name, as, follow); err != nil {
		c.Log.WarnContext(during, "archive broke off", "error", err)
		panic(http.ErrAbortHandler) // it must not look whole
	}
	return errAnswered
}

// extractToTree writes what write writes to the path.
func (c *call) extractToTree(ctx context.Context, s site, client *patientReader, write func(io.Writer) error) error {
	switch {
	case s.in.ReadOnly:
		return &problem.Error{
			What: "Files not copied", Why: problem.Because(problem.ErrDenied, fmt.Sprintf("the volume at %s is mounted read-only", s.in.Target)),
			Next: "Copy to a container that has it mounted to be written to.",
		}
	case s.in.Target == "" && s.seen.ReadOnly:
		return &problem.Error{
			What: "Files not copied", Why: problem.Because(problem.ErrDenied, s.record.Name+" was made with --read-only"),
			Next: "Copy to a volume of it, or make it anew.",
		}
	}
	if err := recorder.Before(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	tree, err := c.tree(s, true)
	if err != nil {
		return err
	}
	defer tree.Close() //nolint:errcheck // it was only a way there
	from, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(to)
		written <- err             // before the end of what is read is seen
		_ = to.CloseWithError(err) // it never fails
	}()
	keepKinds := c.match.Query.Get("noOverwriteDirNonDir")
	failed := tree.Write(from, below(s, c.match.Query.Get("path")), keepKinds == "1" || keepKinds == "true")
	if failed == nil {
		_, failed = io.Copy(io.Discard, from) // what follows the archive's end, for the next request on the connection
	}
	if refused := settle(c.w.Header(), from, client, written); refused != nil && !errors.Is(refused, io.ErrClosedPipe) {
		return refused
	}
	if failed != nil {
		return failed
	}
	c.w.WriteHeader(http.StatusOK)
	return errAnswered
}

// belowVolume returns a path of a container as it is called in the volume.
func below(s site, name string) string {
	return path.Join(".", strings.TrimPrefix(path.Clean("/"+name), s.in.Target))
}
