package crash_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// A maker is one way to make the image app:1.
type maker struct {
	words []string
	asks  func(*http.Request) bool // the request at the engine that does it
}

func isPost(r *http.Request, suffix string) bool {
	return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, suffix)
}

// makers are all of them. The files they need are made once.
func makers(l *lab.Lab) map[string]maker {
	l.OK("alice", "docker", "run", "--name", "work", "busybox", "sh", "-c", "echo hers > /note")
	l.OK("alice", "sh", "-c", "docker export work > tree.tar")
	l.OK("alice", "docker", "commit", "work", "app:1")
	l.OK("alice", "docker", "save", "-o", "app.tar", "app:1")
	l.OK("alice", "docker", "rmi", "app:1")
	file := func(name string) string { return filepath.Join(l.Home("alice"), name) }
	return map[string]maker{
		"commit": {[]string{"commit", "work", "app:1"}, func(r *http.Request) bool { return isPost(r, "/commit") }},
		"import": {[]string{"import", file("tree.tar"), "app:1"}, func(r *http.Request) bool { return isPost(r, "/images/create") }},
		"load":   {[]string{"load", "-i", file("app.tar")}, func(r *http.Request) bool { return isPost(r, "/images/load") }},
	}
}

// named returns the names of all images at the engine, one without a name as
// <none>:<none>.
func named(l *lab.Lab) []string {
	return strings.Fields(l.AtEngine("images", "-a", "--format", "{{.Repository}}:{{.Tag}}"))
}

// hasOnly reports whether the engine's images, but for busybox, are these.
func hasOnly(l *lab.Lab, names ...string) bool {
	all := slices.DeleteFunc(named(l), func(n string) bool { return n == "busybox:latest" })
	return slices.Equal(slices.Sorted(slices.Values(all)), names)
}

// killAt lets alice make something, kills the daemon when it has asked the
// engine for what fits and then holds, and starts it again. It never hears the
// engine's answer.
func killAt(t *testing.T, l *lab.Lab, words []string, fits func(*http.Request) bool, fate lab.Fate, then func() bool) {
	t.Helper()
	fate.Arrived, fate.Until = make(chan struct{}), make(chan struct{})
	defer close(fate.Until)
	l.Proxy.Decide(lab.Once(fits, fate))
	client := l.Command("alice", append([]string{"docker"}, words...)...)
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-fate.Arrived:
	case <-time.After(l.Patience(20 * time.Second)):
		t.Fatalf("docker %v doesn't come that far", words)
	}
	l.Eventually("the engine has done it", 30*time.Second, then)
	l.EndDaemon(syscall.SIGKILL)
	_ = client.Wait() // load and import may have told all they had to
	l.StartDaemon()
}

