package traffic_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestStreams is what flows between a person's terminal and their container.
func TestStreams(t *testing.T) {
	l := start(t, lab.Options{})
	for name, story := range map[string]func(*testing.T, *lab.Lab, string){
		"logs are followed to the container's end":       logsAreFollowed,
		"attach joins a container's own streams":         attachJoins,
		"the end of input reaches a command":             theEndOfInputReachesACommand,
		"a terminal is one, of the size of the caller's": aTerminalIsOne,
		"exit codes come through":                        exitCodesComeThrough,
		"wait ends with the container":                   waitEndsWithTheContainer,
		"top and stats tell of the container":            topAndStats,
		"64 MiB go through a command and come back":      muchGoesThrough,
		"a killed client's stream ends in the daemon":    aKilledClientsStreamEnds,
	} {
		t.Run(name, func(t *testing.T) {
			lab.EachClient(t, l, func(t *testing.T, docker string) {
				defer l.ClearAll()
				story(t, l, docker)
			})
		})
	}
}

// inTerminal runs a command line in a terminal of 33 rows and 91 columns.
func inTerminal(l *lab.Lab, who, line string) lab.Result {
	return l.Run(who, "timeout", "60", "script", "-qec", "stty rows 33 cols 91; "+line, "/dev/null")
}

func logsAreFollowed(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-d", "--name", "web", "busybox", "sh", "-c",
		"for i in $(seq 200); do echo out $i; done; until [ -e /go ]; do sleep 0.05; done; echo err >&2; sleep 0.2; echo last; until [ -e /end ]; do sleep 0.1; done")
	out, _ := lab.Background(t, l, "alice", docker, "logs", "-f", "web")
	l.Eventually("what was said before is there", 30*time.Second, func() bool { return strings.Contains(out.String(), "out 200\n") })
	lab.Lacks(t, out.String(), "last")
	l.OK("alice", docker, "exec", "web", "touch", "/go")
	l.Eventually("what is said now comes too", 30*time.Second, func() bool { return strings.HasSuffix(out.String(), "last\n") })
	l.Run("alice", docker, "exec", "web", "touch", "/end") // the container may end before the answer
	r := l.Run("alice", "timeout", "60", docker, "logs", "-f", "--tail", "2", "web")
	if r.Code != 0 || r.Out != "last" || r.Err != "err" {
		t.Errorf("the last two lines: exit code %d, %q and %q", r.Code, r.Out, r.Err)
	}
	ours := l.DS01("alice", "container", "logs", "web")
	if lines := strings.Split(ours.Out, "\n"); len(lines) != 201 || lines[199] != "out 200" || ours.Err != "err" {
		t.Errorf("container logs: %d lines, %q", len(lines), ours.Err)
	}
}

func attachJoins(t *testing.T, l *lab.Lab, docker string) {
	r := l.Fed("alice", "one\ntwo\n", docker, "run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo err >&2; exit 3")
	if r.Code != 3 || r.Out != "one\ntwo" || !strings.HasSuffix(r.Err, "err") { // the engine may warn before it
		t.Errorf("run -i: exit code %d, %q and %q", r.Code, r.Out, r.Err)
	}
	l.OK("alice", docker, "run", "-di", "--name", "web", "busybox", "sh", "-c", "while read x; do echo got $x; [ $x = end ] && exit 4; done")
	// The input stays open: an attach whose input ends may end before the answers come.
	in, typed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer typed.Close()
	typed.WriteString("hello\nend\n")
	cmd := l.Command("alice", "timeout", "60", docker, "attach", "web")
	cmd.Stdin = in
	r = l.Finish(cmd)
	if r.Code != 4 || r.Out != "got hello\ngot end" {
		t.Errorf("attach: exit code %d, %q %s", r.Code, r.Out, r.Err)
	}
}

func theEndOfInputReachesACommand(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	// wc speaks only once its input has ended.
	r := l.Fed("alice", "one\ntwo\n", "timeout", "60", docker, "exec", "-i", "web", "sh", "-c", "wc -l; sleep 0.2; echo later; echo err >&2")
	if r.Code != 0 || r.Out != "2\nlater" || r.Err != "err" {
		t.Errorf("exit code %d, %q and %q", r.Code, r.Out, r.Err)
	}
	r = l.Fed("alice", "unread", "timeout", "60", docker, "exec", "web", "sh", "-c", "cat; echo end")
	if r.Code != 0 || r.Out != "end" {
		t.Errorf("without -i: exit code %d, %q %s", r.Code, r.Out, r.Err)
	}
}

