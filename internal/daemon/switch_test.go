package daemon

import (
	"os"
	"path/filepath"
	"testing"
)

func TestASwitchThatWasCutOffIsTold(t *testing.T) {
	root := t.TempDir()
	if told := cutOff(root); told != nil {
		t.Errorf("none was begun: %q", told)
	}
	folder := filepath.Join(root, "var/lib/ds01/remap")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for manifest, tells := range map[string]bool{`{"version": 1, "whole": false}`: true, `{"version": 1, "whole": true}`: false, `{"vers`: true} {
		if err := os.WriteFile(filepath.Join(folder, "manifest.json"), []byte(manifest), 0o600); err != nil {
			t.Fatal(err)
		}
		if told := cutOff(root); (len(told) > 0) != tells {
			t.Errorf("%s: %q", manifest, told)
		}
	}
}
