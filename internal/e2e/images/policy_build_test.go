package images_test

import (
	"path/filepath"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// buildSite are rules about builds.
const buildSite = `package ds01.builds

deny contains msg if {
	input.action == "image.build"
	some base in input.request.build.bases
	base.registry == "evil.example"
	msg := sprintf("nothing is built on %s", [base.repository])
}

deny contains "nobody builds it" if {
	input.action == "image.build"
	"secret:1" in input.request.build.tags
	"KEY" in input.request.build.arg_keys
	input.request.build.target == "last"
	input.request.build.builder in {"classic", "buildkit"}
}

tighten contains {"memory": units.parse_bytes("48MiB"), "message": "builds are small"} if input.action == "image.build"

tighten contains {"pids_limit": 20, "message": "few at a time"} if {
	input.action == "image.build"
	input.request.build.builder == "buildkit"
}

tighten contains {"memory": units.parse_bytes("32MiB"), "message": "tiny"} if {
	input.action == "image.build"
	some base in input.request.build.bases
	base.repository == "library/busybox"
	"tiny:1" in input.request.build.tags
}
`

// TestSitePolicyOfBuilds is what a site's rules do to both builders: they say no
// before anything is fetched or run, and what they take the kernel takes.
func TestSitePolicyOfBuilds(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice"}, NoStart: true, Limits: "defaults: {memory: 1G, aggregate: {memory: 2G, tasks: 200}}\n"})
	l.WritePolicy("builds.rego", buildSite)
	l.StartDaemon()
	before := l.AtEngine("images", "-aq")
	buildsExplained(t, l)
	for name, build := range map[string]func(string, ...string) lab.Result{
		"classic": func(text string, words ...string) lab.Result {
			return builds(t, l, lab.Debian, "alice", map[string]string{"Dockerfile": text}, words...)
		},
		"buildkit": func(text string, words ...string) lab.Result { return kitBuilds(l, "alice", text, nil, words...) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, text := range []string{
				"FROM evil.example/x/y\nRUN true\n",
				"ARG OF=evil.example/x/y\nFROM busybox\nRUN echo ran-first\nCOPY --from=evil.example/x/y:2 / /\n",
				"ARG OF=evil.example/x/y\nFROM ${OF} AS one\nFROM busybox\nCOPY --from=one / /\n",
			} {
				r := build(text)
				notBuilt(t, r, "Image not built: site policy: nothing is built on x/y (builds.rego:3)")
				lab.Lacks(t, r.Out+r.Err, "ran-first\n")
			}
			notBuilt(t, build("FROM busybox AS last\n", "-t", "secret:1", "--target", "last", "--build-arg", "KEY=v"), "nobody builds it")
			if now := l.AtEngine("images", "-aq"); now != before {
				t.Errorf("images are %s now, were %s", now, before)
			}
			defer clearBuilds(l)
			r := build("FROM busybox\nRUN cat /sys/fs/cgroup/memory/memory.limit_in_bytes /proc/self/cgroup\n", "-t", "small:1")
			said := kitBuilt(t, r)
			lab.Contains(t, said, "site policy set memory to 48MiB: builds are small (builds.rego:18)")
			notBuilt(t, build("FROM busybox\nRUN x=$(head -c 100000000 /dev/zero | tr '\\0' a); echo ${#x}\n"), "137")
			if name == "classic" {
				notBuilt(t, build("FROM busybox\n", "-t", "tiny:1"), "memory can be 32MiB at most, tiny (builds.rego:25)", "-m")
				kitBuilt(t, build("FROM busybox\n", "-t", "tiny:1", "-m", "32m"))
				return
			}
			lab.Contains(t, said, "pids_limit to 20", "/narrow_50331648_2000000000_20/build-")
			files := filepath.Join(l.Home("alice"), "files") // instead of an image
			notBuilt(t, build("FROM busybox AS last\n", "-t", "secret:1", "--target", "last", "--build-arg", "KEY=v", "-o", files), "nobody builds it")
			notBuilt(t, build("FROM busybox\nCOPY --from=evil.example/x/y:2 / /\n", "-o", files), "site policy: nothing is built on x/y (builds.rego:3)")
			lab.Contains(t, kitBuilt(t, build("FROM busybox AS step\nRUN cat /proc/self/cgroup | tee /group\nFROM scratch\nCOPY --from=step /group /\n", "-o", files)),
				"pids_limit to 20", "/narrow_50331648_2000000000_20/build-")
			lab.Contains(t, kitBuilt(t, build("FROM busybox\nRUN true\n", "-t", "tiny:1")), "site policy set memory to 32MiB: tiny")
			notBuilt(t, build("FROM busybox\nRUN for i in $(seq 60); do sleep 2 & done\n"), "can't fork")
			if left := globs(t, "/sys/fs/cgroup/*/"+strings.Trim(l.Engine.CgroupParent(), "/")+"/*/*/narrow_*"); len(left) > 0 {
				t.Errorf("%s are left", left)
			}
		})
	}
}

func globs(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// buildsExplained: what would become of a build is told, and nothing comes of it.
func buildsExplained(t *testing.T, l *lab.Lab) {
	t.Helper()
	dir := contextOf(t, l, "alice", map[string]string{"Dockerfile": "FROM busybox\n", "evil": "FROM evil.example/x/y\nRUN --mount=type=cache,target=/c true\n"})
	eval := func(kit string, words ...string) lab.Result {
		return l.Run("alice", append(append([]string{"env", "DOCKER_BUILDKIT=" + kit, binary, "policy", "eval", "--", "docker", "build"}, words...), dir)...)
	}
	r := eval("0", "-t", "app:1", "--build-arg", "KEY=hidden")
	if r.Code != 0 {
		t.Error(r.Err)
	}
	lab.Contains(t, r.Out+r.Err, "image app:1 would be built", `["busybox"]`, "50331648", "site policy, builds.rego:18", `["KEY"]`, "set memory to 48MiB")
	lab.Lacks(t, r.Out+r.Err, "hidden")
	r = eval("1", "-f", dir+"/evil", "-t", "app:1")
	if r.Code != 5 {
		t.Errorf("exit code %d", r.Code)
	}
	lab.Contains(t, r.Out+r.Err, "image app:1 would not be built", "evil.example/x/y", "nothing is built on x/y (builds.rego:3)")
	r = eval("0", "-f", dir+"/evil")
	lab.Contains(t, r.Out+r.Err, "would not be built", "classic builder knows no option of RUN")
}