func aTerminalIsOne(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-dt", "--name", "web", "busybox", "sleep", "1000")
	sized := `sh -c 'tty; until [ "$(stty size)" = "33 91" ]; do sleep 0.05; done; stty size; exit 5'`
	for name, line := range map[string]string{"exec": docker + " exec -it web " + sized, "run": docker + " run -it --rm busybox " + sized} {
		r := inTerminal(l, "alice", line)
		if r.Code != 5 || !regexp.MustCompile(`(?s)/dev/(pts/\d+|console)\s.*33 91$`).MatchString(r.Out) {
			t.Errorf("%s: exit code %d: %q", name, r.Code, r.Out)
		}
	}
	if status, answer := l.Ask("alice", "POST", "/containers/web/resize?h=21&w=77", ""); status != 200 {
		t.Errorf("resize: %d %s", status, answer)
	}
	if got := l.OK("alice", docker, "exec", "web", "sh", "-c", "stty size < /proc/1/fd/0"); got != "21 77" {
		t.Errorf("after a resize it has %s", got)
	}
	r := inTerminal(l, "alice", l.Binary()+" container exec -it web -- "+sized)
	if r.Code != 5 || !strings.HasSuffix(r.Out, "33 91") {
		t.Errorf("container exec: exit code %d: %q", r.Code, r.Out)
	}
	r = leaves(l, "alice", l.Binary()+" container exec -it web -- sh -c 'echo up; exec sleep 4321'")
	if r.Code != 0 || !strings.Contains(r.Out, "You left; the command goes on in web.") || strings.Contains(r.Out, "escape sequence") {
		t.Errorf("left: exit code %d: %q %s", r.Code, r.Out, r.Err)
	}
	lab.Contains(t, l.OK("alice", docker, "top", "web"), "sleep 4321")
}

// leaves types Ctrl-P Ctrl-Q into a terminal once the program in it has said that it
// is up.
func leaves(l *lab.Lab, who, line string) lab.Result {
	const script = `cd "$2" && rm -f left && : >shown
{ until grep -q up shown; do sleep 0.1; done; printf '\020\021'; until [ -e left ]; do sleep 0.1; done; } |
	{ timeout 60 script -qefc "$1" shown; code=$?; touch left; exit $code; }`
	return l.Run(who, "sh", "-c", script, "sh", line, l.Home(who))
}

func exitCodesComeThrough(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	for _, c := range []struct {
		code  int
		words []string
	}{
		{0, []string{"run", "--rm", "busybox", "true"}},
		{42, []string{"run", "--rm", "busybox", "sh", "-c", "exit 42"}},
		{137, []string{"run", "--rm", "--init", "busybox", "sh", "-c", "kill -9 $$"}},
		{127, []string{"run", "--rm", "busybox", "no-such-program"}},
		{126, []string{"run", "--rm", "busybox", "/etc"}},
		{43, []string{"exec", "web", "sh", "-c", "exit 43"}},
		{137, []string{"exec", "web", "sh", "-c", "kill -9 $$"}},
		{125, []string{"run", "--rm", "no-such-image-anywhere"}},
	} {
		if r := l.Run("alice", append([]string{docker}, c.words...)...); r.Code != c.code {
			t.Errorf("%v: exit code %d, want %d: %s", c.words, r.Code, c.code, r.Err)
		}
	}
	if r := l.DS01("alice", "container", "exec", "web", "--", "sh", "-c", "exit 44"); r.Code != 44 {
		t.Errorf("container exec: exit code %d, want 44: %s", r.Code, r.Err)
	}
}

func waitEndsWithTheContainer(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-d", "--name", "web", "busybox", "sh", "-c", "until [ -e /go ]; do sleep 0.05; done; exit 7")
	out, _ := lab.Background(t, l, "alice", docker, "wait", "web")
	l.OK("alice", docker, "exec", "web", "touch", "/go")
	l.Eventually("wait tells the exit code", 30*time.Second, func() bool { return out.String() == "7\n" })
	if got := l.OK("alice", docker, "wait", "web"); got != "7" {
		t.Errorf("waiting for one that has ended gives %q", got)
	}
}

func topAndStats(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "-d", "--name", "web", "--memory", "64m", "busybox", "sleep", "1234")
	l.Eventually("top tells of its program", 30*time.Second, func() bool { // and not of runc's, before it
		return strings.Contains(l.OK("alice", docker, "top", "web"), "sleep 1234")
	})
	lab.Contains(t, l.OK("alice", docker, "top", "web", "-eo", "pid,comm"), "COMMAND", "sleep")
	if r := l.Run("alice", docker, "top", "web", "-o", "pid", "/etc/shadow"); r.Code == 0 {
		t.Errorf("ps takes a file: %s", r.Out)
	}
	got := l.OK("alice", docker, "stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "web")
	if !strings.HasPrefix(got, "web ") || !strings.HasSuffix(got, "/ 64MiB 1") {
		t.Errorf("stats tell %q", got)
	}
}
