package clients_test

import (
	"flag"
	"os"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

var update = flag.Bool("update", false, "write docs/users/clients.md anew")

// binary is the ds01 under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(lab.Main(m, &binary))
}
