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
		if u, err := storedAs(t, sent, nil).Check(s, grant(ask)); err != nil || !u.Empty() {
			t.Fatalf("what may be made may not be started as it is: %+v, %v", u, err)
		}
	})
}

// FuzzDecodeUpdate: nothing panics, and whatever passes is within the limits.
func FuzzDecodeUpdate(f *testing.F) {
	for _, name := range []string{"docker-28-memory", "docker-20.10-restart"} {
		f.Add(read(f, "testdata/updates/"+name+".json"))
	}
	f.Add([]byte(`{"Memory":-1,"MemorySwap":-1,"NanoCpus":-1,"PidsLimit":-1,"CpuShares":-1,"MemoryReservation":-1}`))
	s := subject(f, admission.UserNS)
	f.Fuzz(func(t *testing.T, data []byte) {
		u, err := admission.DecodeUpdate(data)
		if err != nil {
			return
		}
		sent, _, err := admission.ReviewUpdate(u, s)
		if err != nil {
			return
		}
		switch {
		case sent.Memory < 0 || sent.Memory > 2<<30, sent.MemorySwap < 0 || sent.MemorySwap > 3<<30, sent.NanoCPUs < 0 || sent.NanoCPUs > 2e9,
			sent.PidsLimit != nil && (*sent.PidsLimit < 1 || *sent.PidsLimit > 256), sent.CPUShares < 0 || sent.CPUShares > 1024,
			sent.MemoryReservation < 0 || sent.MemoryReservation > 2<<30:
			t.Fatalf("beyond the limits: %+v", sent)
		case sent.RestartPolicy != (admission.RestartPolicy{}):
			t.Fatalf("the engine is to follow %+v", sent.RestartPolicy)
		}
	})
}
