package config_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/config"
)

func TestHowMuchOfTheAuditLogIsKept(t *testing.T) {
	got, err := config.Decode("ds01.yaml", []byte("version: 1\naudit: {max_size: 1GiB, keep: 3}\n"))
	if want := (config.Audit{MaxSize: 1 << 30, Keep: 3}); err != nil || got.Audit != want {
		t.Errorf("%+v, %v", got.Audit, err)
	}
	got, err = config.Decode("ds01.yaml", []byte("version: 1\naudit: {keep: 3}\n"))
	if want := (config.Audit{MaxSize: 100 << 20, Keep: 3}); err != nil || got.Audit != want {
		t.Errorf("%+v, %v", got.Audit, err)
	}
	for yaml, says := range map[string]string{
		"audit: {max_size: 1000}": "1000", "audit: {max_size: 1KiB}": "line 2: audit.max_size: 1KiB is less than 64KiB",
		"audit:\n  keep: 0": "line 3: audit.keep: 0 is not from 1 to 1000", "audit: {keep: 5000}": "audit.keep", "audit: {size: 1GiB}": `line 2: unknown key "size"`,
	} {
		if _, err := config.Decode("ds01.yaml", []byte("version: 1\n"+yaml+"\n")); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", yaml, err, says)
		}
	}
}
