package admission_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
)

// FuzzDecodeCreate: nothing panics, and whatever passes is within the limits
// and holds only what we write in the places that are ours. What the engine's
// own parser makes of it is the matter of FuzzCreateAsTheEngineReadsIt in
// package docker.
func FuzzDecodeCreate(f *testing.F) {
	paths, err := filepath.Glob("testdata/clients/*.json")
	if err != nil || len(paths) == 0 {
		f.Fatal(paths, err)
	}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, true)
		f.Add(data, false)
	}
	f.Add([]byte(`{"HostConfig":{"Tmpfs":{"/a":"size=1"},"Ulimits":[{"Name":"nofile","Hard":-1}]}}`), true)
	remapped, plain := subject(f, admission.UserNS), subject(f, admission.UID)
	f.Fuzz(func(t *testing.T, data []byte, remap bool) {
		s := plain
		if remap {
			s = remapped
		}
		c, err := admission.DecodeCreate(data)
		if err != nil {
			return
		}
		ask, err := c.Ask()
		if err != nil {
			return
		}
		sent, err := admission.Review(c, s, grant(ask))
		if err != nil {
			return
		}
		h := sent.HostConfig
		switch {
		case h.Memory < 1 || h.Memory > 2<<30, h.MemorySwap < h.Memory || h.MemorySwap > 3<<30, h.NanoCPUs < 1 || h.NanoCPUs > 2e9,
			h.PidsLimit == nil || *h.PidsLimit < 1 || *h.PidsLimit > 256, h.ShmSize < 1 || h.ShmSize > 1<<30:
			t.Fatalf("beyond the limits: %+v", h)
		case h.CgroupParent != "/ds01/u1001", len(h.Binds) > 0, len(h.DeviceCgroupRules) > 0, len(h.DeviceRequests) > 0:
			t.Fatalf("not ours: %+v", h)
		}
		for _, m := range h.Mounts {
			if !strings.HasPrefix(m.Source, "/run/ds01/mnt/") {
				t.Fatalf("mounts %+v", m)
			}
		}
		if _, err := admission.Encode(sent); err != nil {
			t.Fatal(err)
		}
	})
}