// TestACrashLeavesNoImageToNobody kills the daemon at each moment at which an
// image is made and isn't all its maker's yet.
func TestACrashLeavesNoImageToNobody(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, Users: []string{"alice", "bob"}})
	app, mark := fmt.Sprintf("ds01-%d/app:1", l.UID("alice")), fmt.Sprintf("/ds01-%d/ds01-nameless:", l.UID("alice"))
	always := func() bool { return true }
	marked := func() bool {
		return slices.ContainsFunc(named(l), func(n string) bool { return strings.Contains("/"+n, mark) })
	}
	tags := func(r *http.Request) bool { return isPost(r, "/tag") }
	untags := func(r *http.Request) bool {
		return r.Method == http.MethodDelete && strings.Contains(r.URL.Path, mark)
	}
	type moment struct {
		fits func(*http.Request) bool
		fate lab.Fate
		then func() bool
	}
	for way, m := range makers(l) {
		moments := map[string]moment{
			"the engine is done":        {m.asks, lab.Fate{LoseReply: true}, marked},
			"the engine is at it still": {m.asks, lab.Fate{LoseReply: true, Late: 500 * time.Millisecond}, always},
		}
		if way == "load" { // from here on all ways are one
			moments["it has an owner"] = moment{tags, lab.Fate{LoseRequest: true}, always}
			moments["it has its name"] = moment{tags, lab.Fate{LoseReply: true}, func() bool { return slices.Contains(named(l), app) }}
			moments["its mark is gone"] = moment{untags, lab.Fate{LoseReply: true}, func() bool { return hasOnly(l, app) }}
		}
		for moment, c := range moments {
			t.Run(way+" when "+moment, func(t *testing.T) {
				killAt(t, l, m.words, c.fits, c.fate, c.then)
				l.Eventually("the image is alice's", 30*time.Second, func() bool {
					return hasOnly(l, app) && l.Docker("alice", "image", "inspect", "app:1").Code == 0
				})
				if got := l.OK("alice", "docker", "run", "--rm", "app:1", "cat", "/note"); got != "hers" {
					t.Errorf("it says %q", got)
				}
				id := l.OK("alice", "docker", "images", "-q", "--no-trunc", "app:1")
				if r := l.Docker("bob", "image", "inspect", id); r.Code == 0 {
					t.Error("bob sees it")
				}
				l.OK("alice", "docker", "rmi", "app:1")
				if !hasOnly(l) {
					t.Errorf("left at the engine: %v", named(l))
				}
			})
		}
	}
}

func TestAnImageWhoseAnswerIsLostIsItsMakers(t *testing.T) {
	l := start(t, lab.Options{Proxy: true, Users: []string{"alice", "bob"}})
	registry := l.StartRegistry()
	pulled := registry.Image("tools/busybox:1")
	l.AtEngine("tag", "busybox", pulled)
	l.AtEngine("push", pulled)
	l.AtEngine("rmi", pulled)
	app := fmt.Sprintf("ds01-%d/app:1", l.UID("alice"))
	for way, m := range makers(l) {
		l.Proxy.Decide(lab.Once(m.asks, lab.Fate{LoseReply: true}))
		r := l.Docker("alice", m.words...)
		if r.Code == 0 || !strings.Contains(r.Err, "may or may not have been made") {
			t.Errorf("%s: exit code %d: %s", way, r.Code, r.Err)
		}
		if !hasOnly(l, app) || l.OK("alice", "docker", "run", "--rm", "app:1", "cat", "/note") != "hers" {
			t.Errorf("%s: the engine has %v", way, named(l))
		}
		l.OK("alice", "docker", "rmi", "app:1")

		l.Proxy.Decide(lab.Once(m.asks, lab.Fate{LoseRequest: true}))
		if r := l.Docker("alice", m.words...); r.Code == 0 {
			t.Errorf("%s: nobody has done it, and it went well", way)
		}
		l.OK("alice", append([]string{"docker"}, m.words...)...)
		l.OK("alice", "docker", "rmi", "app:1")
	}
	for what, c := range map[string]struct {
		words []string
		fits  func(*http.Request) bool
		name  string
	}{
		"pull": {[]string{"pull", pulled}, func(r *http.Request) bool { return isPost(r, "/images/create") }, pulled},
		"tag":  {[]string{"tag", "busybox", "app:1"}, func(r *http.Request) bool { return isPost(r, "/tag") }, app},
	} {
		for _, fate := range []lab.Fate{{LoseReply: true}, {LoseRequest: true}} {
			l.Proxy.Decide(lab.Once(c.fits, fate))
			if r := l.Docker("alice", c.words...); r.Code == 0 {
				t.Errorf("%s: the answer wasn't lost", what)
			}
			if fate.LoseReply && !hasOnly(l, c.name) || fate.LoseRequest && !hasOnly(l) {
				t.Errorf("%s: the engine has %v", what, named(l))
			}
			l.OK("alice", append([]string{"docker"}, c.words...)...)
			l.AtEngine("rmi", c.name)
		}
	}
}
