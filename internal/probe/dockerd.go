package probe

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/safety"
)

// usualSettings is where dockerd reads its settings unless told otherwise.
const usualSettings = "/etc/docker/daemon.json"

// Dockerd looks at the process behind the engine's socket, a path, and at its
// settings. Run is the folder in which it leaves its number where systemd
// listens in its place. Nil means that no dockerd is found: it is another
// host's, or something stands between.
func Dockerd(ctx context.Context, socket, run string) *safety.Dockerd {
	proc := filepath.Join("/proc", strconv.Itoa(listener(ctx, socket)))
	if !isDockerd(proc) {
		number, err := os.ReadFile(filepath.Join(run, "docker.pid")) //nolint:gosec // root's own file
		if err != nil {
			return nil
		}
		if proc = filepath.Join("/proc", strings.TrimSpace(string(number))); !isDockerd(proc) {
			return nil
		}
	}
	runc := firstRunc(read0(filepath.Join(proc, "environ")))
	s := settingsOf(read0(filepath.Join(proc, "cmdline")))
	return &safety.Dockerd{
		Runc: runc, Starter: starter(runc), NoFirewall: !s.IPTables, CgroupNS: s.CgroupNS, ClearsBuilds: s.Builder.GC.Enabled, KeepsBuilds: s.Builder.GC.Keep,
	}
}

// listener returns the number of the process that listens at a unix socket, 0
// where nobody does.
func listener(ctx context.Context, socket string) int {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0
	}
	defer conn.Close() //nolint:errcheck // it was only looked at
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return 0
	}
	pid := 0
	_ = raw.Control(func(fd uintptr) { // on a failure it stays 0
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

func isDockerd(proc string) bool {
	name, err := os.ReadFile(filepath.Join(proc, "comm")) //nolint:gosec // a file of the kernel's
	return err == nil && strings.TrimSpace(string(name)) == "dockerd"
}

// read0 returns the texts of one of the kernel's files, which zeros separate.
func read0(path string) []string {
	data, err := os.ReadFile(path) //nolint:gosec // a file of the kernel's
	if err != nil {
		return nil
	}
	return strings.Split(string(bytes.TrimRight(data, "\x00")), "\x00")
}

// settings are what a dockerd was told, as far as ds01 leans on it.
type settings struct {
	IPTables bool
	CgroupNS string `json:"default-cgroupns-mode"`
	Builder  struct {
		GC struct {
			Enabled *bool
			Keep    string `json:"defaultKeepStorage"`
		}
	}
}

// settingsOf reads what a dockerd with these words on its command line was told, by
// a word, or by its daemon.json. It starts by one of both only, and by no file that
// can't be read.
func settingsOf(words []string) settings {
	s, file := settings{IPTables: true}, usualSettings
	for i, word := range words {
		if name, ok := strings.CutPrefix(word, "--config-file="); ok {
			file = name
		} else if word == "--config-file" && i+1 < len(words) {
			file = words[i+1]
		}
	}
	if data, err := os.ReadFile(file); err == nil { //nolint:gosec // root's own file
		_ = json.Unmarshal(data, &s) // see above
	}
	for i, word := range words {
		if value, ok := strings.CutPrefix(word, "--iptables="); ok {
			on, err := strconv.ParseBool(value)
			s.IPTables = err != nil || on
		}
		if value, ok := strings.CutPrefix(word, "--default-cgroupns-mode="); ok {
			s.CgroupNS = value
		} else if word == "--default-cgroupns-mode" && i+1 < len(words) {
			s.CgroupNS = words[i+1]
		}
	}
	return s
}

// firstRunc returns the program that a process with this environment takes for
// "runc", as BuildKit in the engine looks for it, "" where there is none.
func firstRunc(environ []string) string {
	path, name := "", "runc"
	for _, word := range environ {
		if value, ok := strings.CutPrefix(word, "PATH="); ok {
			path = value
		} else if value, ok := strings.CutPrefix(word, "DOCKER_BUILDKIT_RUNC_COMMAND="); ok && value != "" {
			name = value // newer engines know it
		}
	}
	if filepath.IsAbs(name) {
		return name
	}
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && filepath.IsAbs(dir) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 { //nolint:gosec // it is only looked at
			return file
		}
	}
	return ""
}

// starter says what a program is to the ds01 that asks.
func starter(program string) safety.Starter {
	self, err := os.Stat("/proc/self/exe")
	info, ierr := os.Stat(program) //nolint:gosec // as above
	if err != nil || ierr != nil {
		return safety.Stranger
	}
	if os.SameFile(self, info) {
		return safety.ThisDs01
	}
	own, ok := debug.ReadBuildInfo()
	if other, err := buildinfo.ReadFile(program); ok && err == nil && other.Path == own.Path {
		return safety.OtherDs01
	}
	return safety.Stranger
}
