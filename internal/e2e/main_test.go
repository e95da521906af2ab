package e2e_test

import (
	"fmt"
	"os"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// binary is the ds01 under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("/tmp", "ds01t-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o755)
	if binary, err = lab.Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// start sets up a lab with this binary.
func start(t testing.TB, o lab.Options) *lab.Lab {
	t.Helper()
	o.Binary = binary
	return lab.Start(t, o)
}
