package admission_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/problem"
)

func TestBodiesThatTwoParsersCouldReadInTwoWaysAreRefused(t *testing.T) {
	for name, body := range map[string]string{
		"keys in another case":                  `{"Image":"x","hostconfig":{"PRIVILEGED":true,"networkmode":"host"}}`,
		"one key in another case":               `{"Image":"x","HostConfig":{"privileged":true}}`,
		"the same key in two cases":             `{"HostConfig":{"Privileged":false},"hostConfig":{"Privileged":true}}`,
		"the same key twice, which Go merges":   `{"HostConfig":{"Privileged":true},"HostConfig":{}}`,
		"the same key twice, further down":      `{"HostConfig":{"Memory":1,"Memory":99999999999}}`,
		"the same key twice in a refused field": `{"HostConfig":{"Sysctls":{"a":"1","a":"2"}}}`,
		"the same key twice by an escape":       `{"HostConfig":{"Privileged":true,"Privileg\u0065d":false}}`,
		"a letter that folds to s":              `{"Ho` + "\u017f" + `tConfig":{}}`,
		"a letter that folds to k":              `{"HostConfig":{"Networ` + "\u212a" + `Mode":"host"}}`,
		"null over what was set":                `{"HostConfig":{"Privileged":true},"HostConfig":null}`,
		"a second document":                     `{"Image":"x"} {"HostConfig":{"Privileged":true}}`,
		"bytes after the document":              `{"Image":"x"}]`,
		"no body":                               "",
		"blanks for a body":                     " \n\t",
		"half a body":                           `{"Image":"x"`,
		"no object":                             `["Image"]`,
		"a key of the engine's future":          `{"Image":"x","HostConfig":{"Privilege2":true}}`,
		"mounts beside HostConfig":              `{"Image":"x","Binds":["/:/h"]}`,
		"a number where text is due":            `{"Image":5}`,
		"a number that is too large":            `{"HostConfig":{"Memory":99999999999999999999}}`,
		"a number with a fraction":              `{"HostConfig":{"Memory":1.5}}`,
		"bytes that aren't UTF-8":               "{\"Image\":\"\xff\"}",
		"nesting without end":                   `{"HostConfig":{"Devices":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}`,
		"more than a mebibyte":                  `{"Image":"` + strings.Repeat("x", admission.MaxBody) + `"}`,
		"a comment":                             `{"Image":"x"/**/}`,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := admission.DecodeCreate([]byte(body))
			wantProblem(t, err, problem.ErrInvalid, "")
		})
	}
}

func TestNullAsksForNothing(t *testing.T) {
	both(t, func(t *testing.T, mode admission.Isolation) {
		c := mustReview(t, mode, `{"Image":"x","Env":null,"HostConfig":null,"NetworkingConfig":null}`)
		if c.HostConfig.Memory != 2<<30 {
			t.Errorf("memory is %d, not the limit", c.HostConfig.Memory)
		}
	})
}

func TestWhatDockersOwnClientsSendIsServed(t *testing.T) {
	paths, err := filepath.Glob("testdata/clients/*.json")
	if err != nil || len(paths) < 10 {
		t.Fatalf("found %v, %v", paths, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".json"), func(t *testing.T) {
			both(t, func(t *testing.T, mode admission.Isolation) {
				if strings.Contains(path, "interactive") {
					mode = admission.UserNS // it has --user 1000:1000
				}
				c := mustReview(t, mode, string(read(t, path)))
				if strings.Contains(path, "mounts") != (len(c.HostConfig.Mounts) == 2 && len(c.HostConfig.Tmpfs) == 2) {
					t.Errorf("mounts are %v and %v", c.HostConfig.Mounts, c.HostConfig.Tmpfs)
				}
			})
		})
	}
}

func TestWhatTheClientAskedForGoesOn(t *testing.T) {
	for _, client := range []string{"20.10", "28"} {
		c := mustReview(t, admission.UserNS, string(read(t, "testdata/clients/docker-"+client+"-interactive.json")))
		switch {
		case c.Hostname != "box", c.User != "1000:1000", !c.Tty, !c.OpenStdin, !c.StdinOnce, *c.StopTimeout != 5,
			!slices.Equal(c.Cmd, []string{"-l"}), !slices.Equal(c.Entrypoint, []string{"/bin/sh"}), !*c.HostConfig.Init,
			c.Labels["team"] != "vision", !slices.Contains(c.Env, "LANG=C.UTF-8"):
			t.Errorf("docker %s: something was lost: %s", client, encode(t, c))
		}
		c = mustReview(t, admission.UserNS, string(read(t, "testdata/clients/docker-"+client+"-limited.json")))
		h := c.HostConfig
		switch {
		case h.Memory != 1<<30, h.MemorySwap != 2<<30, h.NanoCPUs != 1.5e9, *h.PidsLimit != 100, !h.ReadonlyRootfs,
			h.NetworkMode != "none", !slices.Contains(h.CapDrop, "ALL"), !slices.Contains(h.SecurityOpt, "no-new-privileges"),
			!slices.Contains(h.Ulimits, admission.Ulimit{Name: "nofile", Soft: 1024, Hard: 2048}):
			t.Errorf("docker %s: something was lost: %s", client, encode(t, c))
		}
	}
}

