package images_test

import (
	"strings"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestBuildCache is what builds leave behind, as its owners see it.
func TestBuildCache(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}})
	t.Run("BuildKit's cache is charged and pruned", buildKitsCache(l))
	clearBuilds(l)
	t.Run("stages of the classic builder are", func(t *testing.T) { classicStages(t, l) })
}

// cacheOf is what a person's client shows of their build cache: the kinds, and
// the descriptions.
func cacheOf(l *lab.Lab, who string) (kinds, text string) {
	for line := range strings.Lines(l.OK(who, lab.Debian, "system", "df", "-v", "--format", "{{range .BuildCache}}{{.CacheType}}|{{.Description}}|{{.Size}}\n{{end}}")) {
		kind, _, _ := strings.Cut(line, "|")
		kinds += kind + " "
		text += line
	}
	return kinds, text
}

func buildKitsCache(l *lab.Lab) func(*testing.T) {
	const dockerfile = "FROM busybox\nCOPY note /note\nRUN --mount=type=cache,target=/c head -c 300000 /dev/urandom > /c/x; head -c 200000 /dev/urandom > /y\n"
	return func(t *testing.T) {
		build := func(who string) string {
			return kitBuilt(t, kitBuilds(l, who, dockerfile, map[string]string{"note": "of " + who}))
		}
		build("alice")
		build("bob")
		for _, who := range []string{"alice", "bob"} {
			kinds, text := cacheOf(l, who)
			if n := strings.Count(kinds, "source.local"); n < 2 || strings.Count(kinds, "exec.cachemount") != 1 || strings.Count(kinds, "regular") != 2 {
				t.Errorf("%s has %s\n%s", who, kinds, text)
			}
			lab.Contains(t, text, "mount / from exec /bin/sh", "fileop target", "local source for context", "200kB", "300kB")
			lab.Lacks(t, text, "ds01", "/people/", "from local")
		}
		bobs, _ := cacheOf(l, "bob")
		lab.Contains(t, l.OK("alice", lab.Debian, "builder", "prune", "-af", "--filter", "until=24h"), "Total reclaimed space: 0B")
		lab.Contains(t, l.OK("alice", lab.Debian, "builder", "prune", "-af", "--keep-storage", "1GB"), "Total reclaimed space: 0B")
		said := l.OK("alice", lab.Debian, "builder", "prune", "-af")
		lab.Contains(t, said, "500", "kB")
		if kinds, text := cacheOf(l, "alice"); kinds != "" {
			t.Errorf("alice still has %s after %s", text, said)
		}
		if kinds, text := cacheOf(l, "bob"); kinds != bobs {
			t.Errorf("bob had %s, and has %s", bobs, text)
		}
		// what both build on is there for both
		if bob, alice := strings.Count(build("bob"), "CACHED"), strings.Count(build("alice"), "CACHED"); bob < 2 || alice > 1 {
			t.Errorf("of bob's steps %d were there still, of alice's %d", bob, alice)
		}
	}
}

// classicStages: what a build has made beside its image is its maker's to see
// and to remove, and nobody else's.
func classicStages(t *testing.T, l *lab.Lab) {
	for _, who := range []string{"alice", "bob"} {
		built(t, l, lab.Debian, who, recipe("FROM busybox AS one", "RUN head -c 100000 /dev/urandom > /a", "FROM busybox", "COPY --from=one /a /b", "RUN echo c"), "-t", "app")
	}
	stages := func(who string) string { return l.OK(who, lab.Debian, "images", "-aq", "--filter", "dangling=true") }
	alices, bobs := stages("alice"), stages("bob")
	if alices == "" || bobs == "" || alices == bobs {
		t.Errorf("alice's stage is %q, bob's %q", alices, bobs)
	}
	lab.Contains(t, l.OK("alice", lab.Debian, "system", "df", "-v"), alices)
	lab.Contains(t, l.OK("alice", lab.Debian, "image", "prune", "-f"), "deleted: sha256:"+alices, "100kB")
	if got := stages("alice"); got != "" {
		t.Errorf("alice still has %s", got)
	}
	if got := stages("bob"); got != bobs {
		t.Errorf("bob has %s", got)
	}
}
