package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"ds01.dev/ds01/internal/problem"
)

// A Hook is a program that sends mail, and whose rights it runs with.
type Hook struct {
	Program  string // absolute path
	UID, GID int    // not root
	Timeout  time.Duration
}

// Send runs the program with the recipient's login name as its only argument
// and the message on its standard input, as sendmail takes them. Whatever it
// does, Send returns soon after Timeout. An error says what the program said.
//
// The program must be root's to change, as every folder on the way to it: what
// people could replace doesn't see others' mail.
func (h Hook) Send(ctx context.Context, login string, message []byte) error {
	if err := h.check(login); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	var said head
	cmd := exec.CommandContext(ctx, h.Program, login) //nolint:gosec // the administrators' own program
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(message), &said, &said
	cmd.Dir, cmd.Env = "/", []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LANG=C.UTF-8"}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Credential: &syscall.Credential{Uid: uint32(h.UID), Gid: uint32(h.GID)}, //nolint:gosec // check has seen that they aren't negative
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay): // it has left somebody behind who sends
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s was ended after %s: %s", h.Program, h.Timeout, said.String())
	}
	return fmt.Errorf("%s: %w: %s", h.Program, err, said.String())
}

func (h Hook) check(login string) error {
	if h.UID <= 0 || h.GID <= 0 {
		return problem.Because(problem.ErrDenied, "a mail hook doesn't run as root")
	}
	if login == "" || strings.HasPrefix(login, "-") || login != line(login) {
		return problem.Because(problem.ErrInvalid, fmt.Sprintf("%q can't be a program's argument", login))
	}
	return trusted(h.Program)
}

// trusted refuses a program that others than root could have put there.
func trusted(program string) error {
	path, err := filepath.EvalSymlinks(program)
	if err != nil {
		return err
	}
	for ; ; path = filepath.Dir(path) {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		owner, ok := info.Sys().(*syscall.Stat_t)
		open := info.Mode().Perm()&0o022 != 0 && (!info.IsDir() || info.Mode()&os.ModeSticky == 0)
		if !ok || owner.Uid != 0 || open {
			return problem.Because(problem.ErrDenied, fmt.Sprintf("%s isn't run: others than root may change %s", program, path))
		}
		if path == filepath.Dir(path) {
			return nil
		}
	}
}

// most is how much of what a program says is kept.
const most = 1 << 10

// A head keeps the beginning of what is written to it.
type head struct{ kept []byte }

func (h *head) Write(data []byte) (int, error) {
	h.kept = append(h.kept, data[:min(most-len(h.kept), len(data))]...)
	return len(data), nil
}

// String returns it as one line.
func (h *head) String() string {
	text := strings.TrimSpace(line(strings.ReplaceAll(string(h.kept), "\n", " ")))
	if text == "" {
		return "it said nothing"
	}
	return text
}
