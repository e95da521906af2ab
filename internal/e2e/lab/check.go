package lab

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Debian is where Debian's package puts its client; one elsewhere is tried
// beside it.
const Debian = "/usr/bin/docker"

// Python is the distribution's, for which Docker's SDK is a package.
const Python = "/usr/bin/python3"

// Long reports whether the long mode is wanted.
func Long() bool { return os.Getenv("DS01_TEST_LONG") != "" }

// Modes are the two kinds of engine: what each is called, and whether it is
// plain.
func Modes() map[string]bool { return map[string]bool{"remapped engine": false, "plain engine": true} }

// EachClient runs a story once with every stock client of the host.
func EachClient(t *testing.T, l *Lab, story func(t *testing.T, docker string)) {
	t.Helper()
	tried := false
	for _, docker := range l.Clients() {
		tried = tried || docker == Debian
		t.Run(docker, func(t *testing.T) { story(t, docker) })
	}
	if !tried {
		t.Errorf("no client at %s; 'make deps' installs it", Debian)
	}
}

// Resumed waits until the engine takes a person's container for running that was
// paused. It may hear of a pause late, even when that is over; the exit code of a
// command it tells when it has heard of all that was before.
func Resumed(t *testing.T, l *Lab, who, docker, name string) {
	t.Helper()
	const code = 71 // none of docker's own
	l.Eventually(name+" runs again", 30*time.Second, func() bool {
		return l.Run(who, docker, "exec", name, "sh", "-c", fmt.Sprint("exit ", code)).Code == code
	})
}

// Must fails the test at once for an error.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Contains fails the test for each of the words that text lacks.
func Contains(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in: %s", w, text)
		}
	}
}

// Lacks fails the test for each of the words that text has.
func Lacks(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if strings.Contains(text, w) {
			t.Errorf("%q is in: %s", w, text)
		}
	}
}
