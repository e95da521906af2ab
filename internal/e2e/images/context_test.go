package images_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// mayGrow is how much memory the daemon may take for a context of any length.
const mayGrow = 32 << 20

// TestALargeContextDoesNotPileUpInTheDaemon builds of one by both builders.
func TestALargeContextDoesNotPileUpInTheDaemon(t *testing.T) {
	size := int64(128 << 20)
	if lab.Long() {
		size = 2 << 30
	}
	l := start(t, lab.Options{Users: []string{"alice"}})
	dir := contextOf(t, l, "alice", recipe("FROM busybox", "COPY large /large", "RUN stat -c %s /large"))
	large(t, filepath.Join(dir, "large"), size)
	for name, kit := range map[string]string{"classic": "0", "BuildKit": "1"} {
		t.Run(name, func(t *testing.T) {
			defer clearBuilds(l)
			before := l.Resident()
			l.OK("alice", "env", "DOCKER_BUILDKIT="+kit, lab.Debian, "build", "-t", "large:1", dir)
			grown := l.Peak() - before
			t.Logf("%d MiB took %d MiB of memory", size>>20, grown>>20)
			if grown > mayGrow {
				t.Errorf("the daemon took %d MiB for %d", grown>>20, size>>20)
			}
			if got := l.OK("alice", lab.Debian, "run", "--rm", "large:1", "stat", "-c", "%s", "/large"); got != strconv.FormatInt(size, 10) {
				t.Errorf("the file has %s bytes, not %d", got, size)
			}
		})
	}
	_ = os.Remove(filepath.Join(dir, "large")) // it is large
}
