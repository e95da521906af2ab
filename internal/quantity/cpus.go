package quantity

import "strings"

// CPUs is an amount of processor time in billionths of one CPU, like the
// engine's NanoCPUs.
type CPUs int64

// OneCPU is the whole of one CPU.
const OneCPU CPUs = 1_000_000_000

// ParseCPUs reads a decimal number of CPUs, such as "16" or "0.5". What is
// finer than a billionth is dropped. The result may be zero: a caller for whom
// zero means "no limit" has to refuse it.
func ParseCPUs(text string) (CPUs, error) {
	n, err := scaled(strings.TrimSpace(text), int64(OneCPU))
	return CPUs(n), wrap(text, "number of CPUs", err)
}

// String returns the exact number of CPUs in decimal, such as "0.5". A
// negative amount reads "0".
func (c CPUs) String() string {
	c = max(c, 0)
	return pointed(int64(c/OneCPU), int64(c%OneCPU), int64(OneCPU))
}
