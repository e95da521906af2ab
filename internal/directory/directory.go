// Package directory looks people up where the host knows them: NSS, so LDAP
// and AD through SSSD as well as /etc/passwd. What it keeps it keeps for a
// moment, so that a membership that is taken away is gone.
package directory

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"os/user"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/problem"
)

// Lookup returns the account of a uid with all its groups. A uid without an
// account is of kind problem.ErrNotFound.
func Lookup(uid int) (account.Account, error) {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return account.Account{}, notFound("uid "+strconv.Itoa(uid), err)
	}
	return complete(u)
}

// LookupName returns the account of a login name, as Lookup.
func LookupName(name string) (account.Account, error) {
	// To the C library a name ends at the first NUL, and ':' ends a field.
	if strings.ContainsAny(name, "\x00:\n") {
		return account.Account{}, notFound(strconv.Quote(name), user.UnknownUserError(name))
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account.Account{}, notFound(strconv.Quote(name), err)
	}
	return complete(u)
}

func notFound(who string, err error) error {
	var byID user.UnknownUserIdError
	var byName user.UnknownUserError
	if errors.As(err, &byID) || errors.As(err, &byName) {
		return fmt.Errorf("account of %s: %w", who, problem.ErrNotFound)
	}
	return unanswered("account of "+who, err)
}

func unanswered(what string, err error) error {
	return &problem.Error{
		What: "The " + what + " can't be looked up", Why: problem.Because(problem.ErrUnavailable, err.Error()),
		Next: "The directory doesn't answer; try again, or tell your administrators.",
	}
}

func complete(u *user.User) (account.Account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account.Account{}, fmt.Errorf("account of %s: %w", u.Username, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account.Account{}, fmt.Errorf("account of %s: %w", u.Username, err)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return account.Account{}, unanswered("groups of "+u.Username, err)
	}
	a := account.Account{UID: uid, GID: gid, Name: u.Username, Home: u.HomeDir}
	for _, id := range ids {
		g, err := strconv.Atoi(id)
		if err != nil {
			return account.Account{}, fmt.Errorf("groups of %s: %w", u.Username, err)
		}
		name, err := groupName(id)
		if err != nil {
			return account.Account{}, err
		}
		a.Groups = append(a.Groups, account.Group{GID: g, Name: name})
	}
	return a, nil
}

// groupName returns the number where the group has no name. A directory that
// doesn't answer is an error: without its groups a person would look like one
// who was put out of them.
func groupName(id string) (string, error) {
	g, err := user.LookupGroupId(id)
	if _, unknown := errors.AsType[user.UnknownGroupIdError](err); unknown {
		return id, nil
	}
	if err != nil {
		return "", unanswered("group "+id, err)
	}
	return g.Name, nil
}

// People have uids from here on; below are the system's own accounts.
const (
	firstPerson = 1000
	nobody      = 65534
)

// All returns the accounts of people that the host can list, in its order.
// A directory that doesn't allow listing gives those of /etc/passwd.
func All(ctx context.Context) ([]account.Account, error) {
	out, err := exec.CommandContext(ctx, "getent", "passwd").Output()
	if err != nil {
		return nil, fmt.Errorf("list accounts: %w", err)
	}
	var all []account.Account
	for line := range strings.Lines(string(out)) {
		f := strings.Split(line, ":")
		if len(f) < 7 {
			continue
		}
		uid, err := strconv.Atoi(f[2])
		if err != nil || uid < firstPerson || uid == nobody {
			continue
		}
		a, err := Lookup(uid)
		if errors.Is(err, problem.ErrNotFound) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}
