package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/quantity"
)

// A Disk is a whole disk by its number.
type Disk struct{ Major, Minor uint32 }

// Rates bound what a group reads from each disk and writes to it, in bytes per
// second.
type Rates struct {
	Read, Write quantity.Limit[quantity.ByteSize]
}

// HoldsRates says why this host can't hold groups to Rates; nil: it can.
func (t *Tree) HoldsRates() error {
	if t.version == 2 {
		if has, err := text(filepath.Join(t.root, "cgroup.controllers")); err != nil || !strings.Contains(" "+has+" ", " io ") {
			return problem.Because(problem.ErrUnavailable, "this host's control groups have no controller of disks (io)")
		}
		return nil
	}
	if !exists(filepath.Join(t.root, "blkio", readRate1)) {
		return problem.Because(problem.ErrUnavailable, "this host's control groups have no controller of disks (blkio, with throttling)")
	}
	return nil
}

// SetRates gives one group the rates on each of the disks; others stay as they
// are. On v1 groups below it aren't held, and what is written through the page
// cache isn't seen, because the kernel writes it out in its own name. An
// absent group is an error that wraps os.ErrNotExist.
func (t *Tree) SetRates(group string, disks []Disk, r Rates) error {
	var errs []error
	for _, d := range disks {
		if t.version == 2 {
			errs = append(errs, setRate2(filepath.Join(t.root, group, "io.max"), d, r))
			continue
		}
		in := filepath.Join(t.root, "blkio", group)
		errs = append(errs, setRate1(filepath.Join(in, readRate1), d, r.Read), setRate1(filepath.Join(in, writeRate1), d, r.Write))
	}
	return errors.Join(errs...)
}

const (
	readRate1  = "blkio.throttle.read_bps_device"
	writeRate1 = "blkio.throttle.write_bps_device"
)

// leastRate returns the limit as the kernel takes it: for v1 zero is none, and
// v2 takes nothing below two.
func leastRate(l quantity.Limit[quantity.ByteSize]) quantity.Limit[quantity.ByteSize] {
	l.Value = max(l.Value, 2)
	return l
}

// setRate1 writes "MAJOR:MINOR BYTES", of which 0 is no limit and never shown.
func setRate1(path string, d Disk, l quantity.Limit[quantity.ByteSize]) error {
	rate := "0"
	if !l.Unlimited {
		rate = strconv.FormatInt(int64(leastRate(l).Value), 10)
	}
	return setRate(path, d, rate, func(has string) bool { return has == rate || has == "" && l.Unlimited })
}

// setRate2 writes the two of four keys; the others stay.
func setRate2(path string, d Disk, r Rates) error {
	want := []string{"rbps=" + orMax(leastRate(r.Read)), "wbps=" + orMax(leastRate(r.Write))}
	return setRate(path, d, strings.Join(want, " "), func(has string) bool {
		return strings.Contains(has+" ", want[0]+" ") && strings.Contains(has+" ", want[1]+" ") ||
			has == "" && r.Read.Unlimited && r.Write.Unlimited
	})
}

// setRate writes a disk's line unless what the file has of it is the same.
func setRate(path string, d Disk, value string, same func(has string) bool) error {
	number := fmt.Sprintf("%d:%d", d.Major, d.Minor)
	table, err := text(path)
	if err != nil {
		return err
	}
	has := ""
	for line := range strings.Lines(table) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), number+" "); ok {
			has = rest
		}
	}
	if same(has) {
		return nil
	}
	if err := os.WriteFile(path, []byte(number+" "+value), 0o600); err != nil {
		if !exists(path) { // it has ended meanwhile
			err = os.ErrNotExist
		}
		return fmt.Errorf("set %s to %s %s: %w", path, number, value, err)
	}
	return nil
}
