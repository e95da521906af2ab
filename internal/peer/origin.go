package peer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/label"
)

// Origins tell where requests come from. A nil one knows of none. It is safe
// for concurrent use.
type Origins struct {
	reads chan struct{} // of processes' memory that are under way

	mu    sync.Mutex
	known map[process]string // what was found lately
}

// A process is one for as long as the host is up.
type process struct {
	pid   int
	began uint64
}

// maxKnown is of how many processes the origin is remembered: to find one takes
// twenty files, and clients ask more than once.
const maxKnown = 1000

// maxReads is how many processes' memory is read at a time, patience how long
// one is waited for: somebody can have a process's pages come from a file system
// of their own, which never answers.
const (
	maxReads = 4
	patience = 2 * time.Second
)

// NewOrigins returns one for a whole host.
func NewOrigins() *Origins {
	return &Origins{reads: make(chan struct{}, maxReads), known: map[process]string{}}
}

// Of tells where the process at the other end came from, as label.OriginOf
// does, when it was first asked for. It is "" of one that had ended by then, and of
// one in a container, whose own origin counts. It describes: nothing may be granted
// for it.
func (o *Origins) Of(p Peer) string {
	if o == nil || p.Through != "" || p.began == 0 {
		return ""
	}
	this := process{p.PID, p.began}
	o.mu.Lock()
	known := o.known[this]
	o.mu.Unlock()
	if known != "" {
		return known
	}
	found := o.find(p)
	if found == "" {
		return ""
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.known) >= maxKnown {
		clear(o.known)
	}
	o.known[this] = found
	return found
}

func (o *Origins) find(p Peer) string {
	folder := folderOf(p.PID)
	first, err := statusOf(folder)
	if err != nil {
		return ""
	}
	t := label.Traces{Group: groupOf(folder), Line: line(first), Session: hasSession(folder)}
	t.Timer = strings.Contains(t.Group, ".service") && o.byTimer(folder)
	if now, err := statusOf(folder); err != nil || now.began != p.began {
		return "" // what was read may be another's
	}
	return label.OriginOf(t)
}

// A status is what a process's stat file says of it.
type status struct {
	parent   int
	terminal bool
	began    uint64 // in ticks since the host came up; a number and this are one process
}

func folderOf(pid int) string { return filepath.Join("/proc", strconv.Itoa(pid)) }

func statusOf(folder string) (s status, err error) {
	text, err := short(folder + "/stat")
	if err != nil {
		return s, err
	}
	// The program's name is in brackets, and may hold anything.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const parent, terminal, began = 1, 4, 19 // behind the name; see proc(5)
	if len(fields) <= began {
		return s, errors.New("a stat file is too short")
	}
	device, err := strconv.Atoi(string(fields[terminal]))
	if err == nil {
		s.parent, err = strconv.Atoi(string(fields[parent]))
	}
	if err == nil {
		s.began, err = strconv.ParseUint(string(fields[began]), 10, 64)
	}
	s.terminal = device != 0
	return s, err
}

// longest is more than any of the short files of a process in /proc has, in bytes.
const longest = 2048

// short reads one of those. Each request that comes in takes ten, and os.ReadFile
// asks the kernel eight times for one, where three do.
func short(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd) //nolint:errcheck // read only
	text := make([]byte, longest)
	n, err := unix.Read(fd, text)
	return text[:max(0, n)], err
}

// maxAncestors bounds the way up.
const maxAncestors = 64

// line returns a process and those that it descends from, the nearest first and
// the host's first process left out, which is whose parent has ended.
func line(own status) []label.Process {
	all := []label.Process{{Terminal: own.terminal}}
	for range maxAncestors {
		folder := folderOf(own.parent)
		above, err := statusOf(folder)
		if err != nil || own.parent <= 1 || above.began > own.began { // its number is another's by now
			break
		}
		p := label.Process{Terminal: above.terminal}
		if file, err := os.Readlink(filepath.Join(folder, "exe")); err == nil && label.Starter(file) && byRoot(folder) {
			p.Program = file
		}
		all, own = append(all, p), above
	}
	return all
}

// byRoot reports whether root started the process at folder: programs that
// become root for others are started by those.
func byRoot(folder string) bool {
	ids, err := uidsOf(folder)
	return err == nil && ids[0] == "0"
}

// groupOf returns the control group that systemd has put a process in.
func groupOf(folder string) string {
	text, err := os.ReadFile(filepath.Join(folder, "cgroup")) //nolint:gosec // below /proc
	if err != nil {
		return ""
	}
	unified := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if _, path, found := strings.Cut(line, ":name=systemd:"); found {
			return path
		}
		if path, found := strings.CutPrefix(line, "0::"); found {
			unified = path
		}
	}
	return unified
}

// hasSession reports whether somebody had logged in before the process, whoever
// it runs as now.
func hasSession(folder string) bool {
	text, err := short(folder + "/sessionid")
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 32)
	return err == nil && n != math.MaxUint32
}

// byTimer reports whether a systemd timer started the service that a process
// belongs to: since version 252 systemd leaves that in the environment.
func (o *Origins) byTimer(folder string) bool {
	select {
	case o.reads <- struct{}{}:
	default:
		return false // those that are read never end
	}
	found := make(chan bool, 1)
	go func() { // it may outlive the call, see maxReads
		defer func() { <-o.reads }()
		found <- environs(folder, "TRIGGER_TIMER_")
	}()
	select {
	case yes := <-found:
		return yes
	case <-time.After(patience):
		return false
	}
}

// maxEnvironment bounds what is read of an environment, in bytes.
const maxEnvironment = 1 << 18

// environs reports whether a process was started with a variable whose name
// begins with prefix.
func environs(folder, prefix string) bool {
	file, err := os.Open(filepath.Join(folder, "environ")) //nolint:gosec // below /proc
	if err != nil {
		return false
	}
	defer file.Close()                                            //nolint:errcheck // read only
	text, err := io.ReadAll(io.LimitReader(file, maxEnvironment)) // half of it is as good
	return err == nil && (bytes.HasPrefix(text, []byte(prefix)) || bytes.Contains(text, []byte("\x00"+prefix)))
}

// uidsOf returns the user ids of a process: real, effective, saved and for
// files.
func uidsOf(folder string) ([]string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "status")) //nolint:gosec // below /proc
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if ids, ok := strings.CutPrefix(line, "Uid:"); ok {
			if all := strings.Fields(ids); len(all) > 0 {
				return all, nil
			}
		}
	}
	return nil, fmt.Errorf("%s tells no user", folder)
}
