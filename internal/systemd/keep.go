package systemd

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Keep has the service manager keep a descriptor, open as it is, for the next
// process of this service; a name may hold anything but ':'. Without a service
// manager nothing is done. See sd_pid_notify_with_fds(3).
func Keep(name string, from syscall.Conn) error {
	raw, err := from.SyscallConn()
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	var said error
	err = raw.Control(func(fd uintptr) {
		said = tell("FDSTORE=1\nFDNAME="+name, unix.UnixRights(int(fd)))
	})
	if err == nil {
		err = said
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}

// Drop lets the service manager close what it keeps under a name. Nothing kept
// is no error.
func Drop(name string) error {
	if err := tell("FDSTOREREMOVE=1\nFDNAME="+name, nil); err != nil {
		return fmt.Errorf("drop %s: %w", name, err)
	}
	return nil
}

// Kept returns what was kept for this process whose names have a prefix, by
// the rest of them. Everything else that was handed over is closed. It works
// once: the descriptors are the caller's then.
func Kept(prefix string) map[string]*os.File {
	kept := map[string]*os.File{}
	for _, f := range activation.Files(true) {
		name, ok := strings.CutPrefix(f.Name(), prefix)
		if _, twice := kept[name]; !ok || twice {
			_ = f.Close() // nobody knows it
			continue
		}
		kept[name] = f
	}
	return kept
}

// tell sends the service manager a message with descriptors.
func tell(state string, rights []byte) error {
	path := os.Getenv("NOTIFY_SOCKET") //nolint:forbidigo // systemd says there where it listens
	if path == "" {
		return nil
	}
	socket, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket) //nolint:errcheck // what was sent is there
	return unix.Sendmsg(socket, []byte(state), rights, &unix.SockaddrUnix{Name: path}, 0)
}
