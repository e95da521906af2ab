package limits_test

import (
	"errors"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/limits"
	"ds01.dev/ds01/internal/problem"
)

func TestFoldersThatCannotBeMountedFrom(t *testing.T) {
	tests := map[string]struct{ file, says string }{
		"the whole host":               {"defaults:\n  mounts:\n    - /", `:3: defaults.mounts: "/" can't be mounted from`},
		"its configuration":            {"defaults: {mounts: [/etc]}", `"/etc" can't be mounted from: /etc is the host's own`},
		"below its configuration":      {"defaults: {mounts: [/etc/ds01]}", "/etc is the host's own"},
		"processes":                    {"groups: {a: {mounts: [/proc/self/root/data]}}", "groups.a.mounts"},
		"the kernel":                   {"defaults: {mounts: [/sys]}", "/sys is the host's own"},
		"devices":                      {"defaults: {mounts: [/dev/shm]}", "/dev is the host's own"},
		"sockets":                      {"defaults: {mounts: [/run]}", "/run is the host's own"},
		"sockets by their older name":  {"defaults: {mounts: [/var/run]}", "/var/run is the host's own"},
		"the engine's data":            {"defaults: {mounts: [/var/lib/docker/volumes]}", "/var/lib/docker is the host's own"},
		"what holds the engine's data": {"defaults: {mounts: [/var]}", `"/var" can't be mounted from`},
		"root's home":                  {"user_overrides: {a: {mounts: [{path: /root, mode: ro}]}}", "user_overrides.a.mounts"},
		"another's home by name":       {"defaults: {mounts: [~bob]}", "is not an absolute path"},
		"out of the home":              {"defaults: {mounts: [~/../bob]}", "is not an absolute path"},
		"a final slash":                {"defaults: {mounts: [/data/]}", "or a final '/'"},
		"a pattern":                    {"defaults: {mounts: [/data/*]}", "would be taken as it is"},
		"another variable":             {"defaults: {mounts: [/data/$HOME]}", `"$HOME" would be taken as it is`},
		"a variable in a word":         {"defaults: {mounts: [/data/u-$USER]}", "as a whole part"},
		"one path":                     {"defaults: {mounts: /data}", `it holds "/data" where a list belongs, such as [~, /data]`},
		"an entry without a path":      {"defaults:\n  mounts:\n    - mode: ro", ":3: defaults.mounts: an entry has no path"},
		"another mode":                 {"defaults: {mounts: [{path: /data, mode: readonly}]}", `mode is "readonly" where ro or rw belongs`},
		"another key":                  {"defaults: {mounts: [{path: /data, model: ro}]}", `unknown key "model" in defaults.mounts: did you mean mode?`},
		"a repeated key":               {"defaults: {mounts: [{path: /data, path: /x}]}", "repeats path"},
		"a list in the list":           {"defaults: {mounts: [[/data]]}", "lists a list where a path belongs"},
		"null in the list":             {"defaults: {mounts: [null]}", `lists "null" where a path belongs`},
		"a folder twice":               {"defaults: {mounts: [/data, {path: /data, mode: ro}]}", "lists /data twice"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := limits.Decode(limits.File{Name: "l.yaml", Data: []byte(tt.file)}, nil)
			if !errors.Is(err, problem.ErrInvalid) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v; want it to say %q", err, tt.says)
			}
		})
	}
}

func TestMountsOfSeveralRules(t *testing.T) {
	const file = `defaults: {mounts: [~, {path: /data, mode: ro}]}
groups:
  vision: {members: [ann, bob], mounts: [~, /srv/groups/vision]}
  plain: {members: [eve]}
user_overrides:
  bob: {mounts: [{path: /srv, mode: ro}]}
`
	d, warnings := decode(t, file)
	wantWarning(t, warnings, "6: user_overrides.bob.mounts leaves out ~: those it applies to can't mount anything of their home")
	for name, want := range map[string]struct{ text, source string }{
		"eve": {"~ /data:ro", "defaults, resource-limits.yaml:1"},
		"ann": {"~ /srv/groups/vision", "groups.vision, resource-limits.yaml:3"},
		"bob": {"/srv:ro", "user_overrides.bob, resource-limits.yaml:6"},
	} {
		got, l := resolved(d, name)
		if got["mounts"] != want.text || l.Source("mounts").String() != want.source {
			t.Errorf("%s: %q from %q, want %q from %q", name, got["mounts"], l.Source("mounts"), want.text, want.source)
		}
	}
	d, _ = decode(t, "")
	if got, l := resolved(d, "x"); got["mounts"] != "~" || l.Source("mounts").Rule != "built-in" {
		t.Errorf("built in: %q from %q", got["mounts"], l.Source("mounts"))
	}
}

func TestRootsOfAPerson(t *testing.T) {
	ann := account.Account{Name: "ann", Home: "/data/home/ann/"}
	for name, tt := range map[string]struct {
		path string
		who  account.Account
		want string
	}{
		"the home":                 {"~", ann, "/data/home/ann"},
		"in the home":              {"~/sets", ann, "/data/home/ann/sets"},
		"by name":                  {"/scratch/$USER/x", ann, "/scratch/ann/x"},
		"neither":                  {"/data", ann, "/data"},
		"no home":                  {"~", account.Account{Name: "ann"}, ""},
		"the host as a home":       {"~/x", account.Account{Name: "ann", Home: "/"}, ""},
		"a name that climbs":       {"/scratch/$USER", account.Account{Name: ".."}, ""},
		"a name that is a path":    {"/scratch/$USER", account.Account{Name: "a/b"}, ""},
		"nobody's":                 {"/scratch/$USER", account.Account{}, ""},
		"a home that looks like ~": {"/x/~", ann, "/x/~"},
	} {
		if got := (limits.MountRoot{Path: tt.path}).For(tt.who); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
