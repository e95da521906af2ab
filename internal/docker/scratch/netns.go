package scratch

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// NetNS returns the file that nsenter --net finds the engine's network
// namespace by, "" where it has none of its own.
func (e *Engine) NetNS() string {
	if !e.opts.NetNS {
		return ""
	}
	return filepath.Join(e.opts.Dir, "net")
}

// makeNetNS makes the namespace, which outlives dockerd: containers may. It is
// a mount in Dir, so that the guard takes it away with the others.
func (e *Engine) makeNetNS(ctx context.Context) error {
	if err := os.WriteFile(e.NetNS(), nil, 0o600); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	out, err := exec.CommandContext(ctx, lookUp("unshare"), "--net="+e.NetNS(), busybox, "ip", "link", "set", "lo", "up").CombinedOutput() //nolint:gosec // fixed programs
	if err != nil {
		return fmt.Errorf("make a network namespace: %w: %s", err, out)
	}
	return nil
}
