package tenants_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/audit"
	"ds01.dev/ds01/internal/e2e/lab"
	"ds01.dev/ds01/internal/event"
)

func auditPath(l *lab.Lab) string { return filepath.Join(l.Root, "var/log/ds01/audit.jsonl") }

// reading has the log's files read while the daemon writes to them.
func reading(t *testing.T, l *lab.Lab, read func(files []string) error) {
	t.Helper()
	if err := audit.Unmoved(func() ([]string, error) { return audit.Files(auditPath(l)) }, read); err != nil {
		t.Fatal(err)
	}
}

// events returns everything that was written down so far.
func events(t *testing.T, l *lab.Lab) []event.Event {
	t.Helper()
	var all []event.Event
	reading(t, l, func(files []string) (failed error) {
		all = nil
		for line := range audit.Lines(files, &failed) {
			e, err := event.Parse(line.Text)
			if err != nil && line.Torn && line.File == files[len(files)-1] {
				return failed // it is being written
			}
			if err != nil {
				return fmt.Errorf("%s, line %d: %w: %q", line.File, line.Number, err, line.Text)
			}
			all = append(all, e)
		}
		return failed
	})
	return all
}

// unbroken wants a log without a fault and returns what is to be said of it. Its
// last line may be cut off.
func unbroken(t *testing.T, l *lab.Lab) event.Report {
	t.Helper()
	var report event.Report
	reading(t, l, func(files []string) (failed error) {
		report = event.Verify(audit.Lines(files, &failed))
		return failed
	})
	if report.Bad != nil {
		t.Fatalf("%+v", report.Bad)
	}
	return report
}

// whole wants an unbroken log whose last line is there, or comes.
func whole(t *testing.T, l *lab.Lab) (report event.Report) {
	t.Helper()
	l.Eventually("the log's last line is whole", 10*time.Second, func() bool {
		report = unbroken(t, l)
		return report.Torn == nil
	})
	return report
}

// since returns the events after the first n.
func since(t *testing.T, l *lab.Lab, n int) []event.Event { return events(t, l)[n:] }

func brief(all []event.Event) string {
	var words []string
	for _, e := range all {
		words = append(words, string(e.Decision)+" "+e.Action)
	}
	return strings.Join(words, ", ")
}

