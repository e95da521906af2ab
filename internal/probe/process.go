package probe

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// longestCommand bounds what is shown of a command: whoever runs it chooses it.
const longestCommand = 60

// Process returns whose a process is and the first word of its command, without
// what a terminal would obey. Its arguments may hold secrets. ok is false where
// there is no such process.
func Process(pid int) (uid int, command string, ok bool) {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	var st unix.Stat_t
	if err := unix.Stat(proc, &st); err != nil {
		return 0, "", false
	}
	words, _ := os.ReadFile(filepath.Join(proc, "cmdline")) //nolint:gosec // a file of the kernel
	first, _, _ := bytes.Cut(words, []byte{0})
	if len(first) == 0 {
		first, _ = os.ReadFile(filepath.Join(proc, "comm")) //nolint:gosec // a file of the kernel
	}
	command = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, string(first))
	if letters := []rune(command); len(letters) > longestCommand {
		command = string(letters[:longestCommand]) + "…"
	}
	return int(st.Uid), command, true
}

// Runs reports whether a process runs the program at one of these paths of this
// host. What it calls itself doesn't matter, nor what its own root has there.
func Runs(pid int, programs []string) bool {
	is, err := os.Stat(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
	if err != nil {
		return false
	}
	for _, path := range programs {
		if program, err := os.Stat(path); err == nil && os.SameFile(is, program) {
			return true
		}
	}
	return false
}
