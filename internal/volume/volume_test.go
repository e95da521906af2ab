package volume_test

import (
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/volume"
)

func TestOf(t *testing.T) {
	hex := strings.Repeat("0f", 32)
	now := time.Date(2030, 5, 17, 12, 0, 0, 0, time.UTC)
	for name, want := range map[string]volume.Record{
		"data._.1001":     {Name: "data"},
		hex:               {Name: hex, Anonymous: true},
		hex + "._.1001":   {Name: hex},
		"data._.1002":     {},
		"data":            {},
		hex[1:]:           {},
		"a._.1002._.1001": {Name: "a._.1002"},
	} {
		got, ok := volume.Of(name, 1001, now)
		if ok != (want.Name != "") || ok && (got.Name != want.Name || got.Anonymous != want.Anonymous || got.UID != 1001 || got.EngineName != name || !got.CreatedAt.Equal(now)) {
			t.Errorf("%s: %+v %t", name, got, ok)
		}
	}
}
