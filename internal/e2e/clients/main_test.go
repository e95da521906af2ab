package clients_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

var update = flag.Bool("update", false, "write docs/users/clients.md anew")

// binary is the ds01 under test, built once.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

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
