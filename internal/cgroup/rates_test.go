package cgroup_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/cgroup"
	"ds01.dev/ds01/internal/quantity"
)

// disk returns the disk that a folder lies on, and the folder. Machines for
// tests have their files on whole disks.
func disk(t *testing.T, tree *cgroup.Tree) (cgroup.Disk, string) {
	t.Helper()
	if err := tree.HoldsRates(); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	var st unix.Stat_t
	if err := unix.Stat(folder, &st); err != nil {
		t.Fatal(err)
	}
	return cgroup.Disk{Major: unix.Major(st.Dev), Minor: unix.Minor(st.Dev)}, folder
}

// rates returns rates in MiB per second; below zero is none.
func rates(read, write int) cgroup.Rates {
	r := cgroup.Rates{Read: quantity.To(quantity.ByteSize(read) * MiB), Write: quantity.To(quantity.ByteSize(write) * MiB)}
	r.Read.Unlimited, r.Write.Unlimited = read < 0, write < 0
	return r
}

func TestRatesStandInTheKernel(t *testing.T) {
	tree, parent := host(t)
	d, _ := disk(t, tree)
	ensure(t, tree, parent, bounds(-1, -1, -1))
	group := filepath.Join(parent, "u1001")
	line := func(v1, v2 string) string {
		for line := range strings.Lines(read(t, file(tree, group, v1, v2))) {
			if rest, ok := strings.CutPrefix(strings.TrimSpace(line), fmt.Sprintf("%d:%d ", d.Major, d.Minor)); ok {
				return rest
			}
		}
		return ""
	}
	for _, step := range []struct {
		name                string
		rates               cgroup.Rates
		v1Read, v1Write, v2 string
	}{
		{"none before", rates(-1, -1), "", "", ""},
		{"both", rates(4, 2), "4194304", "2097152", "rbps=4194304 wbps=2097152 riops=max wiops=max"},
		{"again", rates(4, 2), "4194304", "2097152", "rbps=4194304 wbps=2097152 riops=max wiops=max"},
		{"more, and none", rates(8, -1), "8388608", "", "rbps=8388608 wbps=max riops=max wiops=max"},
		{"none", rates(-1, -1), "", "", ""},
		{"nothing is little", rates(0, 0), "2", "2", "rbps=2 wbps=2 riops=max wiops=max"},
	} {
		if err := tree.SetRates(group, []cgroup.Disk{d}, step.rates); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		got := line("blkio.throttle.read_bps_device", "io.max")
		want := step.v1Read
		if tree.Version() == 2 {
			want = step.v2
		} else if write := line("blkio.throttle.write_bps_device", ""); write != step.v1Write {
			t.Errorf("%s: write %q, want %q", step.name, write, step.v1Write)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", step.name, got, want)
		}
	}
	if err := tree.SetRates(filepath.Join(parent, "none"), []cgroup.Disk{d}, rates(1, 1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no group: %v", err)
	}
	if err := tree.SetRates(group, []cgroup.Disk{{Major: 999, Minor: 9}}, rates(1, 1)); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of no disk: %v", err)
	}
}

// Past the page cache both hold on v1 and v2: the time it takes is the least
// that the rate allows, and well above what the disk takes.
func TestRatesHoldWhatGoesPastThePageCache(t *testing.T) {
	tree, parent := host(t)
	d, folder := disk(t, tree)
	ensure(t, tree, parent, bounds(-1, -1, -1))
	group := filepath.Join(parent, "u1001")
	path := filepath.Join(folder, "f")
	if err := os.WriteFile(path, make([]byte, 4*MiB), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := tree.SetRates(group, []cgroup.Disk{d}, rates(4, 4)); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"reads":  "dd if=" + path + " of=/dev/null bs=1M count=4 iflag=direct 2>/dev/null",
		"writes": "dd if=/dev/zero of=" + path + " bs=1M count=4 oflag=direct 2>/dev/null",
	} {
		began := time.Now()
		if out, err := inGroup(tree, group, script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v, %s", name, err, out)
		}
		if took := time.Since(began); took < 700*time.Millisecond {
			t.Errorf("%s: 4 MiB at 4 MiB/s took %s", name, took)
		}
	}
}
