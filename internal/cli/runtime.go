package cli

import (
	"fmt"
	"io"

	"ds01.dev/ds01/internal/docker/grant"
	"ds01.dev/ds01/internal/docker/step"
	"ds01.dev/ds01/internal/problem"
)

// runtime is what the engine calls in place of runc for containers whose devices
// come to them when they start. It returns only where it can't become runc.
func runtime(args []string, path string, stderr io.Writer) int {
	args, err := grant.Equip(args, step.BundleOf(args))
	if err == nil {
		err = step.Become(args, path)
	}
	fmt.Fprintln(stderr, "ds01:", err)
	return problem.ExitCode(err)
}
