package cgroup

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is what a group with everything below it has used and holds.
type Usage struct {
	CPUNanos    int64 // processor time so far
	MemoryBytes int64 // without page cache that can go at once, as docker stats counts
	MemoryLimit int64 // 0: none
	Pids        int64
}

// Usage reads a group, such as /ds01/u1001 or that of a container below it.
// An absent group is an error that wraps os.ErrNotExist.
func (t *Tree) Usage(group string) (Usage, error) {
	if t.version == 2 {
		return usage2(filepath.Join(t.root, group))
	}
	return t.usage1(group)
}

// unlimited is what v1 shows where there is no limit, rounded to a page.
const unlimited = 1 << 62

func (t *Tree) usage1(group string) (Usage, error) {
	r := reader{}
	at := func(controller, file string) string { return filepath.Join(t.root, controller, group, file) }
	u := Usage{
		CPUNanos:    r.number(at("cpuacct", "cpuacct.usage")),
		MemoryBytes: r.number(at("memory", "memory.usage_in_bytes")) - r.field(at("memory", "memory.stat"), "total_inactive_file"),
		MemoryLimit: r.number(at("memory", "memory.limit_in_bytes")),
		Pids:        r.number(at("pids", "pids.current")),
	}
	if u.MemoryLimit >= unlimited {
		u.MemoryLimit = 0
	}
	u.MemoryBytes = max(u.MemoryBytes, 0)
	return u, r.err
}

func usage2(dir string) (Usage, error) {
	r := reader{}
	u := Usage{
		CPUNanos:    r.field(filepath.Join(dir, "cpu.stat"), "usage_usec") * 1000,
		MemoryBytes: r.number(filepath.Join(dir, "memory.current")) - r.field(filepath.Join(dir, "memory.stat"), "inactive_file"),
		MemoryLimit: r.number(filepath.Join(dir, "memory.max")),
		Pids:        r.number(filepath.Join(dir, "pids.current")),
	}
	u.MemoryBytes = max(u.MemoryBytes, 0)
	return u, r.err
}

// reader reads small files and keeps the first error.
type reader struct {
	from func(path string) ([]byte, error) // nil: slurp
	err  error
}

func (r *reader) read(path string) []byte {
	if r.err != nil {
		return nil
	}
	read := r.from
	if read == nil {
		read = slurp
	}
	data, err := read(path)
	if err != nil {
		r.err = fmt.Errorf("read usage: %w", err)
	}
	return data
}

// number reads a file of one number; "max" is 0.
func (r *reader) number(path string) int64 {
	text := strings.TrimSpace(string(r.read(path)))
	if r.err != nil || text == "max" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		r.err = fmt.Errorf("read %s: %w", path, err)
	}
	return n
}

// field reads one "key value" line; a missing key is 0.
func (r *reader) field(path, key string) int64 {
	return r.fieldOf(r.read(path), path, key)
}

// fieldOf is field in what was read already.
func (r *reader) fieldOf(data []byte, path, key string) int64 {
	for line := range bytes.Lines(data) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		if string(name) != key {
			continue
		}
		n, err := strconv.ParseInt(string(value), 10, 64)
		if err != nil {
			r.err = fmt.Errorf("read %s: %w", path, err)
		}
		return n
	}
	return 0
}
