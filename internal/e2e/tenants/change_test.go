package tenants_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestChange is what people do to their containers beside starting and
// stopping them.
func TestChange(t *testing.T) {
	l := start(t, lab.Options{Admins: []string{"ada"}, Limits: "defaults: {max_containers_per_user: 9, max_mig_instances: 1, max_gpu_share: 1, memory: 256m}\n"})
	for name, story := range map[string]func(*testing.T, *lab.Lab, string){
		"a name is changed among one's own":        aNameIsChanged,
		"a paused container stands still":          aPausedContainerStandsStill,
		"prune removes one's own stopped ones":     pruneRemovesOnesOwn,
		"health is shown and can be filtered by":   healthIsShown,
		"sizes aren't measured for a list of many": sizesAreNotMeasured,
	} {
		t.Run(name, func(t *testing.T) {
			lab.EachClient(t, l, func(t *testing.T, docker string) {
				defer l.ClearAll()
				story(t, l, docker)
			})
		})
	}
}

func aNameIsChanged(t *testing.T, l *lab.Lab, docker string) {
	id := l.OK("alice", docker, "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	l.OK("bob", docker, "run", "-d", "--name", "new", "busybox", "sleep", "1000")
	l.OK("alice", docker, "rename", "web", "new") // bob's is no conflict
	if got := l.OK("alice", docker, "ps", "--format", "{{.Names}}"); got != "new" {
		t.Errorf("alice has %s", got)
	}
	if got := l.OK("alice", docker, "inspect", "-f", "{{.Name}} {{.ID}}", "new"); got != "/new "+id {
		t.Errorf("inspect shows %s", got)
	}
	if got := l.AtEngine("inspect", "-f", "{{.Name}}", id); got != fmt.Sprintf("/new._.%d", l.UID("alice")) {
		t.Errorf("the engine knows %s", got)
	}
	l.OK("alice", docker, "create", "--name", "web", "busybox")
	for _, bad := range []string{"web", fmt.Sprintf("x._.%d", l.UID("bob")), "-x"} {
		r := l.Run("alice", docker, "rename", "--", "new", bad)
		if r.Code == 0 || !strings.Contains(r.Err, "ds01: Container") {
			t.Errorf("%s: %d %s", bad, r.Code, r.Err)
		}
	}
	if r := l.Run("bob", docker, "rename", id, "mine"); r.Code == 0 || !strings.Contains(r.Err, "No such container") {
		t.Errorf("bob renames: %s", r.Err)
	}
	// Past ds01 a name doesn't last.
	l.AtEngine("rename", id, fmt.Sprintf("taken._.%d", l.UID("bob")))
	l.Eventually("it has its name back", 30*time.Second, func() bool {
		return l.AtEngine("inspect", "-f", "{{.Name}}", id) == fmt.Sprintf("/new._.%d", l.UID("alice"))
	})
	// An engine without a bridge can't rename what was restarted, while it runs.
	l.OK("alice", docker, "restart", "-t", "0", "new")
	if r := l.Run("alice", docker, "rename", "new", "newer"); r.Code != 0 {
		lab.Contains(t, r.Err, "ds01:", "Stop it first")
		l.OK("alice", docker, "stop", "-t", "0", "new")
		l.OK("alice", docker, "rename", "new", "newer")
	}
	if got := l.OK("alice", docker, "ps", "-a", "--format", "{{.Names}}", "--filter", "name=newer"); got != "newer" {
		t.Errorf("alice has %s", got)
	}
}

func aPausedContainerStandsStill(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	if r := l.Run("alice", docker, "unpause", "web"); r.Code == 0 {
		t.Error("one that runs is resumed")
	}
	l.OK("alice", docker, "pause", "web")
	if got := l.OK("alice", docker, "ps", "--format", "{{.Status}}", "--filter", "status=paused"); !strings.Contains(got, "Paused") {
		t.Errorf("the list shows %q", got)
	}
	holds := func() bool {
		for _, g := range l.GPUs() {
			if g.Holder != nil && g.Holder.Container == "web" {
				return true
			}
		}
		return false
	}
	if !holds() {
		t.Error("it gave its GPU away")
	}
	if r := l.Run("alice", docker, "start", "web"); r.Code == 0 || !strings.Contains(r.Err, "is paused") {
		t.Errorf("start: %d %s", r.Code, r.Err)
	}
	if r := l.Run("bob", docker, "unpause", "web"); r.Code == 0 {
		t.Error("bob resumes it")
	}
	l.OK("alice", docker, "unpause", "web")
	lab.Resumed(t, l, "alice", docker, "web")
	l.OK("alice", docker, "pause", "web")
	l.OK("alice", docker, "stop", "-t", "0", "web")
	l.OK("alice", docker, "start", "web")
	l.OK("alice", docker, "pause", "web")
	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	if !lab.Frozen(t, l) || !holds() {
		t.Error("the next daemon resumed it")
	}
	l.OK("alice", docker, "rm", "-f", "web")
	l.Eventually("its GPU is free", 30*time.Second, func() bool { return !holds() })
}

func pruneRemovesOnesOwn(t *testing.T, l *lab.Lab, docker string) {
	run := func(who, name string, words ...string) string {
		return l.OK(who, append([]string{docker, "run", "-d", "--name", name}, words...)...)
	}
	running := run("alice", "running", "busybox", "sleep", "1000")
	kept := run("alice", "kept", "--label", "keep=yes", "busybox", "true")
	other := run("alice", "other", "--label", "job=7", "busybox", "sh", "-c", "dd if=/dev/zero of=/x bs=1M count=2 2>/dev/null")
	made := l.OK("alice", docker, "create", "--name", "made", "busybox")
	his := run("bob", "his", "busybox", "true")
	admins := run("ada", "admins", "busybox", "true")
	l.Eventually("they have ended", 30*time.Second, func() bool {
		return l.OK("root", docker, "ps", "-q", "--no-trunc") == running
	})
	left := func() string { return l.OK("root", docker, "ps", "-aq", "--no-trunc") }
	prune := func(who string, filters ...string) string {
		t.Helper()
		words := []string{docker, "container", "prune", "-f"}
		for _, f := range filters {
			words = append(words, "--filter", f)
		}
		return l.OK(who, words...)
	}
	if got := prune("alice", "until=24h"); strings.Contains(got, "Deleted") {
		t.Errorf("nothing is so old: %s", got)
	}
	got := prune("alice", "label=job=7")
	lab.Contains(t, got, other, "2.097MB")
	lab.Lacks(t, got, kept, made)
	got = prune("alice", "label!=keep")
	lab.Contains(t, got, made)
	lab.Lacks(t, got, kept, running)
	got = prune("ada")
	lab.Contains(t, got, admins)
	lab.Contains(t, left(), his, kept, running)
	lab.Contains(t, prune("alice", "until=0s"), kept)
	if got := left(); strings.Contains(got, kept) || !strings.Contains(got, running) || !strings.Contains(got, his) {
		t.Errorf("left are %s", got)
	}
	if r := l.Run("alice", docker, "container", "prune", "-f", "--filter", "name=x"); r.Code == 0 || !strings.Contains(r.Err, "not served") {
		t.Errorf("a filter that isn't one: %s", r.Err)
	}
	if n := len(l.Containers()); n != 2 {
		t.Errorf("ds01 knows %d containers, want 2", n)
	}
}

func healthIsShown(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-d", "--name", "well", "--health-cmd", "true", "--health-interval", "1s", "busybox", "sleep", "1000")
	l.OK("alice", docker, "run", "-d", "--name", "ill", "--health-cmd", "false", "--health-interval", "1s", "--health-retries", "1", "busybox", "sleep", "1000")
	for health, name := range map[string]string{"healthy": "well", "unhealthy": "ill"} {
		l.Eventually(name+" is "+health, 30*time.Second, func() bool {
			return l.OK("alice", docker, "ps", "--filter", "health="+health, "--format", "{{.Names}}") == name
		})
		if got := l.OK("alice", docker, "ps", "--filter", "name="+name, "--format", "{{.Status}}"); !strings.Contains(got, "("+health+")") {
			t.Errorf("the list shows %s", got)
		}
	}
	if r := l.Run("alice", docker, "create", "--health-cmd", "true", "--health-interval", "1ms", "busybox"); r.Code == 0 {
		t.Error("a check each millisecond is taken")
	}
}

func sizesAreNotMeasured(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	if got := l.OK("alice", docker, "ps", "-s", "--format", "{{.Names}} {{.Size}}"); got != "web 0B" {
		t.Errorf("the list shows %q", got)
	}
	_, answer := l.Ask("alice", "GET", "/containers/web/json?size=1", "")
	lab.Lacks(t, answer, "SizeRw")
}
