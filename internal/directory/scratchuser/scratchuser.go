// Package scratchuser makes Unix users and groups for tests and the demo, and
// takes them away again.
package scratchuser

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// AddGroup makes a group; one that exists is no error.
func AddGroup(ctx context.Context, name string) error { return shadow(ctx, "groupadd", "-f", name) }

// RemoveGroup removes a group; one that doesn't exist is no error.
func RemoveGroup(ctx context.Context, name string) error {
	return ignoring(6, shadow(ctx, "groupdel", name))
}

// OrphanGroup removes a group although it is somebody's primary one.
func OrphanGroup(ctx context.Context, name string) error { return shadow(ctx, "groupdel", "-f", name) }

// Add makes a user with a home, a primary group of the same name, and further
// groups. A login may hold '.' and '@', as those of a directory do.
func Add(ctx context.Context, login, home string, groups ...string) error {
	args := []string{"--badname", "-m", "-d", home, "-s", "/bin/bash"}
	if len(groups) > 0 {
		args = append(args, "-G", strings.Join(groups, ","))
	}
	return shadow(ctx, "useradd", append(args, login)...)
}

// SetGroups puts a user into these groups, beside the primary one, and out of
// all others.
func SetGroups(ctx context.Context, login string, groups ...string) error {
	return shadow(ctx, "usermod", "-G", strings.Join(groups, ","), login)
}

// Remove removes a user and its primary group, not its home; one that doesn't
// exist is no error.
func Remove(ctx context.Context, login string) error {
	return ignoring(6, shadow(ctx, "userdel", "-f", login))
}

// failure is a program of the shadow suite that ended with an exit code.
type failure struct {
	code int
	text string
}

func (f failure) Error() string { return f.text }

// ignoring drops a failure with this exit code: 6 is "doesn't exist".
func ignoring(code int, err error) error {
	if f, ok := err.(failure); ok && f.code == code { //nolint:errorlint // shadow returns it bare
		return nil
	}
	return err
}

// shadow runs a program of the shadow suite again while another one holds the
// password file: each of them gives up at once.
func shadow(ctx context.Context, name string, args ...string) error {
	const tries = 600
	for try := 1; ; try++ {
		out, err := exec.CommandContext(ctx, name, args...).CombinedOutput() //nolint:gosec // names of ours
		if err == nil {
			return nil
		}
		if exit, ok := err.(*exec.ExitError); ok && (!bytes.Contains(out, []byte("try again")) || try == tries) { //nolint:errorlint // exec returns it bare
			return failure{exit.ExitCode(), fmt.Sprintf("%s %s: %s", name, strings.Join(args, " "), bytes.TrimSpace(out))}
		} else if !ok {
			return fmt.Errorf("%s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}
