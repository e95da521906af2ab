package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Shown returns what stock docker's inspect shows a person of a container.
func (l *Lab) Shown(who, name, format string) string {
	l.t.Helper()
	return l.OK(who, "docker", "inspect", "-f", format, name)
}

// PIDOf returns the process id of a person's container.
func (l *Lab) PIDOf(who, name string) string {
	l.t.Helper()
	return l.Shown(who, name, "{{.State.Pid}}")
}

// Holder returns who holds a card, and how; "free" if nobody does.
func (l *Lab) Holder(slot string) string {
	l.t.Helper()
	for _, g := range l.GPUs() {
		if g.Slot == slot && g.Holder != nil {
			return g.Holder.User + " " + g.Holder.State
		}
	}
	return "free"
}

// ClearAll removes everybody's containers.
func (l *Lab) ClearAll() {
	l.t.Helper()
	for _, c := range l.Containers() {
		l.AtEngine("rm", "-f", c.ID)
	}
	l.Eventually("every container is forgotten", 10*time.Second, func() bool { return len(l.Containers()) == 0 })
}

// CardNode returns the name of the card's node in a container, such as
// "nvidia2", and its number.
func CardNode(t *testing.T, l *Lab, who, docker, name string) (node string, dev int) {
	t.Helper()
	var found []string
	for file := range strings.FieldsSeq(l.OK(who, docker, "exec", name, "ls", "/dev")) {
		if n, ok := strings.CutPrefix(file, "nvidia"); ok && strings.Trim(n, "0123456789") == "" {
			found = append(found, file)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s's container has the cards %v, want one", who, found)
	}
	text := l.OK(who, docker, "exec", name, "stat", "-c", "%t:%T", "/dev/"+found[0])
	major, minor, _ := strings.Cut(text, ":")
	ma, err1 := strconv.ParseUint(major, 16, 32)
	mi, err2 := strconv.ParseUint(minor, 16, 32)
	if err1 != nil || err2 != nil {
		t.Fatalf("node %q", text)
	}
	return found[0], int(unix.Mkdev(uint32(ma), uint32(mi)))
}

// Frozen reports whether the kernel keeps alice's container web from running.
func Frozen(t *testing.T, l *Lab) bool {
	t.Helper()
	for _, c := range l.Containers() {
		if c.UID == l.UID("alice") && c.Name == "web" {
			return FrozenAt(t, l, c.UID, c.ID)
		}
	}
	t.Fatal("alice has no container web")
	return false
}

// FrozenAt reports whether the kernel keeps a person's container from running,
// whatever ds01 and the engine say.
func FrozenAt(t *testing.T, l *Lab, uid int, id string) bool {
	t.Helper()
	group := filepath.Join(l.Engine.CgroupParent(), "people", fmt.Sprintf("u%d", uid), id)
	for path, stands := range map[string]string{
		filepath.Join("/sys/fs/cgroup/freezer", group, "freezer.state"): "FROZEN",
		filepath.Join("/sys/fs/cgroup", group, "cgroup.freeze"):         "1",
	} {
		if data, err := os.ReadFile(path); err == nil {
			return strings.TrimSpace(string(data)) == stands
		}
	}
	t.Fatalf("no group %s", group)
	return false
}

// Descriptors counts what the daemon has open.
func Descriptors(t *testing.T, l *Lab) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.PID()))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

// Connections counts the clients that the gateway has on the line, by the
// kernel's table: those that it has yet to accept, too, and those that have gone
// while it is still at what they asked for.
func Connections(t *testing.T, l *Lab) int {
	t.Helper()
	table, err := os.ReadFile("/proc/net/unix")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) == 8 && f[7] == l.GatewaySocket() && (f[5] == "02" || f[5] == "03") {
			n++
		}
	}
	return n
}
