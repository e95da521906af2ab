package rego_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/policy"
	"ds01.dev/ds01/internal/rego"
)

func input() policy.Input {
	who := account.Account{UID: 1001, Name: "alice", Groups: []account.Group{{GID: 2000, Name: "course"}}}
	r := policy.Request{Name: "web", Labels: map[string]string{"com.example.a": "b"}, Image: policy.Named("busybox", "", false), Memory: 8 << 30, Networks: []string{"bridge"}}
	return policy.New(policy.ContainerCreate, who, false, limits.Limits{Group: "student"}, r, time.Date(2030, 5, 17, 12, 30, 0, 0, time.UTC))
}

func file(text string) []rego.File {
	return []rego.File{{Name: "/etc/ds01/policy/site.rego", Text: []byte(text)}}
}

func compile(t testing.TB, text string) *rego.Policy {
	t.Helper()
	p, err := rego.Compile(file(text))
	if err != nil {
		t.Fatal(err)
	}
	p.Deadline = time.Minute // however busy the machine is
	return p
}

func TestRulesSayWhatTheyDenyAndWhereTheyStand(t *testing.T) {
	p := compile(t, `package ds01

deny contains msg if {
	input.request.image.registry == "docker.io"
	msg := sprintf("%s is from docker.io", [input.request.image.asked])
}

deny contains "never" if input.user.name == "bob"

deny contains "never" if input.request.labels["com.example.a"] == "c"

deny contains "never" if input.request.labels.other

tighten contains {"memory": units.parse_bytes("4GiB"), "message": "enough for a course"} if "course" in input.user.groups
`)
	v, err := p.Judge(t.Context(), input())
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Denials) != 1 || v.Denials[0] != (policy.Denial{Rule: "site.rego:3", Message: "busybox is from docker.io"}) {
		t.Errorf("%+v", v.Denials)
	}
	if len(v.Tightenings) != 1 || v.Tightenings[0].Memory != 4<<30 || v.Tightenings[0].Rule != "site.rego:14" {
		t.Errorf("%+v", v.Tightenings)
	}
	if r := p.Rules(); len(r) != 5 || r[4].Name != "tighten" || r[4].Package != "ds01" {
		t.Errorf("%+v", r)
	}
}

