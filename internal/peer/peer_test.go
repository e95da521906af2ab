package peer_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/peer"
	"ds01.dev/ds01/internal/problem"
)

// clientArg makes this program the other end of a socket: it connects, asks
// for a page, and copies what it gets to its output, until there is no more.
const clientArg = "be-the-client"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == clientArg {
		if err := dial(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func dial(path string) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, conn)
	return err
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("other users need root")
		}
		t.Skip("other users need root")
	}
}

// listen returns a socket that everybody can reach, with this program in a
// place where everybody can start it.
func listen(t *testing.T) (l *net.UnixListener, client string) {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "ds01tp") //nolint:usetesting // others must get there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a scratch folder
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	client = filepath.Join(dir, "client")
	if err := os.WriteFile(client, self, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "socket")
	l, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // it may be closed
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := l.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return l, client
}

// connected starts a client and returns this end once it has connected.
func connected(t *testing.T, attr *syscall.SysProcAttr) (conn *net.UnixConn, cmd *exec.Cmd) {
	t.Helper()
	l, client := listen(t)
	cmd = exec.Command(client, clientArg, l.Addr().String())
	cmd.SysProcAttr, cmd.Stderr = attr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed
	return conn, cmd
}

func user(uid, gid uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
}

// same compares what the kernel says of two.
func same(p, q peer.Peer) bool {
	return p.UID == q.UID && p.GID == q.GID && p.PID == q.PID && p.Through == q.Through
}

func TestTheKernelSaysWhoConnected(t *testing.T) {
	for name, id := range map[string][2]uint32{"root": {0, 0}, "a person": {70001, 70002}, "a person of a directory": {1512345678, 1512300513}} {
		t.Run(name, func(t *testing.T) {
			conn, cmd := connected(t, user(id[0], id[1]))
			got, err := peer.Of(conn)
			if want := (peer.Peer{UID: int(id[0]), GID: int(id[1]), PID: cmd.Process.Pid}); err != nil || !same(got, want) {
				t.Errorf("%+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestPeersInContainersAreRefused(t *testing.T) {
	base := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 2147483648, Size: 65536}}
	root := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	for name, attr := range map[string]*syscall.SysProcAttr{
		"a remapped container":                   {Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID, UidMappings: base, GidMappings: base, Credential: &syscall.Credential{}},
		"a user namespace that maps root":        {Cloneflags: syscall.CLONE_NEWUSER, UidMappings: root, GidMappings: root},
		"a container that isn't remapped":        {Cloneflags: syscall.CLONE_NEWPID},
		"a person's in a container not remapped": {Cloneflags: syscall.CLONE_NEWPID, Credential: &syscall.Credential{Uid: 70001, Gid: 70001}},
	} {
		t.Run(name, func(t *testing.T) {
			conn, cmd := connected(t, attr)
			got, err := peer.Of(conn)
			if !errors.Is(err, problem.ErrDenied) || got != (peer.Peer{}) {
				t.Errorf("%+v, %v; want it denied", got, err)
			}
			if who, ok := peer.Refused(err); !ok || who.PID != cmd.Process.Pid {
				t.Errorf("the record would name %+v", who)
			}
			if next := strings.Join(problem.Lines(err), " "); !strings.Contains(next, "login on the host") {
				t.Errorf("it doesn't say what to do: %s", next)
			}
		})
	}
}

func TestAContainersOwnSocketIsItsOwners(t *testing.T) {
	conn, cmd := connected(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID})
	var asked int
	c := peer.Container{Owner: 1001, ID: "abc", Holds: func(pid int) bool { asked = pid; return true }}
	got, err := c.In(conn)
	if want := (peer.Peer{UID: 1001, GID: -1, PID: cmd.Process.Pid, Through: "abc"}); err != nil || !same(got, want) || asked != want.PID {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	c.Holds = func(int) bool { return false } // another container's, or the host's root
	got, err = c.In(conn)
	if !errors.Is(err, problem.ErrDenied) || got != (peer.Peer{}) {
		t.Errorf("%+v, %v; want it denied", got, err)
	}
	if who, ok := peer.Refused(err); !ok || who.PID != cmd.Process.Pid || who.Through != "" {
		t.Errorf("the record would name %+v", who)
	}
}

// Its pid may be anybody's by now, and the connection may have been handed to
// a process that could not have made it.
func TestAPeerThatHasEndedIsRefused(t *testing.T) {
	conn, cmd := connected(t, user(70001, 70001))
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if got, err := peer.Of(conn); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("%+v, %v; want it denied", got, err)
	}
}

func TestAServersRequestsKnowTheirPeer(t *testing.T) {
	l, client := listen(t)
	server := &http.Server{ConnContext: peer.ConnContext, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := peer.FromContext(r.Context())
		fmt.Fprintf(w, "peer %d %d %v", p.UID, p.GID, err)
	})}
	go server.Serve(l) // ends with Close
	defer server.Close()
	for name, c := range map[string]struct {
		attr *syscall.SysProcAttr
		want string
	}{
		"a person":    {user(70001, 70002), "peer 70001 70002 <nil>"},
		"a container": {&syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}, "peer 0 0 Connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(client, clientArg, l.Addr().String())
			cmd.SysProcAttr = c.attr
			if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), c.want) {
				t.Errorf("%s, %v; want %q", out, err, c.want)
			}
		})
	}
}

func TestWhoeverDidNotComeOverAUnixSocketIsNobody(t *testing.T) {
	if p, err := peer.FromContext(context.Background()); err == nil {
		t.Errorf("a context of nobody's: %+v", p)
	}
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	if p, err := peer.FromContext(peer.ConnContext(context.Background(), here)); err == nil {
		t.Errorf("a connection of another kind: %+v", p)
	}
}

// accepted returns this end of a connection of this process with itself.
func accepted(b *testing.B) *net.UnixConn {
	b.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(b.TempDir(), "s"), Net: "unix"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	there, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = there.Close() })
	here, err := l.AcceptUnix()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = here.Close() })
	return here
}

func BenchmarkOf(b *testing.B) {
	conn := accepted(b)
	for b.Loop() {
		if _, err := peer.Of(conn); err != nil {
			b.Fatal(err)
		}
	}
}
