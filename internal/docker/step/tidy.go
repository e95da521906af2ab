package step

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// absent returns those of BuildKit's mount points that aren't there yet: it
// removes them when the step is over. One that a link leads out of the step's
// file system is an error: BuildKit has looked for it outside already.
func (s *spec) absent() ([]string, error) {
	root, err := s.open()
	if err != nil {
		return nil, err
	}
	defer unix.Close(root) //nolint:errcheck // nothing was written by it
	var names []string
	for _, dest := range append(s.dests, "/etc/resolv.conf", "/etc/hosts") {
		name := filepath.Join("/", dest)
		if _, err := os.Lstat(filepath.Join(s.root, name)); err == nil {
			continue
		}
		if link, err := leaves(root, name); err != nil || link != "" {
			return nil, errors.Join(err, fmt.Errorf("the mount at %s is refused: /%s is a link with an absolute path. Write the path that it leads to", name, link))
		}
		names = append(names, name)
	}
	return names, nil
}

// tidy takes away the links that a step has put on the way to these names, so
// that BuildKit, which follows them, finds nothing outside. Nothing of the step
// runs any more.
func (s *spec) tidy(names []string) error {
	root, err := s.open()
	if err != nil {
		return err
	}
	defer unix.Close(root) //nolint:errcheck // nothing was written by it
	for _, name := range names {
		link, err := leaves(root, name)
		if err == nil && link != "" {
			err = unix.Unlinkat(root, link, 0)
		}
		if err != nil {
			return fmt.Errorf("look at what the step left at %s: %w", name, err)
		}
	}
	return nil
}

// open opens the root of the step's file system.
func (s *spec) open() (int, error) {
	root, err := unix.Open(s.root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("look at the step's files: %w", err)
	}
	return root, nil
}

// leaves returns the first of a name's parents that leads out of root, "" if
// none does.
func leaves(root int, name string) (link string, err error) {
	parents := strings.Split(strings.Trim(filepath.Dir(name), "/"), "/")
	for i := range parents {
		parent := strings.Join(parents[:i+1], "/")
		if parent == "" {
			return "", nil
		}
		fd, err := unix.Openat2(root, parent, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH})
		switch {
		case err == nil:
			_ = unix.Close(fd) // nothing was written by it
		case errors.Is(err, unix.EXDEV):
			return parent, nil
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
			return "", nil
		default:
			return "", err
		}
	}
	return "", nil
}
