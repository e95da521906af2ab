package mount

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDisksAreThoseThatFoldersLieOn(t *testing.T) {
	var st unix.Stat_t
	if err := unix.Stat("/var", &st); err != nil {
		t.Fatal(err)
	}
	disks, without, err := Disks("/proc/self", "/var/lib", "/var", "/sys/kernel")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(without, []string{"/proc/self", "/sys/kernel"}) {
		t.Errorf("on no disk: %v", without)
	}
	if len(disks) != 1 || disks[0].Major != unix.Major(st.Dev) {
		t.Errorf("/var is on %d:%d, not on %v", unix.Major(st.Dev), unix.Minor(st.Dev), disks)
	}
}

func TestTheInnermostAndLastMountHoldsAPath(t *testing.T) {
	all := entries(`1 0 254:0 / / rw - ext4 /dev/vda rw
2 1 0:30 / /data rw - tmpfs none rw
3 1 254:16 / /data rw - ext4 /dev/vdb rw
4 1 254:32 / /data/in\040ner rw - ext4 /dev/vdc rw
5 1 254:48 / /data2 rw - ext4 /dev/vdd rw
`)
	for path, want := range map[string]string{
		"/": "254:0", "/home": "254:0", "/data": "254:16", "/data/x": "254:16", "/data/in ner/x": "254:32", "/data/in": "254:16", "/data2/x": "254:48", "/data3": "254:0",
	} {
		if got := holding(all, path).device; got != want {
			t.Errorf("%s lies on %s, want %s", path, got, want)
		}
	}
}

// The kernel takes rates of whole disks only.
func TestAPartitionCountsAsItsDisk(t *testing.T) {
	root := t.TempDir()
	numbers, disk := filepath.Join(root, "block"), filepath.Join(root, "devices/vda")
	for _, folder := range []string{numbers, filepath.Join(disk, "vda1")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, text := range map[string]string{"dev": "254:0\n", "vda1/dev": "254:1\n", "vda1/partition": "1\n"} {
		if err := os.WriteFile(filepath.Join(disk, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for number, target := range map[string]string{"254:0": disk, "254:1": filepath.Join(disk, "vda1")} {
		if err := os.Symlink(target, filepath.Join(numbers, number)); err != nil {
			t.Fatal(err)
		}
		var d Disk
		fmt.Sscanf(number, "%d:%d", &d.Major, &d.Minor)
		if got, ok := d.whole(numbers); !ok || got != (Disk{254, 0}) {
			t.Errorf("%s is of disk %v, %t", number, got, ok)
		}
	}
	if got, ok := (Disk{9, 9}).whole(numbers); ok {
		t.Errorf("a disk that the kernel doesn't know is %v", got)
	}
}
