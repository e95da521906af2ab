package systemd_test

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"ds01.dev/ds01/internal/systemd"
)

func TestWhatIsSaidToKeepADescriptor(t *testing.T) {
	dir := t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "l"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", "")
	if err := systemd.Keep("door-x", l); err != nil {
		t.Errorf("without a service manager: %v", err)
	}
	path := filepath.Join(dir, "notify")
	t.Setenv("NOTIFY_SOCKET", path)
	if err := systemd.Drop("door-x"); err == nil {
		t.Error("nobody listens, and that is no error")
	}
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := systemd.Keep("door-x", l); err != nil {
		t.Fatal(err)
	}
	text, rights := make([]byte, 200), make([]byte, 200)
	n, m, _, _, err := manager.ReadMsgUnix(text, rights)
	if err != nil || string(text[:n]) != "FDSTORE=1\nFDNAME=door-x" {
		t.Errorf("%q, %v", text[:n], err)
	}
	messages, err := syscall.ParseSocketControlMessage(rights[:m])
	if err != nil || len(messages) != 1 {
		t.Fatal(messages, err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		t.Fatal(fds, err)
	}
	kept, err := net.FileListener(os.NewFile(uintptr(fds[0]), "kept"))
	if err != nil || kept.Addr().String() != l.Addr().String() {
		t.Errorf("%v, %v", kept, err)
	}
	if err := systemd.Drop("door-x"); err != nil {
		t.Fatal(err)
	}
	if n, _, _, _, err := manager.ReadMsgUnix(text, rights); err != nil || string(text[:n]) != "FDSTOREREMOVE=1\nFDNAME=door-x" {
		t.Errorf("%q, %v", text[:n], err)
	}
}

func TestWhatWasKeptIsForThisProcessOnly(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("LISTEN_FDNAMES", "door-x")
	if kept := systemd.Kept("door-"); len(kept) > 0 {
		t.Errorf("%v", kept)
	}
}
