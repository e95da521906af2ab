package probe

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ds01.dev/ds01/internal/safety"
)

// deepest is how far below the folder of sockets is looked:
// /run/user/1000/podman/podman.sock.
const deepest = 4

// Sockets finds unix sockets below run that speak for an engine and that
// somebody but root can open. As root it tells by modes who can; as anybody
// else it opens what it can.
func Sockets(ctx context.Context, run string, own ...string) []safety.Socket {
	var found []safety.Socket
	skip := skipped(run)
	_ = filepath.WalkDir(run, func(path string, d fs.DirEntry, err error) error {
		below, rerr := filepath.Rel(run, path)
		switch {
		case ctx.Err() != nil:
			return fs.SkipAll
		case err != nil || rerr != nil:
			return nil //nolint:nilerr // what can't be entered can't be opened
		case d.IsDir() && (slices.Contains(skip, path) || strings.Count(below, "/") >= deepest):
			return fs.SkipDir
		case d.Type()&fs.ModeSocket == 0 || isOwn(path, own):
			return nil
		}
		to := openTo(ctx, path)
		if to == "" {
			return nil
		}
		if speaks := greet(ctx, "unix", path); speaks != "" {
			found = append(found, safety.Socket{Where: path, Speaks: speaks, OpenTo: to})
		}
		return nil
	})
	return found
}

// TCP finds engines on the loopback ports that are Docker's.
func TCP(ctx context.Context) []safety.Socket {
	var found []safety.Socket
	for _, port := range []string{"2375", "2376"} {
		address := net.JoinHostPort("127.0.0.1", port)
		if speaks := greet(ctx, "tcp", address); speaks != "" {
			found = append(found, safety.Socket{Where: "tcp://" + address, Speaks: speaks, OpenTo: "everybody"})
		}
	}
	return found
}

// isOwn compares files, not paths: /var/run is /run.
func isOwn(path string, own []string) bool {
	info, err := os.Stat(path)
	return err == nil && slices.ContainsFunc(own, func(o string) bool {
		other, err := os.Stat(o)
		return err == nil && os.SameFile(info, other)
	})
}

// openTo says who but root may open a socket, "" = nobody.
func openTo(ctx context.Context, path string) string {
	if os.Geteuid() != 0 {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
		if err != nil {
			return ""
		}
		_ = conn.Close() // it was only tried
		return "you"
	}
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ""
	}
	mode := info.Mode()
	switch open := others(filepath.Dir(path)); {
	case open && mode&0o002 != 0:
		return "everybody"
	case mode&0o020 != 0 && st.Gid != 0:
		name := groupName(ctx, st.Gid)
		if members := Members(ctx, name); len(members) > 0 {
			return "the group " + name + " (" + strings.Join(members, ", ") + ")"
		}
		return ""
	case st.Uid != 0 && mode&0o200 != 0:
		return "its owner, uid " + strconv.FormatUint(uint64(st.Uid), 10)
	}
	return ""
}

// others reports whether everybody may go into a folder.
func others(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil || info.Mode()&0o001 == 0 {
			return false
		}
		if dir == "/" {
			return true
		}
	}
}

// greet asks whoever listens who they are: in Docker's way, then in that of
// the engines' own services where the name says that it may be one.
func greet(ctx context.Context, network, address string) string {
	answer := exchange(ctx, network, address, "GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
	head, _, _ := bytes.Cut(answer, []byte("\r\n\r\n"))
	if low := bytes.ToLower(head); bytes.Contains(low, []byte("\napi-version:")) || bytes.Contains(low, []byte("\nserver: docker/")) || bytes.Contains(low, []byte("\nlibpod-api-version:")) {
		return "Docker's API"
	}
	for _, service := range []struct{ name, speaks string }{{"buildkit", "BuildKit"}, {"crio", "CRI-O"}, {"containerd", "containerd"}} {
		if network == "unix" && strings.Contains(address, service.name) && isHTTP2(exchange(ctx, network, address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")) {
			return service.speaks
		}
	}
	return ""
}

// isHTTP2 reports whether an answer begins with HTTP/2's settings, as gRPC
// does.
func isHTTP2(answer []byte) bool { return len(answer) >= 9 && answer[3] == 0x4 }

// exchange says one thing and returns the beginning of the answer.
func exchange(ctx context.Context, network, address, text string) []byte {
	ctx, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
	defer cancel()
	answer := converse(ctx, &net.Dialer{}, network, address, text)
	if network == "tcp" && len(answer) == 0 {
		// The engine's other port speaks TLS; who gets in without a
		// certificate of their own is in, whatever its own says.
		anyone := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // it is asked who it is, and told nothing
		answer = converse(ctx, &tls.Dialer{Config: anyone}, network, address, text)
	}
	return answer
}

func converse(ctx context.Context, by interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}, network, address, text string,
) []byte {
	conn, err := by.DialContext(ctx, network, address)
	if err != nil {
		return nil
	}
	defer conn.Close() //nolint:errcheck // it was only asked
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline) // without one it would wait for ever, and it has one
	}
	if _, err := io.WriteString(conn, text); err != nil {
		return nil
	}
	answer := make([]byte, 1024)
	n, _ := io.ReadAtLeast(conn, answer, 9) // as much as came
	return answer[:n]
}
