package clients_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// cache is where packages from npm are kept for the next run, which then needs
// no network. People read them there.
const cache = "/var/cache/ds01-test-clients"

// nodeModules returns a folder with the packages of testdata/node, in the
// versions that its lock file names.
func nodeModules(t *testing.T) string {
	t.Helper()
	lock, err := os.ReadFile("testdata/node/package-lock.json")
	must(t, err)
	sum := sha256.Sum256(lock)
	dir := filepath.Join(cache, hex.EncodeToString(sum[:8]))
	modules := filepath.Join(dir, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules
	}
	must(t, os.MkdirAll(cache, 0o755))
	fresh, err := os.MkdirTemp(cache, "fresh-")
	must(t, err)
	defer os.RemoveAll(fresh) // unless it was renamed
	must(t, os.Chmod(fresh, 0o755))
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join("testdata/node", name))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(fresh, name), data, 0o644))
	}
	// no package gets to run a program of its own
	ci := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	ci.Dir = fresh
	if said, err := ci.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, said)
	}
	if err := os.Rename(fresh, dir); err != nil && !os.IsExist(err) { // another run may have been first
		t.Fatal(err)
	}
	return modules
}

// goProgram builds a package of testdata/NAME, a module of its own, and returns
// the program's path. It runs in any image.
func goProgram(t *testing.T, name, pkg, folder string) string {
	t.Helper()
	binary := filepath.Join(folder, name)
	build := exec.Command("go", "build", "-o", binary, pkg)
	build.Dir, build.Env = filepath.Join("testdata", name), append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, said)
	}
	return binary
}
