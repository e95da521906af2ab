package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
)

// Settled waits until ds01's records, the engine and the kernel agree, with
// nothing pending and nothing in quarantine.
func Settled(t *testing.T, l *Lab, patience time.Duration) {
	t.Helper()
	agree(t, l, patience, true)
}

// Sound waits until they agree but for claims whose create is still open.
func Sound(t *testing.T, l *Lab, patience time.Duration) {
	t.Helper()
	agree(t, l, patience, false)
}

func agree(t *testing.T, l *Lab, patience time.Duration, strict bool) {
	t.Helper()
	var wrong []string
	patience = l.Patience(patience)
	for deadline, last := time.Now().Add(patience), false; !last; time.Sleep(50 * time.Millisecond) {
		last = !time.Now().Before(deadline)
		if wrong = Disagreements(l, strict); len(wrong) == 0 {
			return
		}
	}
	t.Fatalf("not settled within %s:\n%s", patience, strings.Join(wrong, "\n"))
}

// Disagreements compares what ds01 says with what the engine and the kernel
// have. The lab's cards are as Container.Slots says.
func Disagreements(l *Lab, strict bool) []string {
	var wrong []string
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	engine, known := map[string]Container{}, l.Containers()
	for _, c := range l.EngineContainers() {
		engine[c.ID] = c
	}
	claimed := map[string]string{} // slot → who
	seen := map[string]bool{}
	for _, k := range known {
		who := k.EngineName + " " + k.ClaimState
		if k.ClaimState != "released" {
			for _, g := range k.GPUs {
				if other, twice := claimed[g.Slot]; twice {
					say("device %s is claimed twice: by %s and by %s", g.Slot, other, who)
				}
				claimed[g.Slot] = who
			}
		}
		if k.ClaimState == "pending" {
			if strict {
				say("%s is pending", who)
			}
			continue
		}
		c, there := engine[k.ID]
		switch {
		case seen[k.ID]:
			say("%s: its container is known twice", who)
		case !there:
			say("%s: the engine has no such container", who)
		case strict && k.Quarantined:
			say("%s is quarantined", who)
		default:
			wrong = append(wrong, compare(k, c)...)
		}
		seen[k.ID] = true
	}
	for id, c := range engine {
		if !seen[id] {
			say("%s: ds01 doesn't know it", c.Name)
		}
	}
	wrong = append(wrong, SharedDevices(engine)...)
	for _, g := range l.GPUs() {
		if who, ok := claimed[g.Slot]; ok != (g.Holder != nil) {
			say("device %s: claimed by %q, its holder is said to be %+v", g.Slot, who, g.Holder)
		}
	}
	wrong = append(wrong, strayProcesses(l, engine)...)
	return append(wrong, strayMounts(l, engine, strict)...)
}

// compare holds one record against its container.
func compare(k apitype.Container, c Container) []string {
	var wrong []string
	say := func(format string, args ...any) {
		wrong = append(wrong, k.EngineName+": "+fmt.Sprintf(format, args...))
	}
	slots := []string{}
	for _, g := range k.GPUs {
		slots = append(slots, g.Slot)
	}
	if rules := c.Slots(); !slices.Equal(slots, rules) {
		say("its claim has devices %v, its device rules %v", slots, rules)
	}
	if k.State != c.State.Status {
		say("ds01 says it is %s, the engine %s", k.State, c.State.Status)
	}
	states := map[string][]string{
		// A killed engine takes one for created whose end it hadn't written down.
		"running": {"running"}, "created": {"bound", "released", "held"}, "exited": {"held", "released"}, "dead": {"held", "released"},
	}[c.State.Status]
	if !k.Quarantined && !slices.Contains(states, k.ClaimState) {
		say("it is %s, its claim %s", c.State.Status, k.ClaimState)
	}
	return wrong
}

// SharedDevices says which running containers may open the same device.
func SharedDevices(engine map[string]Container) []string {
	var wrong []string
	opens := map[string]string{}
	for _, c := range engine {
		if !c.State.Running {
			continue
		}
		for _, slot := range c.Slots() {
			if other, twice := opens[slot]; twice {
				wrong = append(wrong, fmt.Sprintf("device %s opens in two running containers: %s and %s", slot, other, c.Name))
			}
			opens[slot] = c.Name
		}
	}
	return wrong
}

// strayMounts says which of the lab's mounts no running container uses, and
// which mount points no container has.
//
// A pending claim may have a mount point before it has a container.
func strayMounts(l *Lab, engine map[string]Container, strict bool) []string {
	folder := filepath.Join(l.Root, "run/ds01/mnt")
	wanted, points := map[string]bool{}, map[string]bool{}
	for _, c := range engine {
		for _, m := range c.Mounts {
			if strings.HasPrefix(m.Source, folder+"/") {
				wanted[m.Source] = wanted[m.Source] || c.State.Running
				points[filepath.Dir(m.Source)] = true
			}
		}
	}
	var wrong []string
	have := map[string]bool{}
	for _, path := range mountPoints(folder) {
		if have[path] {
			wrong = append(wrong, "mounted twice: "+path)
		}
		if have[path] = true; !wanted[path] {
			wrong = append(wrong, "mounted, but no running container uses it: "+path)
		}
	}
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if path := filepath.Join(folder, e.Name()); strict && !points[path] {
			wrong = append(wrong, "mount points that no container has: "+path)
		}
	}
	return wrong
}

func mountPoints(folder string) []string {
	table, _ := os.ReadFile("/proc/self/mountinfo")
	var all []string
	for line := range strings.Lines(string(table)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], folder+"/") {
			all = append(all, f[4])
		}
	}
	return all
}

// strayProcesses says which containers have processes although the engine
// says that they don't run.
func strayProcesses(l *Lab, engine map[string]Container) []string {
	var wrong []string
	for _, group := range containerGroups(l) {
		if !v2() && !strings.Contains(group, "/devices/") {
			continue // one of v1's hierarchies shows them all
		}
		procs, _ := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if id := containerOf(group); len(procs) > 0 && !engine[id].State.Running {
			words, _ := os.ReadFile("/proc/" + strings.Fields(string(procs))[0] + "/cmdline")
			wrong = append(wrong, fmt.Sprintf("container %s (%q at the engine) has a process: %q", id, engine[id].State.Status, words))
		}
	}
	return wrong
}

// containerGroups returns the control groups of containers below the lab's
// engine: only persons' groups may be left when no container is.
func containerGroups(l *Lab) []string {
	var all []string
	for _, parent := range l.Groups() {
		for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
			tops, _ := filepath.Glob(filepath.Join(root, parent))
			for _, top := range tops {
				_ = filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
					if err == nil && d.IsDir() && containerOf(path) != "" {
						all = append(all, path)
					}
					return nil
				})
			}
		}
	}
	return all
}

// containerOf returns the ID of the container whose control group or scope
// this is; "" if it is none's.
func containerOf(group string) string {
	id := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(group), "docker-"), ".scope")
	if len(id) != 64 {
		return ""
	}
	return id
}

// Clean checks that nothing of any container is left.
func Clean(t *testing.T, l *Lab) {
	t.Helper()
	Settled(t, l, 10*time.Second)
	if n := len(l.Containers()); n > 0 {
		t.Errorf("%d containers are left", n)
	}
	for _, g := range l.GPUs() {
		if g.Holder != nil {
			t.Errorf("device %s is still held: %+v", g.Slot, *g.Holder)
		}
	}
	if groups := containerGroups(l); len(groups) > 0 {
		t.Errorf("control groups of containers are left: %v", groups)
	}
}
