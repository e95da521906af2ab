package traffic_test

import (
	"os"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestPython has an ordinary user's program speak through Docker's SDK for
// Python.
func TestPython(t *testing.T) {
	l := start(t, lab.Options{})
	script, err := os.ReadFile("testdata/containers.py")
	if err != nil {
		t.Fatal(err)
	}
	r := l.Run("alice", "timeout", "120", "python3", "-c", string(script))
	if r.Code != 0 || r.Out != "done" {
		t.Errorf("exit code %d: %s\n%s", r.Code, r.Out, r.Err)
	}
	if left := l.Containers(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
