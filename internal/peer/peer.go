// Package peer tells who is at the other end of a unix socket, by the
// kernel's word alone, and refuses peers that sit in a container. It knows
// numbers, not names.
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
}

// Of returns who connected. A peer in another user or pid namespace than this
// process sits in a container and is refused with problem.ErrDenied: a socket
// mounted into a container gives nothing. One that ended meanwhile is refused
// too; it waits for no answer.
func Of(conn *net.UnixConn) (Peer, error) {
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
		return Peer{}, refused(errors.New("it has ended"))
	}
	p := Peer{UID: int(cred.Uid), GID: int(cred.Gid), PID: int(cred.Pid)}
	if err := sameNamespaces(p.PID); err != nil {
		return Peer{}, &refusedError{refused(err), p}
	}
	// The pid may have been given to another process while we looked.
	if pidfdErr == nil && unix.PidfdSendSignal(pidfd, 0, nil, 0) != nil {
		return Peer{}, refused(errors.New("it has ended"))
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

func refused(err error) error {
	return &problem.Error{
		What: "Connection refused",
		Why:  problem.Because(problem.ErrDenied, "the process that connected can't be vouched for: "+err.Error()),
		Next: "Connect from a login on the host, not from inside a container.",
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
	f := found{err: errors.New("the connection is no unix socket")}
	if u, ok := conn.(*net.UnixConn); ok {
		f.peer, f.err = Of(u)
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
