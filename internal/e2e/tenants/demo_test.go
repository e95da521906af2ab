package tenants_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/demo"
)

func TestTheDemoLeavesNothingBehind(t *testing.T) {
	out, err := exec.Command(binary, "demo").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, part := range []string{"max_mig_instances is 1", "lab is running", "ds01-ada (train)"} {
		if !strings.Contains(string(out), part) {
			t.Errorf("the demo doesn't show %q:\n%s", part, out)
		}
	}
	if _, err := os.Lstat(demo.Folder); !os.IsNotExist(err) {
		t.Errorf("%s is there: %v", demo.Folder, err)
	}
	for file, left := range map[string]string{
		"/etc/passwd": "ds01-ada", "/etc/group": "ds01-demo", "/proc/self/mountinfo": demo.Folder,
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), left) {
			t.Errorf("%s still has %s", file, left)
		}
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if data, err := os.ReadFile(line); err == nil && strings.Contains(string(data), demo.Folder) {
			t.Errorf("a process runs on: %q", data)
		}
	}
}
