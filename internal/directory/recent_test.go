package directory_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/bubble"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/problem"
)

// asked is a directory that counts how often it is asked.
type asked struct {
	times int
	err   error
}

func (a *asked) lookup(uid int) (account.Account, error) {
	a.times++
	return account.Account{UID: uid, GID: a.times}, a.err
}

// wantAsked looks uid up, and wants what the directory said when it was asked
// for the n-th time.
func wantAsked(t *testing.T, r *directory.Recent, uid, n int) {
	t.Helper()
	if who, err := r.Lookup(uid); err != nil || who.UID != uid || who.GID != n {
		t.Errorf("uid %d: %+v, %v; want answer %d", uid, who, err, n)
	}
}

func TestAnAccountIsGoodForAMoment(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var a asked
		r := directory.NewRecent(a.lookup, time.Now)
		wantAsked(t, r, 1001, 1)
		time.Sleep(999 * time.Millisecond)
		wantAsked(t, r, 1001, 1)
		wantAsked(t, r, 1002, 2)
		time.Sleep(time.Millisecond)
		wantAsked(t, r, 1001, 3)
		wantAsked(t, r, 1002, 2)
	})
}

func TestAChangeOfTheHostsOwnFilesIsSeenAtOnce(t *testing.T) {
	folder, now := t.TempDir(), time.Now() // no time passes
	group := filepath.Join(folder, "group")
	write := func(name, text string) { must(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600)) }
	for i, change := range []func(){
		func() { write("group", "docker:x:1:alice") }, // it is new
		func() { write("group", "docker:x:1:") },
		func() { write("other", "docker:x:1:"); must(t, os.Rename(filepath.Join(folder, "other"), group)) },
		func() { must(t, os.Remove(group)) },
	} {
		var a asked
		r := directory.NewRecent(a.lookup, func() time.Time { return now }, filepath.Join(folder, "passwd"), group)
		wantAsked(t, r, 1001, 1)
		wantAsked(t, r, 1001, 1)
		change()
		if who, err := r.Lookup(1001); err != nil || who.GID != 2 {
			t.Errorf("change %d isn't seen", i)
		}
	}
}

func TestOnlySuccessIsKept(t *testing.T) {
	a := asked{err: problem.ErrUnavailable}
	r := directory.NewRecent(a.lookup, time.Now)
	for range 2 {
		if _, err := r.Lookup(1001); !errors.Is(err, problem.ErrUnavailable) {
			t.Errorf("got %v", err)
		}
	}
	a.err = nil
	wantAsked(t, r, 1001, 3)
}
