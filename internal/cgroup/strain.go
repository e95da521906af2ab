package cgroup

import (
	"bytes"
	"errors"
	"io/fs"
	"strconv"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/quantity"
)

// Strain is how close a group comes to its limits.
type Strain struct {
	Used      quantity.ByteSize // memory
	Held      quantity.ByteSize // memory that can't be taken back; below half of the limit, all that is in use; 0 without a limit
	Limit     quantity.ByteSize // of memory; 0: none
	Peak      quantity.ByteSize // the most memory that it has used; 0: the kernel doesn't say
	Waiting   float64           // per cent of the last ten seconds in which something waited for memory; 0 on v1, which doesn't say
	Periods   int64             // in which processor time was counted, since it was made
	Throttled int64             // those of them in which it wanted more than its limit
}

// A Gauge looks at one group again and again. Its files stay open: to find and open
// them is most of what a look costs. It isn't safe for concurrent use.
type Gauge struct {
	tree   *Tree
	group  string
	open   map[string]int // descriptors, by path
	buffer [1024]byte     // for one file at a time: they are shorter
}

// Gauge returns a gauge of a group, which is to be closed.
func (t *Tree) Gauge(group string) *Gauge {
	return &Gauge{tree: t, group: group, open: map[string]int{}}
}

// Close closes the gauge's files.
func (g *Gauge) Close() error {
	for _, fd := range g.open {
		_ = unix.Close(fd) // read only
	}
	clear(g.open)
	return nil
}

// read reads a file from its beginning; the next one takes its place. One of a group
// that is gone is an error that wraps os.ErrNotExist.
func (g *Gauge) read(path string) ([]byte, error) {
	fd, ok := g.open[path]
	if !ok {
		var err error
		if fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
		g.open[path] = fd
	}
	n, err := unix.Pread(fd, g.buffer[:], 0)
	if errors.Is(err, unix.ENODEV) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return g.buffer[:n], nil
}

// Strain looks at the group. An absent group is an error that wraps
// os.ErrNotExist.
func (g *Gauge) Strain() (s Strain, err error) {
	t, r := g.tree, reader{from: g.read}
	path := func(controller, v1, v2 string) string { return t.file(controller, g.group, v1, v2) }
	s.Limit = limitOf(&r, path("memory", "memory.limit_in_bytes", "memory.max"))
	cpu := path("cpu", "cpu.stat", "cpu.stat")
	all := r.read(cpu)
	s.Periods, s.Throttled = r.fieldOf(all, cpu, "nr_periods"), r.fieldOf(all, cpu, "nr_throttled")
	if r.err != nil {
		return s, r.err
	}
	if t.version == 2 {
		if s.Waiting, err = waiting(path("", "", "memory.pressure"), g.read); err != nil {
			return s, err
		}
	}
	s.Used = quantity.ByteSize(r.number(path("memory", "memory.usage_in_bytes", "memory.current")))
	if r.err != nil {
		return s, r.err
	}
	s.Peak = quantity.ByteSize(r.number(path("memory", "memory.max_usage_in_bytes", "memory.peak")))
	if errors.Is(r.err, fs.ErrNotExist) { // older kernels of v2
		r.err = nil
	}
	switch {
	case s.Limit == 0:
	case s.Used < s.Limit/2: // all are looked at often, and few come near their limit
		s.Held = s.Used
	default:
		var held int64
		held, _, err = t.memory(g.group)
		s.Held = quantity.ByteSize(held)
	}
	return s, errors.Join(r.err, err)
}

// HostWaiting returns for how many per cent of the last ten seconds something
// on this host waited for memory; 0 where the kernel doesn't say.
func HostWaiting() (float64, error) { return waiting("/proc/pressure/memory", slurp) }

// waiting reads the first line of a file of pressure, "some avg10=1.23 …", see
// Documentation/accounting/psi.rst. A kernel may have it turned off.
func waiting(path string, read func(string) ([]byte, error)) (float64, error) {
	data, err := read(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errors.ErrUnsupported) {
			return 0, nil
		}
		return 0, err
	}
	_, rest, _ := bytes.Cut(data, []byte("some avg10="))
	number, _, _ := bytes.Cut(rest, []byte(" "))
	percent, err := strconv.ParseFloat(string(number), 64)
	if err != nil {
		return 0, nil //nolint:nilerr // it says nothing that is known
	}
	return percent, nil
}
