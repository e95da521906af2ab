package images_test

import (
	"os"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// patience is how long a test waits for what comes by itself.
const patience = 10 * time.Second

// TestImagesBySDK runs one script as two people, one after the other and at
// once: neither meets the other's names.
func TestImagesBySDK(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}})
	registry := l.StartRegistry()
	script, err := os.ReadFile("testdata/images.py")
	if err != nil {
		t.Fatal(err)
	}
	day := func(who string) string { return l.OK(who, lab.Python, "-c", string(script), who, registry.Host()) }
	for _, who := range []string{"alice", "bob"} {
		if got := day(who); got != "done" {
			t.Errorf("%s: %s", who, got)
		}
	}
	bob, _ := lab.Background(t, l, "bob", lab.Python, "-c", string(script), "bob", registry.Host())
	if got := day("alice"); got != "done" {
		t.Errorf("alice beside bob: %s", got)
	}
	l.Eventually("bob is done as well", patience, func() bool { return bob.String() == "done\n" })
	if left := l.AtEngine("images", "-a", "--format", "{{.Repository}}:{{.Tag}}"); left != "busybox:latest" {
		t.Errorf("left at the engine: %s", left)
	}
}
