package cgroup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"ds01.dev/ds01/internal/quantity"
)

// Strain is how close a group comes to its limits.
type Strain struct {
	Held      quantity.ByteSize // memory that can't be taken back; below half of the limit, all that is in use or was; 0 without a limit
	Limit     quantity.ByteSize // of memory; 0: none
	Peak      quantity.ByteSize // the most memory that it has used; 0: the kernel doesn't say
	Waiting   float64           // per cent of the last ten seconds in which something waited for memory; 0 on v1, which doesn't say
	Periods   int64             // in which processor time was counted, since it was made
	Throttled int64             // those of them in which it wanted more than its limit
}

// Strain looks at a group. An absent group is an error that wraps
// os.ErrNotExist.
func (t *Tree) Strain(group string) (s Strain, err error) {
	if s.Limit, err = t.Limit(group); err != nil {
		return s, err
	}
	peak, cpu := filepath.Join(t.root, group, "memory.peak"), filepath.Join(t.root, group, "cpu.stat")
	if t.version == 1 {
		peak, cpu = filepath.Join(t.root, "memory", group, "memory.max_usage_in_bytes"), filepath.Join(t.root, "cpu", group, "cpu.stat")
	} else if s.Waiting, err = waiting(filepath.Join(t.root, group, "memory.pressure")); err != nil {
		return s, err
	}
	r := reader{}
	all := r.read(cpu)
	s.Periods, s.Throttled = r.fieldOf(all, cpu, "nr_periods"), r.fieldOf(all, cpu, "nr_throttled")
	highest := reader{}
	s.Peak = quantity.ByteSize(highest.number(peak))
	known := !errors.Is(highest.err, fs.ErrNotExist)
	if !known { // older kernels of v2 don't have it
		highest.err = nil
	}
	switch half := s.Limit / 2; {
	case s.Limit == 0:
	case known && s.Peak < half: // all are looked at often, and few come near their limit
		s.Held = s.Peak
	default:
		s.Held, err = t.inUse(group, half)
	}
	return s, errors.Join(r.err, highest.err, err)
}

// inUse returns what a group holds. What of that can be taken back is worth a
// longer look only from some size on; below it is in.
func (t *Tree) inUse(group string, from quantity.ByteSize) (quantity.ByteSize, error) {
	usage := filepath.Join(t.root, group, "memory.current")
	if t.version == 1 {
		usage = filepath.Join(t.root, "memory", group, "memory.usage_in_bytes")
	}
	r := reader{}
	if used := quantity.ByteSize(r.number(usage)); r.err != nil || used < from {
		return used, r.err
	}
	held, _, err := t.memory(group)
	return quantity.ByteSize(held), err
}

// HostWaiting returns for how many per cent of the last ten seconds something
// on this host waited for memory; 0 where the kernel doesn't say.
func HostWaiting() (float64, error) { return waiting("/proc/pressure/memory") }

// waiting reads the first line of a file of pressure, "some avg10=1.23 …", see
// Documentation/accounting/psi.rst. A kernel may have it turned off.
func waiting(path string) (float64, error) {
	data, err := os.ReadFile(path) //nolint:gosec // a file of the kernel
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
