package redteam_test

import (
	"bytes"
	"flag"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"

	"ds01.dev/ds01/internal/redteam"
)

var update = flag.Bool("update", false, "write docs/admins/red-team-vectors.md")

const page = "../../docs/admins/red-team-vectors.md"

func TestEveryTopicIsTriedOrHeldElsewhere(t *testing.T) {
	tried := map[int]int{}
	for _, v := range redteam.Vectors() {
		for _, n := range v.Topics {
			tried[n]++
		}
	}
	for i, topic := range redteam.Topics() {
		if topic.Number != i+1 {
			t.Errorf("topic %d stands at place %d", topic.Number, i+1)
		}
		if (tried[topic.Number] == 0) == (topic.Elsewhere == "") {
			t.Errorf("topic %d (%s): %d vectors, held elsewhere: %q", topic.Number, topic.Says, tried[topic.Number], topic.Elsewhere)
		}
		delete(tried, topic.Number)
	}
	for n := range tried {
		t.Errorf("there is no topic %d", n)
	}
}

func TestVectorsAreWhole(t *testing.T) {
	seen, ids := map[string]bool{}, regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	all := redteam.Vectors()
	if len(all) < 150 {
		t.Errorf("there are %d vectors", len(all))
	}
	for _, v := range all {
		if seen[v.ID] || !ids.MatchString(v.ID) {
			t.Errorf("%q is there twice, or no name", v.ID)
		}
		seen[v.ID] = true
		if v.Says == "" || len(v.Topics) == 0 || len(v.Steps) == 0 {
			t.Errorf("%s lacks words, topics or steps", v.ID)
		}
		for _, s := range v.Steps {
			if !s.Swap && s.Rules == "" && s.Build == nil && (len(s.Status) == 0 || (s.Method == "" || s.Path == "") == (s.Raw == "")) {
				t.Errorf("%s: a step lacks a request or what may be answered", v.ID)
			}
			if s.Build != nil && len(s.Status) == 0 {
				t.Errorf("%s: a build lacks what may come of it", v.ID)
			}
			if s.Run && slices.Contains(s.Status, 500) && s.Raw != "" {
				t.Errorf("%s runs what it wrote by hand", v.ID)
			}
		}
	}
}

// TestWhatWouldHarmAHostIsForLabs holds the vectors to requests that do
// nothing to what isn't theirs, even where everything is let through.
func TestWhatWouldHarmAHostIsForLabs(t *testing.T) {
	marked := regexp.MustCompile(`\{(mark|victimmark|own|made|victim[a-z]*|stopped|shared[a-z]*)\}`)
	for _, v := range redteam.Vectors() {
		for _, s := range v.Steps {
			destructive := s.Method == http.MethodDelete || regexp.MustCompile(`/(prune|kill|stop|restart|init|leave|unlock)(\?|$)`).MatchString(s.Path)
			if destructive && !marked.MatchString(s.Path) && v.LabOnly == "" {
				t.Errorf("%s: %s %s would reach what isn't the scene's", v.ID, s.Method, s.Path)
			}
		}
	}
}

func TestPage(t *testing.T) {
	var want bytes.Buffer
	redteam.WritePage(&want)
	if *update {
		if err := os.WriteFile(page, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is old: go test ./internal/redteam -run TestPage -update", page)
	}
}
