// Package kmsg follows the kernel's log for whom it ended because memory was
// short: which group had reached its limit, which process it was, and of which
// group. It writes nothing and ends nobody.
package kmsg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/quantity"
)

// A Kill is one process that the kernel ended for want of memory.
type Kill struct {
	Limited string            // the group that had reached its limit, "/ds01/u1001"; "": the host had no memory left
	Group   string            // the group of the process, in or below it
	Process string            // its name, as the kernel cuts it: 15 bytes
	PID     int               // on the host
	Limit   quantity.ByteSize // of the group that had reached it; 0: not known
	Held    quantity.ByteSize // by the process, without files; 0: not known
}

// Path is where the kernel's log is read.
const Path = "/dev/kmsg"

// Follow calls killed for each process that is ended from now on, until ctx
// ends. What the kernel leaves out of its log when many are ended at once (more
// than ten in five seconds) nobody hears of.
func Follow(ctx context.Context, path string, killed func(Kill)) error {
	log, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) //nolint:gosec // the kernel's
	if err != nil {
		return fmt.Errorf("open the kernel's log: %w", err)
	}
	defer log.Close()                                  //nolint:errcheck // read only
	if _, err := log.Seek(0, io.SeekEnd); err != nil { // what was before is another boot's or another daemon's
		return fmt.Errorf("open the kernel's log: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = log.SetReadDeadline(time.Now()) })() //nolint:forbidigo // ends the read, decides nothing
	var r reports
	record := make([]byte, 8<<10) // the longest that the kernel hands out
	for {
		n, err := log.Read(record)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.EPIPE):
			continue // some was overwritten before it was read
		case err != nil:
			return fmt.Errorf("read the kernel's log: %w", err)
		}
		if k, ok := r.next(text(string(record[:n]))); ok {
			killed(k)
		}
	}
}

// Read is Follow for records that are there already.
func Read(records []string, killed func(Kill)) {
	var r reports
	for _, record := range records {
		if k, ok := r.next(text(record)); ok {
			killed(k)
		}
	}
}

// text returns the message of a record, see Documentation/ABI/testing/dev-kmsg.
func text(record string) string {
	_, message, _ := strings.Cut(record, ";")
	message, _, _ = strings.Cut(message, "\n")
	return message
}

// reports puts together what the kernel says of one kill in several lines.
// It says them one after another, under a lock of its own.
type reports struct {
	limit quantity.ByteSize
	kill  Kill
	due   bool // a summary was read, its last line not yet
}

var (
	usage   = regexp.MustCompile(`^memory: usage (\d+)kB, limit (\d+)kB, failcnt \d+`)
	summary = regexp.MustCompile(`^oom-kill:constraint=\w+,.*?(?:,oom_memcg=(/.*?)|,(global_oom)),task_memcg=(/.*?),task=(.*),pid=(\d+),uid=`)
	ended   = regexp.MustCompile(`^(?:Memory cgroup out of memory|Out of memory): Killed process (\d+) .*anon-rss:(\d+)kB, .*shmem-rss:(\d+)kB`)
)

// next reads a line, and returns a kill with its last one.
func (r *reports) next(line string) (Kill, bool) {
	if m := usage.FindStringSubmatch(line); m != nil {
		r.limit = kib(m[2])
		return Kill{}, false
	}
	if m := summary.FindStringSubmatch(line); m != nil {
		pid, _ := strconv.Atoi(m[5]) // digits; too many are nobody's
		r.kill, r.due = Kill{Limited: m[1], Group: m[3], Process: printable(m[4]), PID: pid, Limit: r.limit}, true
		if m[2] != "" {
			r.kill.Limit = 0
		}
		r.limit = 0
		return Kill{}, false
	}
	m := ended.FindStringSubmatch(line)
	if m == nil || !r.due || m[1] != strconv.Itoa(r.kill.PID) {
		return Kill{}, false
	}
	r.due = false
	r.kill.Held = kib(m[2]) + kib(m[3])
	return r.kill, true
}

func kib(digits string) quantity.ByteSize {
	n, err := strconv.ParseInt(digits, 10, 50)
	if err != nil {
		return 0
	}
	return quantity.ByteSize(n << 10)
}

// printable is the name of a process, which is whatever it has called itself.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '?'
		}
		return r
	}, name)
}
