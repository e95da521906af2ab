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

// Files in volumes are copied by ds01 itself. The engine finds its way there by
// names, as root of the host, and whoever has the volume in another container
// could turn one into a link meanwhile; so could a process of the host that was
// handed an open directory of it, which no freezing stops. ds01 opens the volume
// and never leaves it.

// archiveVolume tells what is at a path in a volume, or streams it.
func (c *call) archiveVolume(s site) error {
	tree, err := c.Files(s.in)
	if err != nil {
		return err
	}
	defer tree.Close() //nolint:errcheck // nothing is written through it
	asked := c.match.Query.Get("path")
	name, follow := belowVolume(s, asked), strings.HasSuffix(asked, "/") || strings.HasSuffix(asked, "/.")
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
	return c.streamVolume(tree, name, path.Base(asked), follow)
}

func (c *call) streamVolume(tree *archiver.Tree, name, as string, follow bool) error {
	during, cancel := c.untilClosing(c.r.Context())
	defer cancel()
	defer c.bePatient(during, func() {})()
	c.w.Header().Set("Content-Type", "application/x-tar")
	c.w.WriteHeader(http.StatusOK)
	if err := tree.Read(c.w, name, as, follow); err != nil {
		c.Log.WarnContext(during, "archive of a volume broke off", "error", err)
		panic(http.ErrAbortHandler) // it must not look whole
	}
	return errAnswered
}

// extractToVolume writes what write writes into a volume.
func (c *call) extractToVolume(s site, client *patientReader, write func(io.Writer) error) error {
	if s.in.ReadOnly {
		return &problem.Error{
			What: "Files not copied", Why: problem.Because(problem.ErrDenied, fmt.Sprintf("the volume at %s is mounted read-only", s.in.Target)),
			Next: "Copy to a container that has it mounted to be written to.",
		}
	}
	ctx := context.WithoutCancel(c.r.Context())
	if err := recorder.Before(ctx); err != nil {
		return err
	}
	tree, err := c.Files(s.in)
	if err != nil {
		return err
	}
	defer tree.Close() //nolint:errcheck // it was only a way there
	from, to := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := write(to)
		_ = to.CloseWithError(err) // it never fails
		written <- err
	}()
	keepKinds := c.match.Query.Get("noOverwriteDirNonDir")
	failed := tree.Write(from, belowVolume(s, c.match.Query.Get("path")), keepKinds == "1" || keepKinds == "true")
	if refused := settle(from, client, written); refused != nil && !errors.Is(refused, io.ErrClosedPipe) {
		return refused
	}
	if failed != nil {
		return failed
	}
	c.w.WriteHeader(http.StatusOK)
	return errAnswered
}

// belowVolume returns a path of a container as it is called in the volume.
func belowVolume(s site, name string) string {
	return path.Join(".", strings.TrimPrefix(path.Clean("/"+name), s.in.Target))
}
