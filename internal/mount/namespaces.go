package mount

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
)

// maxKept bounds how many user namespaces are kept, and so open files.
const maxKept = 64

// Namespaces keeps the user namespaces that hold mappings, those used last.
// Making one takes milliseconds, and all starts of a person's containers need
// the same few. The zero value is ready; it is safe for concurrent use.
type Namespaces struct {
	mu   sync.Mutex
	kept []mapped // the one used last comes first
}

type mapped struct {
	key  string
	file *os.File
}

// Close lets go of all that are kept. Mounts stay.
func (n *Namespaces) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var errs []error
	for _, k := range n.kept {
		errs = append(errs, k.file.Close())
	}
	n.kept = nil
	return errors.Join(errs...)
}

// use calls f with a namespace of these maps. It stays open until f returns.
func (n *Namespaces) use(uids, gids []syscall.SysProcIDMap, f func(fd uintptr) error) error {
	if n == nil {
		file, err := namespace(uids, gids)
		if err != nil {
			return err
		}
		defer file.Close() //nolint:errcheck // the mount holds it
		return f(file.Fd())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.bringForward(uids, gids); err != nil {
		return err
	}
	return f(n.kept[0].file.Fd())
}

// bringForward makes the namespace of these maps the first; it is called with
// the mutex held.
func (n *Namespaces) bringForward(uids, gids []syscall.SysProcIDMap) error {
	key := fmt.Sprint(uids, gids)
	if i := slices.IndexFunc(n.kept, func(k mapped) bool { return k.key == key }); i >= 0 {
		found := n.kept[i]
		n.kept = slices.Insert(slices.Delete(n.kept, i, i+1), 0, found)
		return nil
	}
	file, err := namespace(uids, gids)
	if err != nil {
		return err
	}
	n.kept = slices.Insert(n.kept, 0, mapped{key, file})
	if len(n.kept) > maxKept {
		err = n.kept[maxKept].file.Close()
		n.kept = n.kept[:maxKept]
	}
	return err
}
