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

// queued returns who is in the queue, as "carol:1 dave:2", 0 for those whose
// turn it is.
func queued(t *testing.T, l *lab.Lab) string {
	t.Helper()
	var places []apitype.QueuePlace
	if err := json.Unmarshal([]byte(l.OK("alice", l.Binary(), "gpu", "queue", "list", "--json")), &places); err != nil {
		t.Fatal(err)
	}
	words := make([]string, len(places))
	for i, p := range places {
		for _, who := range []string{"carol", "dave"} {
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
	l.Eventually("dave waits", 10*time.Second, func() bool { return queued(t, l) == "carol:1 dave:2" })

	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	if got := queued(t, l); got != "carol:1 dave:2" {
		t.Errorf("after the daemon was killed: %s", got)
	}
	l.OK("alice", "docker", "rm", "-f", "x")
	l.Eventually("carol has her turn", 15*time.Second, func() bool { return queued(t, l) == "carol:0 dave:1" })
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
		t.Fatalf("dave still waits: %s", queued(t, l))
	}
	if got := queued(t, l); got != "" {
		t.Errorf("left in the queue: %s", got)
	}
	l.Eventually("administrators are told that dave's mail wasn't sent", 10*time.Second, func() bool {
		return strings.Contains(l.DS01("root", "doctor").Out, "the last (1 in a row) wasn't sent: "+hook+": exit status 75: mailbox full")
	})
}
