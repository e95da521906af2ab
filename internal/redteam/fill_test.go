package redteam

import (
	"strings"
	"testing"
)

func TestRawRequestsAreFilledInAndCounted(t *testing.T) {
	f := facts{"{mark}": "m", "{payload}": "12345"}
	for name, c := range map[string]struct{ raw, want string }{
		"no body":             {"GET /{mark} HTTP/1.1\r\n\r\n", "GET /m HTTP/1.1\r\n\r\n"},
		"a body":              {"A: {length}\r\n\r\n{payload}", "A: 5\r\n\r\n12345"},
		"a body that ends":    {"A: {length}\r\n\r\n{mark}{end}more", "A: 1\r\n\r\nmmore"},
		"one after another":   {"A: {length}\r\n\r\n{mark}{end}A: {length}\r\n\r\n{payload}", "A: 1\r\n\r\nmA: 5\r\n\r\n12345"},
		"one within another":  {"A: {length}\r\n\r\nB: {length}\r\n\r\n{payload}", "A: 13\r\n\r\nB: 5\r\n\r\n12345"},
		"a chunk":             {"A\r\n\r\n" + chunk("{payload}"), "A\r\n\r\n5;x=y\r\n12345\r\n0\r\n\r\n"},
		"an unknown one":      {"GET /{nothing} HTTP/1.1\r\n\r\n", "GET /{nothing} HTTP/1.1\r\n\r\n"},
		"braces that are not": {`{"A":{"B":{}}}`, `{"A":{"B":{}}}`},
	} {
		if got := f.fillRaw(c.raw); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestRequestsHaveALengthAndAType(t *testing.T) {
	f := facts{"{mark}": "m"}
	got := f.request(Step{Method: "POST", Path: "/{mark}", Body: "{mark}m"})
	for _, want := range []string{"POST /m HTTP/1.1\r\n", "\r\nConnection: close\r\n", "\r\nContent-Type: application/json\r\n", "\r\nContent-Length: 2\r\n\r\nmm"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	typed := f.request(Step{Method: "POST", Path: "/", Body: "x", Headers: []string{"Content-Type: text/plain", "Connection: Upgrade"}})
	if strings.Count(typed, "Content-Type:") != 1 || strings.Count(typed, "Connection:") != 1 {
		t.Errorf("a header is there twice: %q", typed)
	}
}

func TestVectorsSayWhatTheyLack(t *testing.T) {
	v := one("x", "x", Step{Method: "GET", Path: "/{victim}/{own}/{made}", Body: "{victim}"})
	if got := (facts{"{own}": "1"}).lacks(v); len(got) != 1 || got[0] != "{victim}" {
		t.Errorf("it lacks %v", got)
	}
}

func TestPicturesDifferInWords(t *testing.T) {
	before := picture{"a": "1", "b": "2", "c": "3"}
	got := strings.Join(before.changes(picture{"a": "1", "b": "x", "d": "4"}), "; ")
	if want := "b has changed: x, was 2; c has changed: nothing, was 3; d is new: 4"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if same := before.changes(before); len(same) > 0 {
		t.Errorf("no change is %v", same)
	}
}

func TestLeaksAreFoundInWhatWasHeard(t *testing.T) {
	s := &Scene{secrets: map[string]string{"hush1": "a file"}, facts: facts{"{mark}": "m"}}
	for heard, want := range map[string]string{
		"nothing":                                "",
		"x hush1 y":                              "a file was told",
		"REACHED-m a device\nREACHED-m a device": "a container reached a device",
		`{"Cmd":"echo REACH""ED-m x"}`:           "",
		"REACHED-other x":                        "",
	} {
		if got := strings.Join(s.leaks([]byte(heard)), "; "); got != want {
			t.Errorf("%q: %q, want %q", heard, got, want)
		}
	}
}
