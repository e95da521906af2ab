package account_test

import (
	"errors"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/problem"
)

func TestAPersonsNameOfAnImageAndTheEnginesAreTwoWaysToSayOne(t *testing.T) {
	for reference, want := range map[string]string{
		"mine":                             "ds01-1001/mine:latest",
		"mine:1":                           "ds01-1001/mine:1",
		"docker.io/library/mine:1":         "ds01-1001/mine:1",
		"index.docker.io/library/mine:1":   "ds01-1001/mine:1",
		"team/app:2":                       "ds01-1001/team/app:2",
		"localhost/x":                      "ds01-1001/localhost/x:latest",
		"localhost:5000/x:1":               "ds01-1001/localhost__5000/x:1",
		"127.0.0.1:5000/a/b:1":             "ds01-1001/127.0.0.1__5000/a/b:1",
		"reg.example.org/x:1":              "ds01-1001/reg.example.org/x:1",
		"Reg.Example.org:5000/x:1":         "ds01-1001/reg.example.org__5000/x:1",
		"ds01-1001/mine:1":                 "ds01-1001/mine:1",
		"docker.io/ds01-1001/mine:1":       "ds01-1001/mine:1",
		"a__b/c:1":                         "ds01-1001/a__b/c:1",
		"reg.example.org/ds01-1002/x:1":    "ds01-1001/reg.example.org/ds01-1002/x:1",
		"reg.example.org:5000/foo__1/x:1a": "ds01-1001/reg.example.org__5000/foo__1/x:1a",
	} {
		got, err := account.EngineImage(reference, 1001)
		if err != nil || got != want {
			t.Errorf("%s became %s, %v; want %s", reference, got, err, want)
		}
		if again, err := account.EngineImage(account.OwnImage(got, 1001), 1001); err != nil || again != got {
			t.Errorf("%s is shown as %s, which means %s, %v", got, account.OwnImage(got, 1001), again, err)
		}
	}
}

func TestAMarkIsToldFromNames(t *testing.T) {
	mark := account.ImageMark(1001, "a-0")
	if tag, ok := account.MarkTag(mark); !ok || tag != "a-0" || !account.IsMark(mark) {
		t.Errorf("%s has the tag %q, %t", mark, tag, ok)
	}
	if owner, personal := account.ImageOwner(mark); !personal || owner != 1001 {
		t.Errorf("%s is %d's, %t", mark, owner, personal)
	}
	for _, name := range []string{"ds01-nameless:a-0", "x/ds01-nameless:1", "ds01-1001/x:1", "ds01-1001/x/ds01-nameless:1", "ds01-1001/ds01-nameless/x:1", "reg:5000/ds01-1001/ds01-nameless:1", ""} {
		if account.IsMark(name) {
			t.Errorf("%q is a mark", name)
		}
	}
}

func TestWhatIsNoNameOfOnesOwn(t *testing.T) {
	for reference, kind := range map[string]error{
		"ds01-1002/secret":                 problem.ErrNotFound,
		"docker.io/ds01-1002/secret":       problem.ErrNotFound,
		"index.docker.io/ds01-1002/secret": problem.ErrNotFound,
		"ds01-01001/x":                     problem.ErrNotFound, // not how the engine writes 1001's
		"a__5000/x":                        problem.ErrInvalid,  // the registry a:5000
		"docker.io/my.app/x":               problem.ErrInvalid,  // the registry my.app
		"docker.io/localhost/x":            problem.ErrInvalid,
		"[::1]:5000/x":                     problem.ErrInvalid,
		"Mine":                             problem.ErrInvalid,
		"sha256:e3b0c44298fc":              problem.ErrInvalid,
		"ds01-nameless":                    problem.ErrInvalid,
		"ds01-1001/ds01-nameless:1":        problem.ErrInvalid,
		"docker.io/library/ds01-nameless":  problem.ErrInvalid,
		"":                                 problem.ErrInvalid,
		"mine@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": problem.ErrInvalid,
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855":             problem.ErrInvalid,
	} {
		if got, err := account.EngineImage(reference, 1001); !errors.Is(err, kind) {
			t.Errorf("%s became %q, %v; want %v", reference, got, err, kind)
		}
	}
}

func TestNamesAreWrittenAsTheEngineWritesThem(t *testing.T) {
	const digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for text, want := range map[string]string{
		"busybox": "busybox:latest", "docker.io/library/busybox:1": "busybox:1", "reg:5000/x": "reg:5000/x:latest",
		"busybox" + digest: "busybox" + digest, "busybox:1" + digest: "busybox" + digest,
	} {
		if got, err := account.ImageName(text); err != nil || got != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	if _, err := account.ImageName("sha256:abc def"); !errors.Is(err, problem.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	if host, err := account.ImageRegistry("busybox"); err != nil || host != "docker.io" {
		t.Errorf("%s, %v", host, err)
	}
	if repository, whole, err := account.ImageRepositoryOf("reg:5000/x"); err != nil || whole || repository != "reg:5000/x" {
		t.Errorf("%s, %t, %v", repository, whole, err)
	}
}

func TestReferenceFilters(t *testing.T) {
	for pattern, want := range map[string]bool{"mine": true, "mine:1": true, "mi*": true, "mine:*": true, "*:1": true, "other": false, "mine:2": false, "a/*": false} {
		if got, err := account.ImageMatches(pattern, "mine:1"); err != nil || got != want {
			t.Errorf("%s: %t, %v", pattern, got, err)
		}
	}
	if _, err := account.ImageMatches("[", "mine:1"); err == nil {
		t.Error("a broken pattern is taken")
	}
}
