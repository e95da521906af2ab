package files_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// mayGrow is how much memory a copy of any size may take, in bytes.
const mayGrow = 32 << 20

// TestMuchIsCopiedInLittleMemory copies a file in and out and compares every
// byte.
func TestMuchIsCopiedInLittleMemory(t *testing.T) {
	size := int64(256 << 20)
	if lab.Long() {
		size = 2 << 30
	}
	l := start(t, lab.Options{})
	file := filepath.Join(l.Home("alice"), "data")
	sum := writeRandom(t, file, size)
	l.OK("alice", "docker", "run", "-d", "--name", "web", "busybox", "sleep", "1000")
	for name, copies := range map[string]func(){
		"in": func() { l.OK("alice", "docker", "cp", file, "web:/data") },
		"out": func() {
			l.OK("alice", "rm", "-f", file)
			l.OK("alice", "docker", "cp", "web:/data", file)
		},
	} {
		if name == "out" {
			l.OK("alice", "docker", "cp", file, "web:/data")
		}
		before := l.Resident()
		copies()
		if grown := l.Peak() - before; grown > mayGrow {
			t.Errorf("%s: the daemon took %d MiB for %d", name, grown>>20, size>>20)
		} else {
			t.Logf("%s: %d MiB took %d MiB of memory", name, size>>20, grown>>20)
		}
		if got := sumOf(t, file); got != sum {
			t.Errorf("%s: the file has the sum %s, want %s", name, got, sum)
		}
		if got := l.OK("alice", "docker", "exec", "web", "sha256sum", "/data"); got != sum+"  /data" {
			t.Errorf("%s: in the container it has the sum %s, want %s", name, got, sum)
		}
	}
}

func writeRandom(t *testing.T, file string, size int64) (sum string) {
	t.Helper()
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	hash := sha256.New()
	if _, err := io.CopyN(io.MultiWriter(out, hash), rand.NewChaCha8([32]byte{7}), size); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

func sumOf(t *testing.T, file string) string {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, in); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}
