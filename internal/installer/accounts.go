package installer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/takeover"
)

// HostAccounts changes this host's own groups by its own programs.
type HostAccounts struct{}

// Group returns the members of a group of the host's or its directories'.
func (HostAccounts) Group(ctx context.Context, name string) (members []string, ok bool) {
	out, err := exec.CommandContext(ctx, "getent", "group", name).Output() //nolint:gosec // a name of ds01's configuration
	f := strings.Split(strings.TrimSpace(string(out)), ":")
	if err != nil || len(f) != 4 {
		return nil, false
	}
	if f[3] == "" {
		return nil, true
	}
	return strings.Split(f[3], ","), true
}

// Add makes a group of the system's.
func (HostAccounts) Add(ctx context.Context, group string) error {
	return run(ctx, "groupadd", "--system", group)
}

// Drop removes a group.
func (HostAccounts) Drop(ctx context.Context, group string) error { return run(ctx, "groupdel", group) }

// Join makes somebody a member.
func (HostAccounts) Join(ctx context.Context, user, group string) error {
	return run(ctx, "gpasswd", "--add", user, group)
}

// Leave ends a membership.
func (HostAccounts) Leave(ctx context.Context, user, group string) error {
	return run(ctx, "gpasswd", "--delete", user, group)
}

// User reports whether there is an account of the host's or its directories'.
func (HostAccounts) User(ctx context.Context, name string) bool {
	return exec.CommandContext(ctx, "getent", "passwd", name).Run() == nil //nolint:gosec // a name of ds01's
}

// AddUser makes an account of the system's, with a group, that nobody logs
// into.
func (HostAccounts) AddUser(ctx context.Context, name string) error {
	return run(ctx, "useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", name)
}

// DropUser removes an account and its group.
func (HostAccounts) DropUser(ctx context.Context, name string) error {
	return run(ctx, "userdel", name)
}

func run(ctx context.Context, name string, args ...string) error {
	program, err := exec.LookPath(name)
	if err != nil { // root's PATH after su may lack it
		program = filepath.Join("/usr/sbin", name)
	}
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput() //nolint:gosec // programs of the host's, and names of its accounts
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// group does a step about groups, where it isn't done already.
func (i *Installer) group(ctx context.Context, s takeover.Step) error {
	members, there := i.Accounts.Group(ctx, s.Group)
	in := slices.Contains(members, s.User)
	switch {
	case s.Do == takeover.AddGroup && !there:
		return i.Accounts.Add(ctx, s.Group)
	case s.Do == takeover.DropGroup && there && len(members) == 0:
		return i.Accounts.Drop(ctx, s.Group)
	case s.Do == takeover.Join && there && !in:
		return i.Accounts.Join(ctx, s.User, s.Group)
	case s.Do == takeover.Leave && in:
		return i.Accounts.Leave(ctx, s.User, s.Group)
	}
	return nil
}

// accountFiles are the files that groups are in, and accounts where those
// change too, with the copies that the host's programs make, and the file they
// lock.
func (i *Installer) accountFiles() []string {
	all := []string{"/etc/group", "/etc/gshadow", "/etc/group-", "/etc/gshadow-", "/etc/.pwd.lock"}
	if i.journal == takeover.RemapFolder {
		all = append(all, "/etc/passwd", "/etc/shadow", "/etc/passwd-", "/etc/shadow-", "/etc/subuid-", "/etc/subgid-")
	}
	return all
}

// counts reports whether a file of accounts says who there is: the others are
// copies, and a lock.
func counts(path string) bool {
	return slices.Contains([]string{"/etc/group", "/etc/gshadow", "/etc/passwd", "/etc/shadow"}, path)
}

// settle puts the files of accounts back as they were, to the byte, where they
// say the same as then.
func (i *Installer) settle() error {
	m, err := i.load()
	if err != nil || m == nil {
		return err
	}
	unlock, err := lockAccounts(i.at("/etc/.pwd.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	for _, t := range m.Accounts {
		if !counts(t.Path) {
			continue
		}
		now, err := i.look(t.Path)
		if err != nil {
			return err
		}
		if now.Kind != t.Before.Kind || !slices.Equal(says(now.Text), says(i.textOf(t.Before))) {
			return nil // somebody made some, or joined a group
		}
	}
	var errs []error
	for _, t := range m.Accounts {
		errs = append(errs, i.put(takeover.Step{Do: takeover.Put, Path: t.Path, Then: t.Before}))
	}
	return errors.Join(errs...)
}

// says returns the lines of a file of accounts in an order of their own, with the
// members of each in order.
func says(text []byte) []string {
	var all []string
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		members := strings.Split(f[len(f)-1], ",")
		slices.Sort(members)
		f[len(f)-1] = strings.Join(members, ",")
		all = append(all, strings.Join(f, ":"))
	}
	slices.Sort(all)
	return all
}

// lockAccounts takes the lock that the host's programs take.
func lockAccounts(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the host's own file
	if err != nil {
		return nil, fmt.Errorf("lock the host's accounts: %w", err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the host's accounts: %w", err), f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}
