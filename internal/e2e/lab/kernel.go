package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// An Inside is a running container as the kernel shows it, past ds01 and the
// engine.
type Inside struct {
	PID   int      // of its first process
	Since string   // when that began, in the kernel's ticks
	Cards []string // the cards whose nodes it sees, by number
}

// Began returns when that process began, to a hundredth of a second.
func (in Inside) Began() time.Time {
	const tick = time.Second / 100 // in which the kernel shows times
	ticks, err := strconv.ParseInt(in.Since, 10, 64)
	var up unix.Timespec // since when ticks are counted
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(ticks)*tick - time.Duration(up.Nano()))
}

// Insides returns what runs now, by the engine's id.
func (l *Lab) Insides() map[string]Inside {
	all := map[string]Inside{}
	for _, group := range containerGroups(l) {
		if !v2() && !strings.Contains(group, "/devices/") {
			continue // one of v1's hierarchies shows them all
		}
		procs, _ := os.ReadFile(filepath.Join(group, "cgroup.procs")) // it may have gone
		for pid := range strings.FieldsSeq(string(procs)) {
			if in, ok := insideOf(pid); ok {
				all[containerOf(group)] = in
			}
		}
	}
	return all
}

// insideOf looks at the first process of a container; another one isn't ok.
func insideOf(pid string) (in Inside, ok bool) {
	folder := filepath.Join("/proc", pid)
	status, err := os.ReadFile(filepath.Join(folder, "status"))
	if err != nil || !isFirst(string(status)) {
		return in, false
	}
	stat, err := os.ReadFile(filepath.Join(folder, "stat"))
	if err != nil {
		return in, false
	}
	nodes, err := os.ReadDir(filepath.Join(folder, "root/dev"))
	if err != nil {
		return in, false
	}
	const since = 19 // the 22nd field, of which three are up to the program's name
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	in.PID, err = strconv.Atoi(pid)
	if err != nil || len(fields) <= since {
		return in, false
	}
	in.Since = fields[since]
	for _, n := range nodes {
		if card, ok := strings.CutPrefix(n.Name(), "nvidia"); ok && strings.Trim(card, "0123456789") == "" {
			in.Cards = append(in.Cards, card)
		}
	}
	return in, true
}

// isFirst reports whether a process is number 1 of its own processes.
func isFirst(status string) bool {
	_, rest, _ := strings.Cut(status, "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	numbers := strings.Fields(line)
	return len(numbers) > 1 && numbers[len(numbers)-1] == "1"
}

// SharedCards says which of the cards that two containers see are seen by both at
// the same moment.
func SharedCards(all map[string]Inside) []string {
	var wrong []string
	sees := map[string]string{}
	for id, in := range all {
		for _, card := range in.Cards {
			other, twice := sees[card]
			if sees[card] = id; !twice {
				continue
			}
			// They were looked at one after the other: it may have gone on in between.
			has := func(id string) bool {
				now, ok := insideOf(strconv.Itoa(all[id].PID))
				return ok && slices.Contains(now.Cards, card)
			}
			if has(other) && has(id) && has(other) {
				wrong = append(wrong, fmt.Sprintf("card %s is in two containers: %s and %s", card, other, id))
			}
		}
	}
	return wrong
}
