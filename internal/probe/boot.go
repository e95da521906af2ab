package probe

import (
	"os"
	"strings"
)

// Boot returns what the kernel calls its present run, another name after each
// reboot; "" where it doesn't say.
func Boot() string {
	name, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(name))
}
