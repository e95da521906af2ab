// Package archiver reads what is in a directory as a tar archive, and writes
// one into it. Whoever changes the directory meanwhile, and whatever links lie
// in it, it never leaves it.
package archiver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// IDs says which users and groups of the host those in an archive are: Base is
// 0, and Size how many follow. Users and Groups are themselves all the same. The
// zero value changes none.
type IDs struct {
	Base, Size    int
	Users, Groups []int
}

// A Tree is a directory whose files are read and written. Names in it are
// relative to it, with '/' between their parts; "." is the directory itself.
// It is safe for concurrent use.
type Tree struct {
	root   *os.Root
	at     string
	ids    IDs
	points map[string]string
}

// New returns the tree of a directory that lies at a path for whoever makes
// links in it: those to below that path are followed. At "" it is all that they
// know, and no link leads out of it. Close closes it.
func New(root *os.Root, at string, ids IDs) *Tree { return &Tree{root: root, at: at, ids: ids} }

// WithPoints says at which names something is mounted for whoever sees the
// tree: nothing is written there or put in their place, and where a name has a
// path, the file at that path of the host is read. Only root may change where
// that leads.
func (t *Tree) WithPoints(points map[string]string) *Tree {
	t.points = points
	return t
}

// point returns the name at or below which a name lies, and something is
// mounted.
func (t *Tree) point(name string) (at string, found bool) {
	for at = name; at != "."; at = path.Dir(at) {
		if _, found = t.points[at]; found {
			return at, true
		}
	}
	return "", false
}

// holdsPoint reports whether something is mounted below a name.
func (t *Tree) holdsPoint(name string) bool {
	for at := range t.points {
		if strings.HasPrefix(at, name+"/") {
			return true
		}
	}
	return false
}

// Close gives the directory back.
func (t *Tree) Close() error { return t.root.Close() }

const notCopied = "Files not copied"

// Stat tells what is at a name, and where it leads if that is a symbolic link.
// follow tells what is where it leads. Errors are of kind problem.ErrNotFound,
// or problem.ErrDenied for what lies behind a link that leads out of the tree.
func (t *Tree) Stat(name string, follow bool) (info fs.FileInfo, link string, err error) {
	_, info, link, err = t.look(name, follow)
	return info, link, err
}

// look is Stat, and returns also what the name is without links on the way.
func (t *Tree) look(name string, follow bool) (actual string, info fs.FileInfo, link string, err error) {
	actual, err = t.resolve(name, follow)
	if host := t.points[actual]; host != "" && err == nil {
		info, err = os.Lstat(host)
	} else if err == nil {
		info, err = t.root.Lstat(actual)
	}
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		link, err = t.root.Readlink(actual)
	}
	return actual, info, link, t.explain(name, err)
}

// maxLinks is how many links the kernel follows in one path.
const maxLinks = 40

// resolve follows the links in a name as they are now, the last part's only if
// last is set. What isn't there stays as it is written.
func (t *Tree) resolve(name string, last bool) (string, error) {
	done, rest := ".", name
	for links := 0; rest != "" && rest != "."; {
		part, after, _ := strings.Cut(rest, "/")
		done, rest = path.Join(done, part), after
		if rest == "" && !last {
			break
		}
		to, err := t.root.Readlink(done)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return "", err
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		if done, err = t.follow(path.Dir(done), to); err != nil {
			return "", err
		}
		done, rest = ".", path.Join(done, rest)
	}
	return done, nil
}

// follow returns where a link in a directory leads.
func (t *Tree) follow(dir, to string) (string, error) {
	if t.at == "" {
		if !path.IsAbs(to) {
			to = path.Join("/", dir, to)
		}
		return path.Join(".", path.Clean(to)), nil // above the topmost directory there is only that
	}
	if !path.IsAbs(to) {
		return path.Join(dir, to), nil
	}
	below, ok := strings.CutPrefix(path.Clean(to)+"/", t.at+"/")
	if !ok {
		return "", errLeadsOut
	}
	return path.Join(".", below), nil
}

// errLeadsOut says that a link leads out of the tree.
var errLeadsOut = errors.New(escapes)

// escapes is how package os says that a link leads out; the error has no name.
const escapes = "path escapes from parent"

// explain says what is the matter with a name in a tree.
func (t *Tree) explain(name string, err error) error {
	where := "the volume"
	if t.at == "" {
		where = "the container"
	}
	if p, ok := errors.AsType[*problem.Error](err); ok {
		return p
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return &problem.Error{
			What: notCopied, Why: problem.Because(problem.ErrNotFound, fmt.Sprintf("there is no %q in %s", path.Join(t.at, "/", name), where)), Next: "Look with 'docker exec'.",
		}
	case strings.Contains(err.Error(), escapes):
		return &problem.Error{
			What: notCopied, Why: problem.Because(problem.ErrDenied, fmt.Sprintf("a link on the way to %q leads out of %s", path.Join(t.at, "/", name), where)),
			Next: "Name the path that it leads to.",
		}
	}
	return fmt.Errorf("copy %s: %w", name, err)
}

// onHost returns the host's id for one in an archive, of which some are the same.
func (i IDs) onHost(id int, same []int) (int, error) {
	if i.Size == 0 || slices.Contains(same, id) {
		return id, nil
	}
	if id < 0 || id >= i.Size {
		return 0, &problem.Error{
			What: notCopied, Why: problem.Because(problem.ErrInvalid, fmt.Sprintf("containers have no user or group %d, only %d of them", id, i.Size)),
			Next: "Make the archive with other owners: tar --owner=0 --group=0.",
		}
	}
	return i.Base + id, nil
}

// nobody is who owns what no user of a container owns.
const nobody = 65534

// inArchive undoes onHost.
func (i IDs) inArchive(id int, same []int) int {
	if i.Size == 0 || slices.Contains(same, id) {
		return id
	}
	if id < i.Base || id >= i.Base+i.Size {
		return nobody
	}
	return id - i.Base
}

// kind returns what an entry is, as far as replacing it goes.
func kind(dir bool) string {
	if dir {
		return "directory"
	}
	return "file"
}
