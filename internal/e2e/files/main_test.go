package files_test

import (
	"os"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// binary is the ds01 under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(lab.Main(m, &binary)) }

// start sets up a lab with this binary.
func start(t testing.TB, o lab.Options) *lab.Lab {
	t.Helper()
	o.Binary = binary
	return lab.Start(t, o)
}
