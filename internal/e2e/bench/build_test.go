package bench_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"ds01.dev/ds01/internal/docker/scratch"
	"ds01.dev/ds01/internal/e2e/lab"
)

// debian is the client that Debian ships, with which the engine builds.
const debian = "/usr/bin/docker"

// BenchmarkBuild builds an image of a context with one large file, by both
// builders, with the same client at ds01 and at an engine of its own.
func BenchmarkBuild(b *testing.B) {
	l, _ := start(b, lab.Options{})
	alone := engine(b, false)
	for name, kit := range map[string]string{"classic": "0", "BuildKit": "1"} {
		b.Run(name, func(b *testing.B) { largeBuilds(b, l, alone, "1 GiB built into an image, "+name, kit) })
	}
}

func largeBuilds(b *testing.B, l *lab.Lab, alone *scratch.Engine, what, kit string) {
	b.Helper()
	say(what)
	// A file that is newer is sent again by BuildKit, too.
	build := func(dir string, docker ...string) []string {
		words := append([]string{"sh", "-c", `touch "$0/large" && exec "$@" "$0"`, dir, "env", "DOCKER_BUILDKIT=" + kit}, docker...)
		return append(words, "build", "-q", "--no-cache", "-t", "large")
	}
	direct := build(largeContext(b, folder(b)), debian, "-H", alone.Host())
	once := func(e *scratch.Engine, c *exec.Cmd) timedCall {
		return func() (time.Duration, error) {
			took := timed(b, c)
			for _, words := range [][]string{{"image", "prune", "-f"}, {"builder", "prune", "-af"}} {
				if out, err := exec.Command(debian, append([]string{"-H", e.Host()}, words...)...).CombinedOutput(); err != nil {
					return 0, fmt.Errorf("%v: %w: %s", words, err, out)
				}
			}
			return took, nil
		}
	}
	mine, theirs := pairs(b, 3, 1, once(l.Engine, l.Command("alice", build(largeContext(b, l.Home("alice")), debian)...)), once(alone, exec.Command(direct[0], direct[1:]...)))
	speed := quantile(paired(theirs, mine), 0.5)
	results = append(results, row{what, rate(mine), rate(theirs), fmt.Sprintf("%.2f of the speed", speed), "≥ 0.8", speed >= 0.8})
}

// largeContext returns a folder with a Dockerfile and a file of 1 GiB in parent.
func largeContext(b *testing.B, parent string) string {
	b.Helper()
	dir, err := os.MkdirTemp(parent, "context")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM busybox\nCOPY large /large\n"), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	f, err := os.OpenFile(filepath.Join(dir, "large"), os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		b.Fatal(err)
	}
	zero, err := os.Open("/dev/zero")
	if err == nil {
		_, err = io.CopyN(struct{ io.Writer }{f}, zero, 1<<30)
	}
	if err == nil {
		err = f.Chmod(0o666)
	}
	if err != nil {
		b.Fatal(err)
	}
	f.Close()
	zero.Close()
	return dir
}
