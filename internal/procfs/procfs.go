// Package procfs reads what the kernel counts for a process. It ends none and
// changes nothing.
package procfs

import (
	"bytes"
	"fmt"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Process is one that was there when it was opened, and never another that gets
// its number. It isn't safe for concurrent use.
type Process struct {
	folder int // of the process in /proc
	buffer []byte
}

// Open opens a process by its number. One that isn't there is an error that wraps
// fs.ErrNotExist.
func Open(pid int) (*Process, error) {
	path := "/proc/" + strconv.Itoa(pid)
	folder, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Process{folder: folder}, nil
}

// Close lets go of the process.
func (p *Process) Close() error { return unix.Close(p.folder) }

// Network returns how many bytes came in and went out so far by each network
// interface of the process's network, its loopback left out. An interface that is
// new has counted from zero. Of a process that has ended it is an error.
func (p *Process) Network() (map[string]int64, error) {
	data, err := p.read("net/dev")
	if err != nil {
		return nil, fmt.Errorf("read the network of a process: %w", err)
	}
	all := map[string]int64{}
	for line := range bytes.Lines(data) {
		name, counts, ok := bytes.Cut(line, []byte(":"))
		if !ok || string(bytes.TrimSpace(name)) == "lo" {
			continue // a heading, or loopback
		}
		f := bytes.Fields(counts)
		if len(f) < 9 {
			return nil, fmt.Errorf("no network interface: %.80q", line)
		}
		in, err := strconv.ParseInt(string(f[0]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the network of a process: %w", err)
		}
		out, err := strconv.ParseInt(string(f[8]), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the network of a process: %w", err)
		}
		all[string(bytes.TrimSpace(name))] = in + out
	}
	return all, nil
}

// read returns what a file below the process's folder holds, until the next read.
func (p *Process) read(name string) ([]byte, error) {
	fd, err := unix.Openat(p.folder, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // read only
	if p.buffer == nil {
		p.buffer = make([]byte, 0, 1024)
	}
	data := p.buffer[:0]
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		if err != nil {
			return nil, err
		}
		if n == 0 {
			p.buffer = data
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}
