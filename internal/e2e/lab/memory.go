package lab

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Resident returns the daemon's memory in bytes, and has the kernel forget its
// peak so far.
func (l *Lab) Resident() int64 {
	l.t.Helper()
	l.must(os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", l.PID()), []byte("5"), 0o600))
	return l.memory("VmRSS:")
}

// Peak returns the most memory that the daemon had since Resident, in bytes.
func (l *Lab) Peak() int64 {
	l.t.Helper()
	return l.memory("VmHWM:")
}

func (l *Lab) memory(key string) int64 {
	l.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.PID()))
	l.must(err)
	_, rest, _ := strings.Cut(string(data), key)
	kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	l.must(err)
	return kib << 10
}
