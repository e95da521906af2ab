package directory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/directory/scratchuser"
	"ds01.dev/ds01/internal/problem"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// names returns a login and two groups that are this test's alone. The groups
// exist, and all are gone after the test.
func names(t *testing.T, login string) (name string, groups []string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("users need root")
		}
		t.Skip("users need root")
	}
	prefix := fmt.Sprintf("ds01t%d", os.Getpid())
	name = prefix + login
	for _, g := range []string{prefix + "x", prefix + "y"} {
		must(t, scratchuser.AddGroup(context.Background(), g))
		t.Cleanup(func() { must(t, scratchuser.RemoveGroup(context.Background(), g)) })
		groups = append(groups, g)
	}
	t.Cleanup(func() { must(t, scratchuser.Remove(context.Background(), name)) })
	return name, groups
}

func TestLookupKnowsPeopleAsTheHostDoes(t *testing.T) {
	for name, login := range map[string]string{"a plain login": "u", "a login with dots": "a.b", "a login of a directory": "a.b@lab.org"} {
		t.Run(name, func(t *testing.T) {
			login, groups := names(t, login)
			home := filepath.Join(t.TempDir(), "home")
			must(t, scratchuser.Add(context.Background(), login, home, groups...))
			a, err := directory.LookupName(login)
			must(t, err)
			if a.Name != login || a.Home != home || a.UID < 1000 || a.GID < 1000 {
				t.Errorf("%+v", a)
			}
			if got := a.GroupNames(); len(got) != 3 || !a.InGroup(login) || !a.InGroup(groups[0]) || !a.InGroup(groups[1]) {
				t.Errorf("groups %q, want those given and the primary one", got)
			}
			if !slices.ContainsFunc(a.Groups, func(g account.Group) bool { return g.GID == a.GID && g.Name == login }) {
				t.Errorf("the primary group %d isn't in %v", a.GID, a.Groups)
			}
			byID, err := directory.Lookup(a.UID)
			must(t, err)
			if fmt.Sprint(byID) != fmt.Sprint(a) {
				t.Errorf("by number %+v, by name %+v", byID, a)
			}
		})
	}
}

func TestAMembershipCountsFromTheNextLookupOn(t *testing.T) {
	login, groups := names(t, "m")
	must(t, scratchuser.Add(context.Background(), login, filepath.Join(t.TempDir(), "home")))
	for _, now := range [][]string{nil, groups[:1], groups, groups[1:], nil} {
		must(t, scratchuser.SetGroups(context.Background(), login, now...))
		a, err := directory.LookupName(login)
		must(t, err)
		for _, g := range groups {
			if a.InGroup(g) != slices.Contains(now, g) {
				t.Errorf("in %q: %v, although the groups are %q now", g, a.InGroup(g), now)
			}
		}
	}
}

func TestAGroupWithoutANameGoesByItsNumber(t *testing.T) {
	login, groups := names(t, "n")
	must(t, scratchuser.Add(context.Background(), login, filepath.Join(t.TempDir(), "home")))
	a, err := directory.LookupName(login)
	must(t, err)
	must(t, scratchuser.OrphanGroup(context.Background(), login))
	a, err = directory.Lookup(a.UID)
	must(t, err)
	if want := []string{fmt.Sprint(a.GID)}; !slices.Equal(a.GroupNames(), want) || a.InGroup(groups[0]) {
		t.Errorf("groups %q, want %q", a.GroupNames(), want)
	}
}

func TestWhomNobodyKnowsIsNotFound(t *testing.T) {
	for name, lookup := range map[string]func() (account.Account, error){
		"a number without an account":            func() (account.Account, error) { return directory.Lookup(1512345678) },
		"the number that means none":             func() (account.Account, error) { return directory.Lookup(1<<32 - 1) },
		"a number below zero":                    func() (account.Account, error) { return directory.Lookup(-1) },
		"root of a container":                    func() (account.Account, error) { return directory.Lookup(2147483648) },
		"a name without an account":              func() (account.Account, error) { return directory.LookupName("ds01t-nobody") },
		"no name":                                func() (account.Account, error) { return directory.LookupName("") },
		"a number in place of a name":            func() (account.Account, error) { return directory.LookupName("0") },
		"a line of the password file as a name":  func() (account.Account, error) { return directory.LookupName("root:x") },
		"a name that only begins like one known": func() (account.Account, error) { return directory.LookupName("root\x00") },
	} {
		t.Run(name, func(t *testing.T) {
			if a, err := lookup(); !errors.Is(err, problem.ErrNotFound) {
				t.Errorf("%+v, %v; want kind ErrNotFound", a, err)
			}
		})
	}
}

func TestAllListsPeopleAndNoSystemAccounts(t *testing.T) {
	login, groups := names(t, "l")
	must(t, scratchuser.Add(context.Background(), login, filepath.Join(t.TempDir(), "home"), groups[0]))
	all, err := directory.All(context.Background())
	must(t, err)
	found := false
	for _, a := range all {
		found = found || a.Name == login && a.InGroup(groups[0])
		if a.UID < 1000 || a.Name == "nobody" {
			t.Errorf("%s (%d) is no person", a.Name, a.UID)
		}
	}
	if !found {
		t.Errorf("%s isn't in %v", login, all)
	}
}

func BenchmarkLookup(b *testing.B) {
	for b.Loop() {
		if _, err := directory.Lookup(0); err != nil {
			b.Fatal(err)
		}
	}
}
