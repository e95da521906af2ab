package mount_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"ds01.dev/ds01/internal/mount"
)

func TestFilesAreLeftAsTheirOwner(t *testing.T) {
	dir := t.TempDir()
	const uid, gid = 12345, 12346
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) { // so that the owner gets there
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	for path, to := range map[string]string{"link": secret, "far": "../secret"} {
		if err := os.Symlink(to, filepath.Join(home, path)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(secret, []byte("root's"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(home, "pipe"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, uid, gid); err != nil {
		t.Fatal(err)
	}
	r := mount.Request{Source: home, Root: home, Owner: mount.Owner{UID: uid, GID: gid}}
	if has, err := mount.Has(r, ".keep-alive"); has || err != nil {
		t.Errorf("before: %t, %v", has, err)
	}
	for _, text := range []string{"a longer text\n", "short\n"} {
		if err := mount.Leave(r, ".keep-alive", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(home, ".keep-alive")); err != nil || string(got) != text {
			t.Errorf("got %q, %v", got, err)
		}
	}
	if has, err := mount.Has(r, ".keep-alive"); !has || err != nil {
		t.Errorf("afterwards: %t, %v", has, err)
	}
	info, err := os.Stat(filepath.Join(home, ".keep-alive"))
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != uid {
		t.Errorf("it isn't its owner's: %+v, %v", info, err)
	}
	for _, name := range []string{"link", "far", "pipe", "../secret", "/etc/passwd"} {
		if err := mount.Leave(r, name, []byte("x")); err == nil {
			t.Errorf("wrote through %s", name)
		}
		if has, _ := mount.Has(r, name); has {
			t.Errorf("found %s", name)
		}
	}
	if got, _ := os.ReadFile(secret); string(got) != "root's" {
		t.Errorf("what isn't theirs says %q", got)
	}
	if err := mount.Clear(r, ".keep-alive"); err != nil {
		t.Error(err)
	}
	if err := mount.Clear(r, ".keep-alive"); err != nil {
		t.Errorf("what isn't there: %v", err)
	}
	r.Owner.UID = uid + 1 // into a home that is closed to them
	if err := mount.Leave(r, "x", nil); err == nil {
		t.Error("wrote into what isn't theirs")
	}
}
