package account_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"ds01.dev/ds01/internal/account"
)

func member(uid int, groups ...string) account.Account {
	a := account.Account{UID: uid, Name: "x"}
	for i, name := range groups {
		a.Groups = append(a.Groups, account.Group{GID: 100 + i, Name: name})
	}
	return a
}

func TestRolesOf(t *testing.T) {
	names := account.RoleGroups{Docker: "docker-users", GPU: "gpu-users", Priority: "gpu-priority", Admin: "ds-admin"}
	for name, c := range map[string]struct {
		who  account.Account
		want account.Roles
	}{
		"in no group":                  {member(1), account.Roles{}},
		"may use containers":           {member(1, "docker-users"), account.Roles{Docker: true}},
		"may hold GPUs":                {member(1, "gpu-users", "docker-users"), account.Roles{Docker: true, GPU: true}},
		"stands in the priority class": {member(1, "gpu-priority"), account.Roles{Priority: true}},
		"administers":                  {member(1, "ds-admin"), account.Roles{Docker: true, GPU: true, Admin: true}},
		"is root":                      {member(0), account.Roles{Docker: true, GPU: true, Admin: true}},
		"is in a group of like name":   {member(1, "ds-admins", "docker"), account.Roles{}},
	} {
		if got := account.RolesOf(c.who, names); got != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestEngineNames(t *testing.T) {
	if got := account.EngineName("my-project", 1001); got != "my-project._.1001" {
		t.Errorf("got %s", got)
	}
	for _, name := range []string{"", "web", "web.1001", "web._.", "web._.x", "web._.-1", "._.1001", "web._.1001/", "web._. 1", "web._.99999999999999999999"} {
		if n, uid, ok := account.SplitEngineName(name); ok {
			t.Errorf("%q was split into %q and %d", name, n, uid)
		}
	}
	if n, uid, ok := account.SplitEngineName("a._.5._.7"); n != "a._.5" || uid != 7 || !ok {
		t.Errorf("the last separator counts: %q %d %t", n, uid, ok)
	}
}

// No name of one person is a name of another at the engine.
func TestEngineNamesNeverMeet(t *testing.T) {
	name := rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9_.-]{0,8}`).Filter(account.ValidContainerName)
	uid := rapid.IntRange(0, 20)
	rapid.Check(t, func(t *rapid.T) {
		n1, u1, n2, u2 := name.Draw(t, "name"), uid.Draw(t, "uid"), name.Draw(t, "other name"), uid.Draw(t, "other uid")
		if account.EngineName(n1, u1) == account.EngineName(n2, u2) && (n1 != n2 || u1 != u2) {
			t.Fatalf("%s of %d and %s of %d", n1, u1, n2, u2)
		}
		if n, u, ok := account.SplitEngineName(account.EngineName(n1, u1)); n != n1 || u != u1 || !ok {
			t.Fatalf("%s of %d became %s of %d", n1, u1, n, u)
		}
	})
}

func TestValidContainerName(t *testing.T) {
	for name, want := range map[string]bool{
		"web": true, "Web_1.x-y": true, "0": true, strings.Repeat("a", 112): true, "a..b": true, "a.__.1": true,
		"": false, "-web": false, ".web": false, "_web": false, "a b": false, "a/b": false, "a\n": false, "ü": false, "a:b": false,
		strings.Repeat("a", 113): false, "web._.1001": false, "a._.b": false,
	} {
		if got := account.ValidContainerName(name); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

func TestImagesOfPeople(t *testing.T) {
	for reference, want := range map[string]int{
		"ds01-1001/web:latest": 1001, "ds01-0/x": 0, "busybox": -1, "ds01-/x": -1, "ds01-1001": -1, "ds01-1001x/y": -1,
		"docker.io/ds01-1001/x": 1001, "index.docker.io/ds01-1001/x:1": 1001,
		"docker.io/library/ds01-1001/x": -1, "library/ds01-1001/x": -1, "docker.io/ds01-1001": -1, "dockerXio/ds01-1001/x": -1,
		"ghcr.io/ds01-1001/x": -1, "DS01-1001/x": -1, "ds01-99999999999999999999/x": -1,
	} {
		uid, ok := account.ImageOwner(reference)
		if ok != (want >= 0) || ok && uid != want {
			t.Errorf("%s: %d, %t", reference, uid, ok)
		}
	}
	if account.ImageRepository(1001) != "ds01-1001/" {
		t.Error(account.ImageRepository(1001))
	}
	for name, c := range map[string]struct {
		references []string
		want       bool
	}{
		"shared":             {[]string{"busybox:latest"}, true},
		"own":                {[]string{"ds01-1001/x:1"}, true},
		"another's":          {[]string{"ds01-1002/x:1"}, false},
		"another's and own":  {[]string{"ds01-1002/x:1", "ds01-1001/x:1"}, true},
		"without a name":     {nil, false},
		"shared and another": {[]string{"busybox", "ds01-1002/x:1"}, true},
	} {
		if got := account.ImageVisible(c.references, 1001); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestGroups(t *testing.T) {
	a := member(1, "alice", "vision")
	if !a.InGroup("vision") || a.InGroup("Vision") || a.InGroup("") || !slices.Equal(a.GroupNames(), []string{"alice", "vision"}) {
		t.Errorf("groups are %v", a.GroupNames())
	}
}