// with adds a line to the daemon's configuration.
func with(t *testing.T, l *lab.Lab, line string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(l.Root, "etc/ds01/ds01.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	l.Write("etc/ds01/ds01.yaml", string(text)+line+"\n")
}

// TestAudit is what is written down of what people do, with stock clients.
func TestAudit(t *testing.T) {
	l := start(t, lab.Options{Admins: []string{"ada"}})
	for name, story := range map[string]func(*testing.T, *lab.Lab){
		"who did what with which program":      whoDidWhatWithWhichProgram,
		"what is refused, and why":             whatIsRefusedAndWhy,
		"an administrator acts for somebody":   anAdministratorActsForSomebody,
		"a container goes by itself":           aContainerGoesByItself,
		"the configuration is read again":      theConfigurationIsReadAgain,
		"looking leaves no trace":              lookingLeavesNoTrace,
		"logrotate takes the file away":        logrotateTakesTheFileAway,
		"what somebody does to the file shows": whatSomebodyDoesToTheFileShows,
	} {
		t.Run(name, func(t *testing.T) {
			defer l.ClearAll()
			story(t, l)
			whole(t, l)
		})
	}
}

func whoDidWhatWithWhichProgram(t *testing.T, l *lab.Lab) {
	lab.EachClient(t, l, func(t *testing.T, docker string) {
		n := len(events(t, l))
		l.OK("alice", docker, "run", "-d", "--name", "web", "--gpus", "1", "-e", "TOKEN=hunter2", "-v", l.Home("alice")+":/w",
			"busybox", "sleep", "1000")
		l.OK("alice", docker, "exec", "-e", "TOKEN=hunter2", "web", "echo", "hunter2")
		l.OK("alice", docker, "stop", "-t", "0", "web")
		l.OK("alice", docker, "rm", "web")
		got := since(t, l, n)
		if brief(got) != "allowed container create, allowed container start, allowed exec create, allowed exec start, allowed container stop, allowed container remove, allowed forget" {
			t.Fatal(brief(got))
		}
		program, err := filepath.EvalSymlinks(docker)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got[:6] {
			if e.UID != l.UID("alice") || e.GID == 0 || e.User != l.Login("alice") || e.PID == 0 || e.Exe != program || e.Door != event.Gateway || e.Owner != "" || e.Claim == "" {
				t.Errorf("%+v", e)
			}
		}
		if c := got[0]; c.Object != "web" || c.Image != "busybox" || c.GPUs != "1" || len(c.Devices) != 1 || !slices.Equal(c.Mounts, []string{l.Home("alice")}) || c.Command != "sleep" {
			t.Errorf("%+v", c)
		}
		if got[2].Command != "echo" || got[1].Container == "" || got[1].Claim != got[0].Claim {
			t.Errorf("%+v", got[2])
		}
	})
	text, err := os.ReadFile(auditPath(l))
	if err != nil {
		t.Fatal(err)
	}
	lab.Lacks(t, string(text), "hunter2")
	info, err := os.Stat(auditPath(l))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

func whatIsRefusedAndWhy(t *testing.T, l *lab.Lab) {
	id := l.OK("bob", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	n := len(events(t, l))
	l.Docker("alice", "run", "--privileged", "busybox", "true")
	l.Docker("alice", "inspect", id)
	l.Docker("alice", "rm", "-f", id)
	l.Docker("alice", "run", "--gpus", "9", "busybox", "true")
	l.Docker("alice", "swarm", "init")
	var got []event.Event
	for _, e := range since(t, l, n) {
		if e.Decision != event.Denied || e.UID != l.UID("alice") || e.PID == 0 || !strings.HasSuffix(e.Exe, "/docker") || e.Why == "" {
			t.Errorf("%+v", e)
		}
		got = append(got, e)
	}
	for i, want := range []struct {
		action, why string
		status      int
		bobs        bool
	}{
		{"container create", "HostConfig.Privileged can't be set", 403, false},
		{"container inspect", "No such container", 404, true},
		{"container remove", "No such container", 404, true},
		{"container create", "max_", 429, false},
		{"docker api", "swarm", 403, false},
	} {
		if i >= len(got) {
			t.Fatalf("only %s", brief(got))
		}
		e := got[i]
		if e.Action != want.action || !strings.Contains(e.Why, want.why) || e.Status != want.status || (e.Owner == l.Login("bob")) != want.bobs {
			t.Errorf("got %+v, want %+v", e, want)
		}
	}
}

func anAdministratorActsForSomebody(t *testing.T, l *lab.Lab) {
	n := len(events(t, l))
	l.DS01("ada", "container", "create", "web", "--user", l.Login("alice"))
	l.DS01("ada", "container", "remove", "web", "--user", l.Login("alice"), "--yes")
	for _, e := range since(t, l, n)[:2] {
		if e.UID != l.UID("ada") || e.Owner != l.Login("alice") || e.OwnerUID == nil || *e.OwnerUID != l.UID("alice") || e.Door != event.API {
			t.Errorf("%+v", e)
		}
	}
	if got := brief(since(t, l, n)); got != "allowed container create, allowed container remove, allowed forget" {
		t.Error(got)
	}
}

func aContainerGoesByItself(t *testing.T, l *lab.Lab) {
	n := len(events(t, l))
	l.OK("alice", "docker", "run", "--rm", "--gpus", "1", "busybox", "true")
	l.AtEngine("run", "-d", "--name", "past", "busybox", "sleep", "1000")
	defer l.AtEngine("rm", "-f", "past")
	l.Eventually("both are written down", 30*time.Second, func() bool {
		got := since(t, l, n)
		return slices.ContainsFunc(got, func(e event.Event) bool {
			return e.Action == "forget" && e.Door == event.Daemon && e.Owner == l.Login("alice")
		}) && slices.ContainsFunc(got, func(e event.Event) bool { return e.Action == "quarantine" && e.Object == "past" })
	})
}

func theConfigurationIsReadAgain(t *testing.T, l *lab.Lab) {
	n := len(events(t, l))
	l.Reload()
	l.Write("etc/ds01/resource-limits.yaml", "nonsense: 1\n")
	l.Signal(syscall.SIGHUP)
	defer func() {
		os.Remove(filepath.Join(l.Root, "etc/ds01/resource-limits.yaml"))
		l.Reload()
	}()
	l.Eventually("both are written down", 30*time.Second, func() bool {
		return brief(since(t, l, n)) == "allowed configuration reload, denied configuration reload"
	})
	lab.Contains(t, since(t, l, n)[1].Why, "nonsense")
}

func lookingLeavesNoTrace(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	n := len(events(t, l))
	for _, words := range [][]string{{"ps", "-a"}, {"logs", "web"}, {"inspect", "web"}, {"top", "web"}, {"images"}, {"info"}, {"version"}} {
		l.OK("alice", append([]string{"docker"}, words...)...)
	}
	l.Docker("alice", "inspect", "nothing")
	l.DS01("alice", "container", "list")
	if got := since(t, l, n); len(got) > 0 {
		t.Error(brief(got))
	}
}

func logrotateTakesTheFileAway(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "create", "--name", "a", "busybox")
	l.OK("root", "mv", auditPath(l), auditPath(l)+"-20300517")
	l.OK("alice", "docker", "create", "--name", "b", "busybox")
	l.Reload()
	l.OK("root", "gzip", auditPath(l)+"-20300517")
	l.OK("alice", "docker", "rm", "a")
	if report := whole(t, l); report.First.Seq != 1 {
		t.Errorf("%+v", report)
	}
	if files, _ := audit.Files(auditPath(l)); len(files) != 2 {
		t.Errorf("%v", files)
	}
}

func whatSomebodyDoesToTheFileShows(t *testing.T, l *lab.Lab) {
	for range 3 {
		l.OK("alice", "docker", "create", "--name", "a", "busybox")
		l.OK("alice", "docker", "rm", "a")
	}
	text, err := os.ReadFile(auditPath(l))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "audit.jsonl")
	for name, c := range map[string]struct{ script, says string }{
		"edited":  {"2s/alice/mallory/", "line 2: edited"},
		"deleted": {"2d", "line 2: removed"},
		"swapped": {"2{h;d};3G", "line 2: reordered"},
	} {
		t.Run(name, func(t *testing.T) {
			os.WriteFile(copied, text, 0o600)
			l.OK("root", "sed", "-i", c.script, copied)
			r := l.DS01("root", "audit", "verify", copied)
			if r.Code != 1 || !strings.Contains(r.Out, c.says) {
				t.Errorf("exit code %d: %s %s", r.Code, r.Out, r.Err)
			}
		})
	}
}

// TestAuditSurvivesKills kills the daemon while people work, with files that
// are moved aside all the time.
func TestAuditSurvivesKills(t *testing.T) {
	l := start(t, lab.Options{NoStart: true})
	with(t, l, "audit: {max_size: 64KiB, keep: 1000}")
	l.StartDaemon()
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	for round := range 4 {
		end := make(chan struct{})
		over := make(chan struct{})
		go func() {
			defer close(over)
			for {
				select {
				case <-end:
					return
				default:
					l.Finish(l.Command("alice", "sh", "-c", fmt.Sprintf(
						`for i in $(seq 40); do curl -s --max-time 5 --unix-socket %s -X POST http://d/v1.41/containers/web/kill?signal=CONT -o /dev/null & done; wait`, l.GatewaySocket())))
				}
			}
		}()
		before := len(events(t, l))
		l.Eventually("something is written", time.Minute, func() bool { return len(events(t, l)) > before+60 })
		l.EndDaemon(syscall.SIGKILL)
		close(end)
		<-over
		torn := unbroken(t, l).Torn != nil // by the kill, else as a power cut leaves it
		if round == 1 && !torn {
			appendTo(t, auditPath(l), `{"seq":99,"time":"20`)
		}
		l.StartDaemon()
		l.OK("alice", "docker", "kill", "-s", "CONT", "web")
		whole(t, l)
	}
	if files, _ := audit.Files(auditPath(l)); len(files) < 2 {
		t.Errorf("nothing was moved aside: %v", files)
	}
	if !slices.ContainsFunc(events(t, l), func(e event.Event) bool { return e.Action == "audit repair" }) {
		t.Error("the torn line is not mentioned")
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.WriteString(text)
}

// TestAFullLogRefusesChanges puts the log on a disk that is too small.
func TestAFullLogRefusesChanges(t *testing.T) {
	l := start(t, lab.Options{NoStart: true, Admins: []string{"ada"}})
	folder := filepath.Dir(auditPath(l))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "size=64k,mode=700"); err != nil {
		t.Fatal(err)
	}
	l.StartDaemon()
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	filler := filepath.Join(folder, "filler")
	os.WriteFile(filler, bytes.Repeat([]byte("x"), 1<<20), 0o600) // until it is full
	var refused lab.Result
	l.Eventually("a change is refused", 30*time.Second, func() bool {
		refused = l.Docker("alice", "kill", "-s", "CONT", "web")
		return refused.Code != 0
	})
	lab.Contains(t, refused.Err, "audit log", "no space left", "ds01 doctor")
	for _, words := range [][]string{{"run", "busybox", "true"}, {"stop", "web"}, {"exec", "web", "true"}, {"rm", "-f", "web"}, {"run", "--gpus", "1", "busybox", "true"}} {
		r := l.Run("alice", append([]string{"docker"}, words...)...)
		if r.Code == 0 || !strings.Contains(r.Err, "audit log") {
			t.Errorf("docker %v: exit code %d: %s", words, r.Code, r.Err)
		}
	}
	for _, g := range l.GPUs() {
		if g.Holder != nil {
			t.Errorf("it holds a GPU: %+v", g)
		}
	}
	if r := l.DS01("alice", "container", "create", "b"); r.Code != 7 {
		t.Errorf("exit code %d: %s", r.Code, r.Err)
	}
	lab.Contains(t, l.OK("alice", "docker", "ps", "--format", "{{.Names}}"), "web") // looking goes on
	if r := l.DS01("ada", "doctor"); r.Code != 1 || !strings.Contains(r.Out, "audit log") || !strings.Contains(r.Out, "no space left") {
		t.Errorf("doctor: exit code %d: %s", r.Code, r.Out)
	}
	lab.Contains(t, l.Log(), "audit log can't be written")
	os.Remove(filler)
	l.OK("alice", "docker", "stop", "-t", "0", "web")
	l.OK("alice", "docker", "rm", "web")
	whole(t, l)
	got := events(t, l)
	if !slices.ContainsFunc(got, func(e event.Event) bool { return e.Action == "audit resume" && e.Times > 0 }) {
		t.Errorf("the gap is not mentioned: %s", brief(got))
	}
	lab.Contains(t, l.OK("ada", binary, "doctor"), "audit log")
}
