package tenants_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/e2e/lab"
)

// queued returns who of these people is in the queue, as "carol:1 dave:2", 0
// for those whose turn it is.
func queued(t *testing.T, l *lab.Lab, people ...string) string {
	t.Helper()
	var places []apitype.QueuePlace
	if err := json.Unmarshal([]byte(l.OK("alice", l.Binary(), "gpu", "queue", "list", "--json")), &places); err != nil {
		t.Fatal(err)
	}
	words := make([]string, len(places))
	for i, p := range places {
		for _, who := range people {
			if p.UID == l.UID(who) {
				words[i] = fmt.Sprintf("%s:%d", who, p.Position)
			}
		}
	}
	return strings.Join(words, " ")
}

// TestFourPeopleShareTwoGPUsInTurn: alice and bob have them, carol takes a
// place, dave waits at his terminal. The daemon is killed between; what becomes
// free goes to carol, then to dave, and to nobody who only asks. carol gets a
// mail; that dave's can't be sent keeps nobody up.
func TestFourPeopleShareTwoGPUsInTurn(t *testing.T) {
	l := start(t, lab.Options{GPU: "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb]}}", Users: []string{"alice", "bob", "carol", "dave"}})
	l.Write("hook", "#!/bin/sh\n[ \"$1\" = "+l.Login("carol")+" ] || { echo mailbox full; exit 75; }\nid -u >${0%/*}/mail/uid; exec cat >>${0%/*}/mail/carol\n")
	hook, box := filepath.Join(l.Root, "hook"), filepath.Join(l.Root, "mail")
	for _, err := range []error{os.Chmod(hook, 0o755), os.Mkdir(box, 0o700), os.Chown(box, 65534, 65534)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	l.Write("etc/ds01/ds01.yaml", l.Config()+"mail: {hook: "+hook+"}\n")
	l.Reload()
	run := func(who string) lab.Result {
		return l.Docker(who, "run", "-d", "--name", "x", "--network", "none", "--gpus", "1", "busybox", "sleep", "1000")
	}
	for _, who := range []string{"alice", "bob"} {
		if r := run(who); r.Code != 0 {
			t.Fatalf("%s: %+v", who, r)
		}
	}
	l.OK("carol", l.Binary(), "gpu", "queue", "join")
	waits := make(chan lab.Result, 1)
	go func() { waits <- l.DS01("dave", "container", "deploy", "d", "--wait", "--background") }()
	l.Eventually("dave waits", 10*time.Second, func() bool { return queued(t, l, "carol", "dave") == "carol:1 dave:2" })

	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	if got := queued(t, l, "carol", "dave"); got != "carol:1 dave:2" {
		t.Errorf("after the daemon was killed: %s", got)
	}
	l.OK("alice", "docker", "rm", "-f", "x")
	l.Eventually("carol has her turn", 15*time.Second, func() bool { return queued(t, l, "carol", "dave") == "carol:0 dave:1" })
	l.Eventually("carol has mail", 10*time.Second, func() bool {
		text, err := os.ReadFile(filepath.Join(box, "carol"))
		return err == nil && strings.Contains(string(text), "\nSubject: [ds01] GPU 0 is kept for you until ")
	})
	if uid := l.Read("mail/uid"); uid != "65534\n" {
		t.Errorf("the program that sends mail ran as %s", uid)
	}
	if r := run("alice"); r.Code == 0 || !strings.Contains(r.Err, "you would be number 2 in the queue") {
		t.Errorf("alice overtakes, or isn't told her place: %+v", r)
	}
	if r := run("carol"); r.Code != 0 {
		t.Errorf("carol doesn't get what is kept for her: %+v", r)
	}
	l.OK("bob", "docker", "rm", "-f", "x")
	select {
	case r := <-waits:
		if r.Code != 0 || !strings.Contains(r.Out, "d is running") {
			t.Errorf("dave: %+v", r)
		}
	case <-time.After(l.Patience(30 * time.Second)):
		t.Fatalf("dave still waits: %s", queued(t, l, "carol", "dave"))
	}
	if got := queued(t, l, "carol", "dave"); got != "" {
		t.Errorf("left in the queue: %s", got)
	}
	l.Eventually("administrators are told that dave's mail wasn't sent", 10*time.Second, func() bool {
		return strings.Contains(l.DS01("root", "doctor").Out, "the last (1 in a row) wasn't sent: "+hook+": exit status 75: mailbox full")
	})
}

const oneCard = "{provider: sim, sim: {gpus: [a100-80gb]}, queue: {hold: 10m, docker_wait: 0s}}"

// TestAWaitEndsAsItsOwnerWants: alice has the only GPU, bob waits for it at his
// terminal, which ends in every way that it can.
func TestAWaitEndsAsItsOwnerWants(t *testing.T) {
	l := start(t, lab.Options{GPU: oneCard, Users: []string{"alice", "bob"}})
	l.OK("alice", "docker", "run", "-d", "--name", "x", "--network", "none", "--gpus", "1", "busybox", "sleep", "1000")
	for name, c := range map[string]struct {
		flags  []string
		signal syscall.Signal // 0: the time is over
		code   int
		says   string
		left   string
	}{
		"Ctrl-C gives the place up":            {nil, syscall.SIGINT, 130, "Interrupted.", ""},
		"a kill gives the place up":            {nil, syscall.SIGTERM, 130, "Interrupted.", ""},
		"Ctrl-C keeps a place that is to stay": {[]string{"--keep-place"}, syscall.SIGINT, 130, "Your place stays: number 1.", "bob:1"},
		"a logout keeps the place":             {nil, syscall.SIGHUP, -1, "", "bob:1"},
		"the time is over":                     {[]string{"--timeout", "1s"}, 0, 4, "you waited for 1s and were number 1 in the queue", ""},
		"the time is over, the place stays":    {[]string{"--timeout", "1s", "--keep-place"}, 0, 4, "Your place stays: number 1.", "bob:1"},
	} {
		t.Run(name, func(t *testing.T) {
			// Whoever runs the tests may have closed them to a logout: nohup.
			cmd := l.Command("bob", append([]string{"env", "--default-signal=HUP", l.Binary(), "container", "deploy", "b", "--wait", "--background"}, c.flags...)...)
			var said lab.Output
			cmd.Stdout, cmd.Stderr = &said, &said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			l.Eventually("bob waits", 10*time.Second, func() bool { return strings.Contains(said.String(), "number 1 in the queue;") })
			if c.signal != 0 {
				if err := cmd.Process.Signal(c.signal); err != nil {
					t.Fatal(err)
				}
			}
			_ = cmd.Wait() // its exit code says it
			if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(said.String(), c.says) {
				t.Errorf("exit code %d: %s", code, said.String())
			}
			if got := queued(t, l, "bob"); got != c.left {
				t.Errorf("in the queue: %q, want %q", got, c.left)
			}
			if c.left == "" {
				return
			}
			l.EndDaemon(syscall.SIGTERM)
			l.StartDaemon()
			if got := queued(t, l, "bob"); got != c.left {
				t.Errorf("after a restart of the daemon: %q", got)
			}
			l.OK("bob", l.Binary(), "gpu", "queue", "leave")
		})
	}
	if r := l.DS01("bob", "container", "list", "--json"); r.Out != "[]" {
		t.Errorf("bob is left %s", r.Out)
	}
}

// TestDockersClientsWaitForTheirTurn: where a time is set for it, docker's
// create, start and restart wait for a GPU that another has, then say the place.
func TestDockersClientsWaitForTheirTurn(t *testing.T) {
	l := start(t, lab.Options{GPU: oneCard, Users: []string{"alice", "bob"}, Limits: "defaults: {max_mig_instances: 1, allow_full_gpu: true, gpu_hold_after_stop: 0s}\n"})
	wait := func(long string) {
		l.Write("etc/ds01/ds01.yaml", strings.Replace(l.Config(), "docker_wait: 0s", "docker_wait: "+long, 1))
		l.Reload()
	}
	l.OK("alice", "docker", "run", "-d", "--name", "x", "--network", "none", "--gpus", "1", "busybox", "sleep", "1000")
	l.OK("alice", "docker", "stop", "-t", "0", "x")
	l.Eventually("alice's GPU is given back", 15*time.Second, func() bool { return l.Holder("0") == "free" })
	take := []string{"docker", "run", "-d", "--rm", "--name", "y", "--network", "none", "--gpus", "1", "busybox", "sleep", "1000"}
	l.OK("bob", take...)
	if r := l.Docker("alice", "start", "x"); r.Code == 0 || strings.Contains(r.Err, "within") {
		t.Errorf("without a wait: %+v", r)
	}
	wait("1s")
	for _, words := range [][]string{{"start", "x"}, {"restart", "x"}, {"create", "--network", "none", "--gpus", "1", "busybox"}} {
		if r := l.Docker("alice", words...); r.Code == 0 || !strings.Contains(r.Err, "none became free for you within 1s; you were number 1 in the queue") {
			t.Errorf("%v: %+v", words, r)
		}
	}
	wait("1m")
	for i, words := range [][]string{{"start", "x"}, {"restart", "x"}} {
		if i > 0 {
			l.OK("alice", "docker", "stop", "-t", "0", "x")
			l.Eventually("alice's GPU is given back", 15*time.Second, func() bool { return l.Holder("0") == "free" })
			l.OK("bob", take...)
		}
		done := make(chan lab.Result, 1)
		go func() { done <- l.Docker("alice", words...) }()
		l.Eventually("alice waits", 10*time.Second, func() bool { return queued(t, l, "alice") == "alice:1" })
		l.OK("bob", "docker", "rm", "-f", "y")
		if r := <-done; r.Code != 0 {
			t.Fatalf("%v: %+v", words, r)
		}
		if state := l.Shown("alice", "x", "{{.State.Status}}"); state != "running" {
			t.Errorf("after %v: %s", words, state)
		}
	}
	if got := queued(t, l, "alice", "bob"); got != "" {
		t.Errorf("left in the queue: %s", got)
	}
}
