package mail_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"ds01.dev/ds01/internal/mail"
	"ds01.dev/ds01/internal/problem"
)

func TestAMessageIsAMail(t *testing.T) {
	m := mail.Message{
		Login: "h.baker", Subject: "GPU 1.0 is kept for you – until 14:05\r\nBcc: eve@example.org",
		Text: strings.Repeat("a word and . another, ", 20) + "\n.\nFrom: eve",
	}
	data := m.Bytes("lab.example.org", time.Date(2030, 1, 31, 14, 5, 0, 0, time.UTC))
	got, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil || subject != "GPU 1.0 is kept for you – until 14:05Bcc: eve@example.org" {
		t.Errorf("subject %q, %v", subject, err)
	}
	for key, want := range map[string]string{
		"To": "<h.baker@lab.example.org>", "From": `"ds01 on lab.example.org" <root@lab.example.org>`,
		"Bcc": "", "Date": "Thu, 31 Jan 2030 14:05:00 +0000", "Auto-Submitted": "auto-generated",
	} {
		if got.Header.Get(key) != want {
			t.Errorf("%s is %q, want %q", key, got.Header.Get(key), want)
		}
	}
	if _, err := got.Header.Date(); err != nil {
		t.Error(err)
	}
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if len(line) > 80 || line == "." || strings.HasPrefix(line, "From:") {
			t.Errorf("a line is %q", line)
		}
	}
	if data := (mail.Message{Login: "bob@ad.example"}).Bytes("lab", time.Now()); !strings.Contains(string(data), "To: <bob@ad.example>\n") {
		t.Errorf("a login name with a host: %s", data)
	}
}

// nobody is an account that owns nothing.
const nobody = 65534

// script writes a program into a folder of root's that everybody may enter.
func script(t *testing.T, body string) (program, folder string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test runs a program with another's rights: run it as root")
	}
	folder, err := os.MkdirTemp("/tmp", "ds01-mail") //nolint:usetesting // t.TempDir lets nobody else in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	program = filepath.Join(folder, "hook")
	for _, err := range []error{
		os.Chmod(folder, 0o755), os.WriteFile(program, []byte("#!/bin/sh\n"+body), 0o600), os.Chmod(program, 0o755),
		os.Mkdir(filepath.Join(folder, "out"), 0o700), os.Chown(filepath.Join(folder, "out"), nobody, nobody),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return program, folder
}

func send(program, login, message string) error { return sendIn(time.Minute, program, login, message) }

func sendIn(timeout time.Duration, program, login, message string) error {
	return mail.Hook{Program: program, UID: nobody, GID: nobody, Timeout: timeout}.Send(context.Background(), login, []byte(message))
}

func TestAHookRunsWithoutRightsAndGetsTheMessage(t *testing.T) {
	program, folder := script(t, `cd "${0%/*}/out" || exit 1
id -u >uid; id -G >groups; echo "$# $1" >who; cat >message; env >env; [ -w "$0" ] && exit 3; true`)
	t.Setenv("SECRET", "of the daemon's")
	if err := send(program, "alice", "Subject: x\n\nyours\n"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"uid": "65534\n", "groups": "65534\n", "who": "1 alice\n", "message": "Subject: x\n\nyours\n"} {
		if got, err := os.ReadFile(filepath.Join(folder, "out", name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if env, err := os.ReadFile(filepath.Join(folder, "out", "env")); err != nil || strings.Contains(string(env), "SECRET") {
		t.Errorf("its environment: %s, %v", env, err)
	}
}

func TestAHookThatFailsSaysWhy(t *testing.T) {
	program, _ := script(t, "echo no such mailbox; yes | head -c 1000000; exit 67\n")
	if err := send(program, "alice", strings.Repeat("never read ", 100_000)); err == nil ||
		!strings.Contains(err.Error(), "67") || !strings.Contains(err.Error(), "no such mailbox") || len(err.Error()) > 1500 {
		t.Errorf("got %.2000v", err)
	}
	if err := send(filepath.Join(filepath.Dir(program), "none"), "alice", ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no program: %v", err)
	}
}

func TestAHookThatHangsIsEndedWithWhatItBegan(t *testing.T) {
	program, folder := script(t, `cd "${0%/*}/out"; sleep 300 & echo $! >pid; sleep 300`)
	var text []byte
	for timeout := time.Second; !bytes.HasSuffix(text, []byte("\n")); timeout *= 2 { // until it came so far
		if timeout > time.Minute {
			t.Fatal("it began nothing")
		}
		if err := sendIn(timeout, program, "alice", "x"); err == nil || !strings.Contains(err.Error(), "ended after "+timeout.String()) {
			t.Fatalf("got %v", err)
		}
		text, _ = os.ReadFile(filepath.Join(folder, "out", "pid")) // not there yet
	}
	gone := func() bool {
		status, err := os.ReadFile("/proc/" + strings.TrimSpace(string(text)) + "/stat")
		return err != nil || bytes.Contains(status, []byte(") Z "))
	}
	for end := time.Now().Add(30 * time.Second); !gone(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("what it began runs on")
		}
	}
}

func TestAHookMayLeaveSomebodyBehindWhoSends(t *testing.T) {
	program, _ := script(t, "sleep 3 & exit 0\n")
	if err := send(program, "alice", ""); err != nil {
		t.Error(err)
	}
	var err error
	for range 20 { // the time passes while they are waited for, on a busy machine already before
		if err = sendIn(500*time.Millisecond, program, "alice", ""); err == nil {
			return
		}
	}
	t.Error(err)
}

func TestWhatPeopleCouldReplaceIsNotRun(t *testing.T) {
	for name, spoil := range map[string]func(program, folder string) error{
		"a program that is a person's":         func(p, _ string) error { return os.Chown(p, 1001, 1001) },
		"a program that a group may write":     func(p, _ string) error { return os.Chmod(p, 0o775) },
		"a folder that is a person's":          func(_, d string) error { return os.Chown(d, 1001, 1001) },
		"a folder that everybody may write":    func(_, d string) error { return unix.Chmod(d, 0o777) },
		"a link into a folder that a person's": func(p, d string) error { return relink(p, filepath.Join(d, "out", "hook")) },
	} {
		t.Run(name, func(t *testing.T) {
			program, folder := script(t, `touch "${0%/*}/out/ran"`)
			if err := spoil(program, folder); err != nil {
				t.Fatal(err)
			}
			if err := send(program, "alice", ""); !errors.Is(err, problem.ErrDenied) {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(filepath.Join(folder, "out", "ran")); err == nil {
				t.Error("it ran")
			}
		})
	}
	program, _ := script(t, "true")
	for _, login := range []string{"", "-oQ/tmp", "a\nb"} {
		if err := send(program, login, ""); !errors.Is(err, problem.ErrInvalid) {
			t.Errorf("login %q: %v", login, err)
		}
	}
	if err := (mail.Hook{Program: program, Timeout: time.Second}).Send(t.Context(), "alice", nil); !errors.Is(err, problem.ErrDenied) {
		t.Errorf("as root: %v", err)
	}
}

// relink moves a program and leaves a link to it.
func relink(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return os.Symlink(to, from)
}
