package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// A keeper stands in for systemd as far as it keeps a daemon's descriptors over
// a restart: sd_pid_notify_with_fds(3), sd_listen_fds(3).
type keeper struct {
	path string
	read chan struct{} // told of each mark that has been read

	mu   sync.Mutex
	kept map[string]*os.File // by name
}

// startKeeper listens to what the daemon says to its service manager.
func (l *Lab) startKeeper() {
	l.t.Helper()
	k := &keeper{path: filepath.Join(l.Root, "notify"), read: make(chan struct{}), kept: map[string]*os.File{}}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: k.path, Net: "unixgram"})
	l.must(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		text, rights := make([]byte, 4096), make([]byte, 4096)
		for {
			n, m, _, _, err := conn.ReadMsgUnix(text, rights)
			if err != nil {
				return // the lab ends
			}
			if string(text[:n]) == mark {
				k.read <- struct{}{}
				continue
			}
			k.hear(string(text[:n]), rights[:m])
		}
	}()
	l.t.Cleanup(func() {
		_ = conn.Close() // nothing was written
		<-done
		for _, f := range k.kept {
			_ = f.Close() // only kept
		}
	})
	l.keeper = k
}

// hear does what a message asks for.
func (k *keeper) hear(text string, rights []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	said := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[key] = value
	}
	name := said["FDNAME"]
	if said["FDSTOREREMOVE"] == "1" {
		if f := k.kept[name]; f != nil {
			_ = f.Close() // only kept
		}
		delete(k.kept, name)
	}
	messages, _ := syscall.ParseSocketControlMessage(rights) // none: nothing to keep
	for _, m := range messages {
		fds, _ := syscall.ParseUnixRights(&m)
		for _, fd := range fds {
			syscall.CloseOnExec(fd)
			k.kept[name] = os.NewFile(uintptr(fd), name)
		}
	}
}

// mark is what the keeper says to itself.
const mark = "MARK"

// drain waits until all that was said before has been heard.
func (k *keeper) drain() error {
	conn, err := net.Dial("unixgram", k.path)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it has written
	if _, err = conn.Write([]byte(mark)); err == nil {
		<-k.read
	}
	return err
}

// start starts a daemon with what was kept of the one before.
func (k *keeper) start(cmd *exec.Cmd) error {
	if err := k.drain(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var names []string
	for name, f := range k.kept {
		names, cmd.ExtraFiles = append(names, name), append(cmd.ExtraFiles, f)
	}
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+k.path, fmt.Sprint("LISTEN_FDS=", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	// the daemon's own number is known only once it is there
	cmd.Args = append([]string{"sh", "-c", `export LISTEN_PID=$$; exec "$@"`, "sh"}, cmd.Args...)
	cmd.Path = "/bin/sh"
	return cmd.Start()
}
