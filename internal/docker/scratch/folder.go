package scratch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9._-]+)+$`)

// prepare checks the options and lays out Dir.
func prepare(ctx context.Context, opts Options) error {
	const (
		maxSocket = 107                                  // sun_path less its NUL
		longest   = "/exec/libnetwork/0123456789ab.sock" // the deepest socket
	)
	switch {
	case os.Geteuid() != 0:
		return errors.New("an engine needs root")
	case !plainPath.MatchString(opts.Dir) || filepath.Clean(opts.Dir) != opts.Dir:
		return fmt.Errorf("folder %q: want an absolute path of letters, digits, '.', '_' and '-'", opts.Dir)
	case len(opts.Dir)+len(longest) > maxSocket || len(opts.Socket) > maxSocket:
		return fmt.Errorf("folder %s, socket %s: too long for a unix socket; use a short path such as os.MkdirTemp gives", opts.Dir, opts.Socket)
	}
	if err := checkDriver(opts.CgroupDriver); err != nil {
		return err
	}
	if missing := Missing(); len(missing) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	}
	if err := os.MkdirAll(opts.Dir, 0o711); err != nil { //nolint:gosec // root in a remapped container is nobody here and must reach its files
		return fmt.Errorf("make the folder: %w", err)
	}
	if opts.Remap {
		if err := openToOthers(opts.Dir); err != nil {
			return err
		}
	}
	config := strings.ReplaceAll(containerdConfig, "DIR", opts.Dir)
	if err := os.WriteFile(filepath.Join(opts.Dir, "containerd.toml"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("configure containerd: %w", err)
	}
	config, err := dockerdConfig(ctx, opts)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(opts.Dir, "dockerd.json"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("configure dockerd: %w", err)
	}
	return nil
}

// checkDriver refuses a cgroup driver that this host can't have.
func checkDriver(driver string) error {
	switch driver {
	case Cgroupfs:
		return nil
	case Systemd:
		if _, err := os.Stat("/run/systemd/system"); err != nil { // as sd_booted(3) looks
			return fmt.Errorf("the cgroup driver systemd wants systemd as the first process: %w", err)
		}
		return nil
	default:
		return fmt.Errorf("cgroup driver %q: want %s or %s", driver, Cgroupfs, Systemd)
	}
}

// openToOthers makes dir passable, and checks that its parents are.
func openToOthers(dir string) error {
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // as in prepare
		return fmt.Errorf("open the folder: %w", err)
	}
	for p := filepath.Dir(dir); p != "/"; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("check the folder: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("%s is closed to others, so the containers of a remapped engine in %s can't reach their files: chmod o+x, or use another folder", p, dir)
		}
	}
	return nil
}

// containerdConfig keeps all state in DIR and leaves out what dockerd doesn't
// use; "opt" would make /opt/containerd.
const containerdConfig = `version = 2
root = "DIR/root"
state = "DIR/state"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "DIR/containerd.sock"
`

// dockerdConfig returns what flags can't say. Engines before 23 write a key
// to /etc/docker if not told otherwise; later ones refuse to be told.
func dockerdConfig(ctx context.Context, opts Options) (string, error) {
	out, err := exec.CommandContext(ctx, lookUp("dockerd"), "--version").Output() //nolint:gosec // a fixed program
	if err != nil {
		return "", fmt.Errorf("ask dockerd for its version: %w", err)
	}
	var major int
	if _, err := fmt.Sscanf(string(out), "Docker version %d.", &major); err != nil {
		return "", fmt.Errorf("read dockerd's version %q: %w", out, err)
	}
	config := map[string]any{}
	if major < 23 {
		config["deprecated-key-path"] = filepath.Join(opts.Dir, "key.json")
	}
	if opts.Runtime != "" {
		config["runtimes"] = map[string]any{"ds01": map[string]any{"path": opts.Runtime, "runtimeArgs": opts.RuntimeArgs}}
	}
	data, err := json.Marshal(config)
	return string(data) + "\n", err
}

// cgroupOf derives the cgroup from the folder, so that a later sweep finds it.
func cgroupOf(dir string) string {
	return "/ds01-engine-" + mark(dir)
}

// sliceOf is cgroupOf where systemd makes the cgroups. A '-' in the name would
// put it into another slice.
func sliceOf(dir string) string {
	return "ds01engine" + mark(dir) + ".slice"
}

func mark(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:4])
}
