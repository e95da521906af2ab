package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Worked returns the processor time that a group with everything below it has
// used so far. An absent group is an error that wraps fs.ErrNotExist.
func (t *Tree) Worked(group string) (time.Duration, error) {
	file, key, unit := t.file("cpuacct", group, "cpuacct.usage", "cpu.stat"), "", time.Nanosecond
	if t.version == 2 {
		key, unit = "usage_usec ", time.Microsecond
	}
	data, err := slurp(file)
	if err != nil {
		return 0, err
	}
	n, err := amount(file, data, key)
	return time.Duration(n) * unit, err
}

// Processors returns on how many processors at a time what is in a group can run:
// the least that its own quota, the quota of a group above, and the set of
// processors which it may run on leave it. Of groups above, those are not read
// again that are in seen, by path; what is read is added. It may be nil.
func (t *Tree) Processors(group string, seen map[string]float64) (float64, error) {
	set, err := t.processorSet(group)
	if err != nil {
		return 0, err
	}
	own, err := t.quotaOf(group)
	if err != nil {
		return 0, err
	}
	above, err := t.quotaUpFrom(filepath.Dir(group), seen)
	return min(set, own, above), err
}

// quotaUpFrom returns the least quota of a group and those above it.
func (t *Tree) quotaUpFrom(group string, seen map[string]float64) (float64, error) {
	if group == "/" || group == "." {
		return math.Inf(1), nil
	}
	if least, ok := seen[group]; ok {
		return least, nil
	}
	own, err := t.quotaOf(group)
	if err != nil {
		return 0, err
	}
	above, err := t.quotaUpFrom(filepath.Dir(group), seen)
	if err != nil {
		return 0, err
	}
	least := min(own, above)
	if seen != nil {
		seen[group] = least
	}
	return least, nil
}

// processorSet counts the processors that a group may run on. Where the kernel
// keeps no set for it, these are the daemon's own.
func (t *Tree) processorSet(group string) (float64, error) {
	file := t.file("cpuset", group, "cpuset.effective_cpus", "cpuset.cpus.effective")
	data, err := slurp(file)
	if errors.Is(err, fs.ErrNotExist) {
		return float64(runtime.NumCPU()), nil
	}
	if err != nil {
		return 0, err
	}
	n, err := members(string(bytes.TrimSpace(data)))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return float64(n), nil
}

// file returns the path of a group's file, which has a name on v1 and one on v2. It is
// put together for each of thousands, so it is taken as it is: a group begins with "/".
func (t *Tree) file(controller, group, v1, v2 string) string {
	if t.version == 2 {
		return t.root + group + "/" + v2
	}
	return t.root + "/" + controller + group + "/" + v1
}

// members counts a list such as "0-3,8".
func members(list string) (n int, err error) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, ranged := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		to := from
		if err == nil && ranged {
			to, err = strconv.Atoi(last)
		}
		if err != nil || to < from {
			return 0, fmt.Errorf("%q is no list of processors", list)
		}
		n += to - from + 1
	}
	return n, nil
}

// quotaOf returns a group's own quota in processors. Without one, and where the
// kernel keeps none, it is infinite.
func (t *Tree) quotaOf(group string) (float64, error) {
	file := t.file("cpu", group, quotaFile, "cpu.max")
	data, err := slurp(file)
	if errors.Is(err, fs.ErrNotExist) {
		return math.Inf(1), nil
	}
	if err != nil {
		return 0, err
	}
	us, per, _ := bytes.Cut(bytes.TrimSpace(data), []byte(" "))
	if string(us) == "max" || string(us) == "-1" {
		return math.Inf(1), nil
	}
	if t.version == 1 {
		if per, err = slurp(t.file("cpu", group, "cpu.cfs_period_us", "")); err != nil {
			return 0, err
		}
	}
	has, err := amount(file, us, "")
	if err != nil {
		return 0, err
	}
	of, err := amount(file, per, "")
	if err != nil {
		return 0, err
	}
	if has <= 0 || of <= 0 {
		return 0, fmt.Errorf("read %s: a quota of %d in %d µs", file, has, of)
	}
	return float64(has) / float64(of), nil
}