func TestPackagesBelowCountTooAndTheirHelpersNeverMeet(t *testing.T) {
	p, err := rego.Compile([]rego.File{
		{Name: "a.rego", Text: []byte("package ds01.a\n\nbad := true\n\ndeny contains \"a\" if bad\n")},
		{Name: "b.rego", Text: []byte("package ds01.b\n\nbad := false\n\ndeny contains \"b\" if bad\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Deadline = time.Minute
	v, err := p.Judge(t.Context(), input())
	if err != nil || len(v.Denials) != 1 || v.Denials[0].Rule != "a.rego:5" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestWhatCannotBeRightDoesNotCompile(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"a syntax error":                      {"package ds01\n\ndeny contains \"x\" if {\n", "site.rego:"},
		"nothing at all":                      {"", "site.rego:"},
		"no rule that counts":                 {"package ds01\n\ndenny contains \"x\" if true\n", "no file has a rule"},
		"a package whose rules don't count":   {"package main\n\ndeny contains \"x\" if true\n", "site.rego:1: package main"},
		"a rule of another form":              {"package ds01\n\ndeny := \"x\"\n", "site.rego:3: deny has another form"},
		"a rule of the older form":            {"package ds01\n\ndeny[msg] if { msg := \"x\" }\n", "site.rego:3: deny has another form"},
		"the network":                         {"package ds01\n\ndeny contains \"x\" if http.send({\"method\": \"get\", \"url\": \"http://x\"}).status_code == 200\n", "site.rego:3: undefined function http.send"},
		"name servers":                        {"package ds01\n\ndeny contains \"x\" if count(net.lookup_ip_addr(\"x\")) > 0\n", "undefined function net.lookup_ip_addr"},
		"the clock":                           {"package ds01\n\ndeny contains \"x\" if time.now_ns() > 0\n", "undefined function time.now_ns"},
		"chance":                              {"package ds01\n\ndeny contains \"x\" if rand.intn(\"x\", 2) == 0\n", "undefined function rand.intn"},
		"the daemon's environment":            {"package ds01\n\ndeny contains \"x\" if opa.runtime().env.PATH\n", "undefined function opa.runtime"},
		"a field that isn't there":            {"package ds01\n\ndeny contains \"x\" if input.user.nmae == \"bob\"\n", "site.rego:3: undefined ref: input.user.nmae"},
		"a comparison of two kinds":           {"package ds01\n\ndeny contains \"x\" if input.user.uid == \"1001\"\n", "site.rego:3: match error"},
		"a variable that nobody reads":        {"package ds01\n\ndeny contains \"x\" if { y := 1 }\n", "site.rego:3: assigned var y unused"},
		"a copy of a rule that isn't its own": {"package ds01\n\nx if data.other.y\n\ndeny contains \"x\" if { z }\n", "site.rego:5: var z is unsafe"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := rego.Compile(file(c.text))
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "__ds01") {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestNoFunctionReachesBeyondItsArguments(t *testing.T) {
	for _, name := range rego.Builtins() {
		for _, reaches := range []string{"http", "lookup", "runtime", "rand", "uuid", "now", "jwt", "aws", "schema", "crypto", "expand"} {
			if strings.Contains(name, reaches) {
				t.Errorf("rules may call %s", name)
			}
		}
	}
}

// loops takes for ever: each of a billion numbers with each.
const loops = `package ds01

deny contains "never" if count([x | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); x := a * b]) < 0
`

func TestNonsenseAndLoopsAreNoVerdict(t *testing.T) {
	for name, c := range map[string]struct{ text, says string }{
		"a loop":                         {loops, "longer than"},
		"one function that loops":        {"package ds01\n\ndeny contains \"x\" if count(numbers.range(1, 1000000000000)) < 0\n", "longer than"},
		"a denial that is no text":       {"package ds01\n\ndeny contains true\n", "site.rego:3: deny contains true, which is no message"},
		"a denial without words":         {"package ds01\n\ndeny contains \" \"\n", "which is no message"},
		"a tightening of another kind":   {"package ds01\n\ntighten contains \"memory\"\n", "site.rego:3"},
		"a tightening without a message": {"package ds01\n\ntighten contains {\"memory\": 1000000000}\n", "says why"},
		"an unknown field":               {"package ds01\n\ntighten contains {\"memroy\": 1000000000, \"message\": \"x\"}\n", "memroy"},
		"a function that fails":          {"package ds01\n\ndeny contains \"x\" if units.parse_bytes(input.user.name) > 3\n", "units.parse_bytes"},
		"two values for one name":        {"package ds01\n\nx := 1 if input.version == 1\n\nx := 2 if input.user.uid == 1001\n\ndeny contains \"x\" if x == 3\n", "conflict"},
		"more than anybody reads":        {"package ds01\n\ndeny contains sprintf(\"%d\", [n]) if some n in numbers.range(1, 1000)\n", "over 100"},
	} {
		t.Run(name, func(t *testing.T) {
			p := compile(t, c.text)
			if c.says == "longer than" {
				p.Deadline = 250 * time.Millisecond
			}
			v, err := p.Judge(t.Context(), input())
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %+v, %v", v, err)
			}
		})
	}
}

func TestALoopEndsAndKeepsNobodyElseFromAnAnswer(t *testing.T) {
	p := compile(t, `package ds01

deny contains "never" if {
	input.user.name == "bob"
	count([x | some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); x := a * b]) < 0
}
`)
	in := input()
	in.User.Name = "bob"
	p.Deadline = 250 * time.Millisecond
	for range 2 * runtime.GOMAXPROCS(0) { // more than run at a time
		if _, err := p.Judge(t.Context(), in); err == nil {
			t.Fatal("a loop has an answer")
		}
	}
	p.Deadline = time.Minute
	if v, err := p.Judge(t.Context(), input()); err != nil || len(v.Denials) > 0 {
		t.Error(v, err)
	}
}

func TestTestsAreRunAsByOPA(t *testing.T) {
	files := append(file("package ds01\n\ndeny contains \"no\" if input.user.name == \"bob\"\n"), rego.File{Name: "site_test.rego", Text: []byte(`package ds01_test

import data.ds01

test_bob if "no" in ds01.deny with input as {"user": {"name": "bob"}}

test_alice if "no" in ds01.deny with input as {"user": {"name": "alice"}}

todo_test_later if false

test_loops if count([1 | some a in numbers.range(1, 1000); a < 0]) == 0
`)})
	got, err := rego.Test(context.Background(), files)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 4 || !got[0].Passed || got[1].Passed || got[1].Why == "" || !got[2].Skipped || !got[3].Passed || got[0].Name != "ds01_test.test_bob" || got[1].Line != 7 {
		t.Errorf("%+v", got)
	}
	files[1].Text = []byte("package ds01_test\n\ntest_x if y\n")
	if _, err := rego.Test(context.Background(), files); err == nil {
		t.Error("tests that don't compile passed")
	}
}

func BenchmarkJudge(b *testing.B) {
	p := compile(b, "package ds01\n\ndeny contains \"no\" if input.user.name == \"bob\"\n")
	for b.Loop() {
		if _, err := p.Judge(b.Context(), input()); err != nil {
			b.Fatal(err)
		}
	}
}
