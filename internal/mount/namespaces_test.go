package mount_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ds01.dev/ds01/internal/mount"
)

func TestNamespacesThatAreKept(t *testing.T) {
	alice := person(t, aliceName)
	p := newPlace(t, "", alice)
	before := descriptors(t)
	var all mount.Namespaces
	r := p.request(p.home, as(0, 0))
	r.Namespaces = &all
	writesAs := func(container int, want mount.Owner) {
		t.Helper()
		r.Owner, r.Idmap = want, as(container, container)
		target := p.mounted(r)
		name := fmt.Sprintf("by-%d", container)
		if out, err := inContainer(target, container, container, nil, "echo >"+name); err != nil {
			t.Fatal(err, out)
		}
		if got := onDisk(t, filepath.Join(p.home, name)); !strings.HasPrefix(got, fmt.Sprintf("%d:%d ", want.UID, want.GID)) {
			t.Errorf("%s is %s on disk, want %d:%d", name, got, want.UID, want.GID)
		}
	}
	for container := range 70 { // more than are kept, so that the first are let go
		writesAs(container, alice)
		writesAs(0, alice)
	}
	if now := descriptors(t); now != before+64 {
		t.Errorf("%d are kept, want 64", now-before)
	}
	writesAs(1, alice)
	if err := all.Close(); err != nil {
		t.Error(err)
	}
	if now := descriptors(t); now != before {
		t.Errorf("%d descriptors are open, %d before", now, before)
	}
	writesAs(2, alice) // it goes on
	if err := all.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhoLeftAGroupIsNotServedTheMappingFromBefore(t *testing.T) {
	alice := person(t, aliceName)
	p := newPlace(t, "", alice)
	p.folder(filepath.Join(p.home, "space"), 0, team(t), 0o2770)
	var all mount.Namespaces
	r := p.request(p.home, as(1000, 1000))
	r.Namespaces = &all
	for _, groups := range [][]int{alice.Groups, nil, alice.Groups} {
		r.Owner.Groups = groups
		_, err := inContainer(p.mounted(r), 1000, 1000, []uint32{uint32(team(t))}, "touch space/file")
		if (err == nil) != (groups != nil) {
			t.Errorf("writing with groups %v: %v", groups, err)
		}
	}
	if err := all.Close(); err != nil {
		t.Error(err)
	}
}

func TestNamespacesServeMountsAtTheSameTime(t *testing.T) {
	p := newPlace(t, "", person(t, aliceName))
	var all mount.Namespaces
	var wg sync.WaitGroup
	for i := range 8 {
		r := p.request(p.home, as(i%3, 0))
		r.Namespaces, r.Target = &all, filepath.Join(p.dir, "mnt", fmt.Sprint(i), "0")
		wg.Go(func() {
			for range 10 {
				if err := mount.Mount(r); err != nil {
					t.Error(err)
				}
			}
			if out, err := inContainer(r.Target, i%3, 0, nil, "stat -c %u ."); err != nil || out != fmt.Sprint(i%3) {
				t.Errorf("mount %d shows its owner as %s (%v), want %d", i, out, err, i%3)
			}
		})
	}
	wg.Wait()
	if err := all.Close(); err != nil {
		t.Error(err)
	}
}
