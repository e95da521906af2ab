package e2e_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

func TestTwoPeopleGetTwoDevicesAndDoNotMeet(t *testing.T) {
	l := start(t, lab.Options{})
	id := l.OK("alice", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	l.OK("bob", "docker", "run", "-d", "--name", "web", "--gpus", "1", "busybox", "sleep", "1000")
	if got := l.Docker("bob", "inspect", id).Code; got == 0 {
		t.Error("bob inspects alice's container by its id")
	}
	if out := l.OK("bob", "docker", "ps", "-q", "--no-trunc"); strings.Contains(out, id) {
		t.Error("bob sees alice's container")
	}
}