func TestExec(t *testing.T) {
	paths, err := filepath.Glob("testdata/exec/*.json")
	if err != nil || len(paths) < 2 {
		t.Fatalf("found %v, %v", paths, err)
	}
	for _, path := range paths {
		e, err := admission.ReviewExec(read(t, path), alice(), admission.UserNS, true)
		if err != nil || e.User != "1000" || e.WorkingDir != "/tmp" || !e.Tty || !slices.Equal(e.Env, []string{"A=b"}) {
			t.Errorf("%s: %+v, %v", path, e, err)
		}
	}
	for name, c := range map[string]struct {
		body string
		kind error
	}{
		"privileged":                    {`{"Cmd":["sh"],"Privileged":true}`, problem.ErrDenied},
		"in /proc":                      {`{"Cmd":["sh"],"WorkingDir":"/proc/self/fd/8"}`, problem.ErrDenied},
		"in /proc by another name":      {`{"Cmd":["sh"],"WorkingDir":"//proc/./self"}`, problem.ErrDenied},
		"in /proc from somewhere else":  {`{"Cmd":["sh"],"WorkingDir":"/tmp/../proc/self/fd/8"}`, problem.ErrDenied},
		"in proc without a slash":       {`{"Cmd":["sh"],"WorkingDir":"proc/self"}`, problem.ErrDenied},
		"unknown key":                   {`{"Cmd":["sh"],"Unknown":"x"}`, problem.ErrInvalid},
		"repeated key":                  {`{"User":"1001","User":"0"}`, problem.ErrInvalid},
		"key in another case":           {`{"user":"0"}`, problem.ErrInvalid},
		"as root beside host mounts":    {`{"Cmd":["sh"],"User":"0"}`, problem.ErrDenied},
		"own uid, foreign group":        {`{"Cmd":["sh"],"User":"1001:0"}`, problem.ErrDenied},
		"by a name that could be root":  {`{"Cmd":["sh"],"User":"alice"}`, problem.ErrDenied},
		"no body":                       {``, problem.ErrInvalid},
		"a terminal of no fixed length": {`{"Cmd":["sh"],"ConsoleSize":[1,2,3]}`, problem.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := admission.ReviewExec([]byte(c.body), alice(), admission.UID, true)
			wantProblem(t, err, c.kind, "")
		})
	}
}

func TestExecBesideHostMountsRunsAsTheOwnerWhereTheEngineDoesNotRemap(t *testing.T) {
	for _, user := range []string{"", "1001", "1001:1001"} {
		e, err := admission.ReviewExec([]byte(`{"Cmd":["sh"],"User":"`+user+`"}`), alice(), admission.UID, true)
		if err != nil || e.User != "1001:1001" {
			t.Errorf("%q became %q, %v", user, e.User, err)
		}
	}
	e, err := admission.ReviewExec([]byte(`{"Cmd":["sh"],"User":"0"}`), alice(), admission.UID, false)
	if err != nil || e.User != "0" {
		t.Errorf("without mounts: %q, %v", e.User, err)
	}
}

func TestExecDropsWhatSelectsDevices(t *testing.T) {
	e, err := admission.ReviewExec([]byte(`{"Cmd":["sh"],"Env":["NVIDIA_VISIBLE_DEVICES=all","A=b","NVIDIA_X"]}`), alice(), admission.UserNS, false)
	if err != nil || !slices.Equal(e.Env, []string{"A=b"}) {
		t.Errorf("%v, %v", e.Env, err)
	}
}

func TestExecStart(t *testing.T) {
	if s, err := admission.ReviewExecStart([]byte(`{"Detach":false,"Tty":true,"ConsoleSize":[24,80]}`)); err != nil || !s.Tty {
		t.Errorf("%+v, %v", s, err)
	}
	for _, body := range []string{``, `{"Detach":true,"Detach":false}`, `{"Privileged":true}`, `{} {}`} {
		_, err := admission.ReviewExecStart([]byte(body))
		wantProblem(t, err, problem.ErrInvalid, "")
	}
}
