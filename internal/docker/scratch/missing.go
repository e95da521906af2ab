package scratch

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
)

// busybox is the program that LoadBusybox makes an image of.
const busybox = "/bin/busybox"

// Missing lists what an engine needs and the machine lacks, each as
// "program (Debian package)". Empty means that Start has all it needs.
func Missing() []string {
	var missing []string
	for _, need := range []struct{ program, debian string }{
		{"dockerd", "docker.io"},
		{"containerd", "containerd"},
		{"containerd-shim-runc-v2", "containerd"},
		{"runc", "runc"},
		{"docker-init", "tini"},
		{"useradd", "passwd"},
		{"flock", "util-linux"},
		{"unshare", "util-linux"},
		{"nsenter", "util-linux"},
		{"iptables", "iptables"},
	} {
		if lookUp(need.program) == need.program {
			missing = append(missing, need.program+" (package "+need.debian+")")
		}
	}
	if !static(busybox) {
		missing = append(missing, "a static "+busybox+" (package busybox-static)")
	}
	return missing
}

// lookUp returns the path of a program on searchPath, or its name if it isn't
// there. docker-init may lie in a folder of its own.
func lookUp(program string) string {
	for _, dir := range append(strings.Split(searchPath, ":"), "/usr/libexec/docker") {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path
		}
	}
	return program
}

// static tells whether the program runs without shared libraries, so that an
// image needs no other file.
func static(path string) bool {
	file, err := elf.Open(path)
	if err != nil {
		return false // absent, or no program
	}
	defer file.Close() //nolint:errcheck // only read
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return false
		}
	}
	return true
}
