// Package peer tells who is at the other end of a unix socket, by the
// kernel's word alone. It refuses peers that sit in a container, but for those
// at a socket of that container's own, who are its owner. It knows numbers, not
// names.
package peer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/problem"
)

// A Peer is the process that connected, as it was at that moment.
type Peer struct {
	UID, GID, PID int

	Through string // the engine's id of the container that speaks for UID; "": nobody speaks for them

	began uint64 // when the process did, see status
}

// Of returns who connected. A peer in another user or pid namespace than this
// process sits in a container and is refused with problem.ErrDenied: a socket
// mounted into a container gives nothing. One that ended meanwhile is refused
// too; it waits for no answer.
func Of(conn *net.UnixConn) (Peer, error) {
	const next = "Connect from a login on the host, not from inside a container; there /var/run/docker.sock can be mounted (-v)."
	return vouched(conn, next, func(p Peer) (Peer, error) { return p, sameNamespaces(p.PID) })
}

// A Container is one that has a socket of its own, at which whoever is in it is
// its owner.
type Container struct {
	Owner int    // uid
	ID    string // the engine's
	Holds func(pid int) bool
}

// In returns the owner of the container, as whom a process in it connected.
// Any other process is refused with problem.ErrDenied, wherever it has the
// socket from.
func (c Container) In(conn *net.UnixConn) (Peer, error) {
	const next = "Mount /var/run/docker.sock into the container that is to speak for you (-v)."
	return vouched(conn, next, func(p Peer) (Peer, error) {
		if !c.Holds(p.PID) {
			return p, errors.New("this socket is another container's, and it isn't in that")
		}
		return Peer{UID: c.Owner, GID: -1, PID: p.PID, Through: c.ID, began: p.began}, nil
	})
}

// vouched asks the kernel who connected, and look for whom that process
// speaks, or why it may not.
func vouched(conn *net.UnixConn, next string, look func(Peer) (Peer, error)) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("peer of a connection: %w", err)
	}
	var cred *unix.Ucred
	var pidfd int
	var credErr, pidfdErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		pidfd, pidfdErr = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	})
	if err := errors.Join(err, credErr); err != nil {
		return Peer{}, fmt.Errorf("peer of a connection: %w", err)
	}
	switch {
	case pidfdErr == nil:
		defer unix.Close(pidfd) //nolint:errcheck // it was only asked
	case !errors.Is(pidfdErr, unix.ENOPROTOOPT): // kernels before 6.5 don't know the option
		return Peer{}, refused(errors.New("it has ended"), next)
	}
	connected := Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}
	if s, err := statusOf(folderOf(connected.PID)); err == nil { // else it has ended, which look finds out
		connected.began = s.began
	}
	p, err := look(connected)
	if err != nil {
		return Peer{}, &refusedError{refused(err, next), connected}
	}
	// The pid may have been given to another process while we looked.
	if pidfdErr == nil && unix.PidfdSendSignal(pidfd, 0, nil, 0) != nil {
		return Peer{}, refused(errors.New("it has ended"), next)
	}
	return p, nil
}

// A refusedError remembers who it was.
type refusedError struct {
	error
	peer Peer
}

func (r *refusedError) Unwrap() error { return r.error }

// Refused returns who was refused with err, as the kernel names them, for the
// record only.
func Refused(err error) (p Peer, ok bool) {
	r, ok := errors.AsType[*refusedError](err)
	if ok {
		p = r.peer
	}
	return p, ok
}

func refused(err error, next string) error {
	return &problem.Error{
		What: "Connection refused",
		Why:  problem.Because(problem.ErrDenied, "the process that connected can't be vouched for: "+err.Error()),
		Next: next,
	}
}

// sameNamespaces compares the namespaces that tell a container apart.
func sameNamespaces(pid int) error {
	for _, kind := range []string{"user", "pid"} {
		own, err := os.Readlink(filepath.Join("/proc/self/ns", kind))
		if err != nil {
			return err
		}
		theirs, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "ns", kind))
		if err != nil {
			return errors.New("it has ended, or sits in a container")
		}
		if own != theirs {
			return fmt.Errorf("it has a %s namespace of its own, as a container has", kind)
		}
	}
	return nil
}

type key struct{}

type found struct {
	peer Peer
	err  error
}

// ConnContext is for http.Server: it finds out once per connection.
func ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return withFound(ctx, conn, Of)
}

// ConnContext is ConnContext at the container's own socket.
func (c Container) ConnContext(ctx context.Context, conn net.Conn) context.Context {
	return withFound(ctx, conn, c.In)
}

func withFound(ctx context.Context, conn net.Conn, find func(*net.UnixConn) (Peer, error)) context.Context {
	f := found{err: errors.New("the connection is no unix socket")}
	if u, ok := conn.(*net.UnixConn); ok {
		f.peer, f.err = find(u)
	}
	return context.WithValue(ctx, key{}, f)
}

// FromContext returns what ConnContext found. A context that didn't come
// through it is an error.
func FromContext(ctx context.Context) (Peer, error) {
	f, ok := ctx.Value(key{}).(found)
	if !ok {
		return Peer{}, errors.New("nobody asked who is at the other end")
	}
	return f.peer, f.err
}
