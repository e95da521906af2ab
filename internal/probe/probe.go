// Package probe reads what of this machine bears on its safety: versions of
// programs beside the engine, members of a group, the kernel's limits, and
// sockets of engines that lead past ds01, and how full a disk is. It judges
// nothing.
package probe

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ds01.dev/ds01/internal/safety"
)

// Host returns what can be read here, beside what the engine tells. Own are
// ds01's sockets, which lead nowhere else; run is the folder of sockets,
// "/run". What can't be read is left empty.
func Host(ctx context.Context, run string, own ...string) safety.Facts {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return safety.Facts{
		RuncFixes:   fixes("/usr/share/doc/runc/changelog.Debian.gz"),
		Toolkit:     says(ctx, "nvidia-ctk", "--version"),
		BuildKit:    says(ctx, "buildkitd", "--version"),
		MaxKeys:     number("/proc/sys/kernel/keys/maxkeys"),
		DockerGroup: Members(ctx, "docker"),
		Sockets:     append(Sockets(ctx, run, own...), TCP(ctx)...),
	}
}

// says returns what a program prints, "" where there is none.
func says(ctx context.Context, name string, args ...string) string {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // words of this package
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

func number(path string) int {
	data, err := os.ReadFile(path) //nolint:gosec // a file of the kernel's
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0
	}
	return n
}

// mostChangelog bounds what is read of a changelog, in bytes.
const mostChangelog = 4 << 20

var cve = regexp.MustCompile(`CVE-[0-9]{4}-[0-9]{4,}`)

// fixes lists the holes that a package's changelog names.
func fixes(path string) []string {
	data, err := os.ReadFile(path) //nolint:gosec // a file of the distribution's
	if err != nil {
		return nil
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(unpacked, mostChangelog))
	if err != nil {
		return nil
	}
	all := cve.FindAllString(string(text), -1)
	slices.Sort(all)
	return slices.Compact(all)
}

// Members returns the logins that the host, with its directories, puts in a
// group. Those whose primary group it is aren't among them.
func Members(ctx context.Context, group string) []string {
	f := strings.Split(strings.TrimSpace(says(ctx, "getent", "group", group)), ":")
	if len(f) != 4 || f[3] == "" {
		return nil
	}
	return strings.Split(f[3], ",")
}

// groupName returns the name of a group's number, or the number.
func groupName(ctx context.Context, gid uint32) string {
	number := strconv.FormatUint(uint64(gid), 10)
	name, _, _ := strings.Cut(strings.TrimSpace(says(ctx, "getent", "group", number)), ":")
	if name == "" {
		return number
	}
	return name
}

// skipped are folders below /run whose sockets are known to be no engine's,
// and which take a greeting for a fault.
func skipped(run string) []string {
	return []string{filepath.Join(run, "systemd"), filepath.Join(run, "dbus"), filepath.Join(run, "udev")}
}
