package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/gateway"
)

// Each of these panics is in a goroutine beside the handler's, or in the HTTP
// client's, and ends the test's process where nobody guards it.
func TestWhatBreaksDs01EndsOnlyItself(t *testing.T) {
	tree := archive(t, entry{name: "x", text: strings.Repeat("x", 1<<20)})
	for name, c := range map[string]struct {
		send func(l *lab) answer
		says string
	}{
		"images that are loaded": {
			func(l *lab) answer {
				return l.ask(t, alice, "POST", "/images/load", archive(t, entry{name: "manifest.json", text: manifest}))
			}, "Images not loaded: what was sent broke something in ds01",
		},
		"an image that is imported": {
			func(l *lab) answer { return l.ask(t, alice, "POST", "/images/create?fromSrc=-&repo=app", tree) },
			"what was sent broke something in ds01",
		},
		"files that are copied": {
			func(l *lab) answer { return l.put(t, "/", "", []byte(tree)) }, "Files not copied: what was sent broke something in ds01",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.api = "1.42"
			l.create(t, alice)
			looks := 0
			l.space = func() container.Space {
				if looks++; looks > 1 {
					panic("planted")
				}
				return container.Space{}
			}
			wantRefusal(t, c.send(l), 503, c.says)
			l.space = func() container.Space { return container.Space{} }
			if a := l.ask(t, alice, "GET", "/_ping", ""); a.status != 200 {
				t.Errorf("it serves no more: %d %s", a.status, a.body)
			}
		})
	}
}

func TestAPanicBesideTheCallerIsTheCallers(t *testing.T) {
	defer func() {
		if what := fmt.Sprint(recover()); !strings.Contains(what, "planted") || !strings.Contains(what, "guard_test.go") {
			t.Errorf("got %s", what)
		}
	}()
	gateway.Beside(func() { panic("planted") })()
	t.Error("nobody heard of it")
}