// Transferred returns how many bytes a group with everything below it has read
// from disks and written to them so far, apart for each thing that they were
// counted for, by its number: a number that is new has counted from zero.
//
// On v2 that is a device. On v1 it is a process, with those that it has waited for:
// there the kernel charges nobody's group with what is written through the page
// cache, and newer ones count nothing for a device without a limit. What a process
// did that has ended comes to its parent, and so a second time. On a kernel that
// counts neither the error wraps errors.ErrUnsupported.
func (t *Tree) Transferred(group string) (map[uint64]int64, error) {
	if t.version == 2 {
		file := t.file("", group, "", "io.stat")
		data, err := slurp(file)
		if err == nil {
			return deviceBytes(file, data)
		}
		if !errors.Is(err, fs.ErrNotExist) { // else the controller is off there
			return nil, err
		}
	}
	return t.processBytes(group)
}

// deviceBytes reads lines such as "8:0 rbytes=90112 wbytes=4096 rios=…".
func deviceBytes(file string, data []byte) (map[uint64]int64, error) {
	all := map[uint64]int64{}
	for line := range bytes.Lines(data) {
		device, counts, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		if len(device) == 0 {
			continue
		}
		var major, minor uint32
		if _, err := fmt.Sscanf(string(device), "%d:%d", &major, &minor); err != nil {
			return nil, fmt.Errorf("read %s: %q is no device", file, device)
		}
		for field := range bytes.FieldsSeq(counts) {
			for _, key := range []string{"rbytes=", "wbytes="} {
				if !bytes.HasPrefix(field, []byte(key)) {
					continue
				}
				n, err := amount(file, field, key)
				if err != nil {
					return nil, err
				}
				all[unix.Mkdev(major, minor)] += n
			}
		}
	}
	return all, nil
}

func (t *Tree) processBytes(group string) (map[uint64]int64, error) {
	root := t.root
	if t.version == 1 {
		root = filepath.Join(t.root, "pids")
	}
	pids, err := everyone(filepath.Join(root, group))
	if err != nil {
		return nil, err
	}
	all := make(map[uint64]int64, len(pids))
	for _, pid := range pids {
		file := "/proc/" + strconv.Itoa(pid) + "/io"
		data, err := slurp(file)
		if errors.Is(err, unix.ESRCH) || errors.Is(err, fs.ErrNotExist) && exists("/proc/self/io") {
			continue // it has ended
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the kernel doesn't count what processes read and write: %w", errors.ErrUnsupported)
		}
		if err != nil {
			return nil, err
		}
		read, err := amount(file, data, "\nread_bytes: ")
		if err != nil {
			return nil, err
		}
		written, err := amount(file, data, "\nwrite_bytes: ")
		if err != nil {
			return nil, err
		}
		all[uint64(pid)] = read + written //nolint:gosec // process ids are above 0
	}
	return all, nil
}

// everyone returns the processes in a group and those below it.
func everyone(dir string) ([]int, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Nlink > 2 { // there are groups below
		var all []int
		for pid := range processes([]string{dir}) {
			all = append(all, pid)
		}
		return all, nil
	}
	data, err := slurp(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	var all []int
	for word := range bytes.FieldsSeq(data) {
		if pid, err := strconv.Atoi(string(word)); err == nil && pid > 0 {
			all = append(all, pid)
		}
	}
	return all, nil
}

// amount returns the number behind the first key in what a file holds.
func amount(file string, data []byte, key string) (int64, error) {
	_, rest, found := bytes.Cut(data, []byte(key))
	end := bytes.IndexAny(rest, " \n")
	if end < 0 {
		end = len(rest)
	}
	n, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	if !found || err != nil {
		return 0, fmt.Errorf("read %s: no number behind %q in %.80q", file, strings.TrimSpace(key), data)
	}
	return n, nil
}

// slurp reads a file of the kernel. os.ReadFile takes five times as long, which
// counts where thousands are read, or somebody waits for ten.
func slurp(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)         //nolint:errcheck // read only
	data := make([]byte, 0, 256) // as long as most are
	for {
		n, err := unix.Read(fd, data[len(data):cap(data)])
		if err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 {
			return data, nil
		}
		if data = data[:len(data)+n]; len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
}
