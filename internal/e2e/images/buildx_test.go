package images_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestBuildx is what people build with a docker that has buildx. To build that
// takes minutes, so that it is for make test-long.
func TestBuildx(t *testing.T) {
	if !lab.Buildx().Wanted() {
		t.Skip("buildx takes minutes to build: make test-long")
	}
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, Limits: "defaults: {aggregate: {memory: 64M, tasks: 60}}\n"})
	for _, who := range []string{"alice", "bob"} {
		l.Give(who, filepath.Join(l.Home(who), ".docker"), lab.Buildx())
	}
	docker := docker28(t, l)
	build := func(who, dockerfile string, words ...string) lab.Result {
		dir, err := os.MkdirTemp(l.Home(who), "build")
		if err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"Dockerfile": dockerfile, "note": who} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return l.Run(who, append(append([]string{docker, "buildx", "build", "--progress=plain"}, words...), dir)...)
	}
	for _, who := range []string{"alice", "bob"} {
		key := filepath.Join(l.Home(who), "key")
		l.OK(who, "sh", "-c", "echo key-of-"+who+" > "+key)
		said := kitBuilt(t, build(who, "# syntax=docker/dockerfile:1\nFROM busybox AS one\nCOPY note /note\n"+
			"RUN --mount=type=secret,id=key --mount=type=cache,target=/c cat /c/was /run/secrets/key /proc/self/cgroup; cp /run/secrets/key /c/was\nFROM one\nCMD [\"cat\",\"/note\"]\n",
			"-t", "app:1", "--secret", "id=key,src="+key))
		lab.Contains(t, said, "key-of-"+who, "No such file", fmt.Sprintf("/people/u%d/build-", l.UID(who)))
		lab.Lacks(t, said, "ds01-step", "ds01-nameless")
		if got := l.OK(who, docker, "run", "--rm", "app:1"); got != who {
			t.Errorf("%s's app says %q", who, got)
		}
	}
	twoPeopleBuildAtOnce(t, l, build)
	bakes(t, l, docker)
	contextsHaveNames(t, l, build)
	iid := filepath.Join(l.Home("alice"), "iid")
	kitBuilt(t, build("alice", "FROM app:1\nRUN echo x > /x\n", "-t", "app:2", "--iidfile", iid))
	if got, want := l.OK("alice", "cat", iid), l.OK("alice", docker, "inspect", "-f", "{{.Id}}", "app:2"); got != want {
		t.Errorf("the image is %s, buildx says %s", want, got)
	}
	lab.Contains(t, kitBuilt(t, build("alice", "FROM busybox\nRUN true\n", "-t", "cached", "--cache-from", "type=registry,ref=app:1", "--cache-to", "type=inline")),
		"no cache is read from images", "no cache is written into the image")
	l.OK("alice", docker, "rmi", "cached")
	notBuilt(t, build("alice", fmt.Sprintf("FROM ds01-%d/app:1\n", l.UID("bob"))), "No such image")
	notBuilt(t, build("alice", "FROM busybox\nRUN false\n"), "exit code: 1")
	notBuilt(t, build("alice", "FROM busybox\nRUN --network=host true\n", "--allow", "network.host"), "ds01: Image not built")
	notBuilt(t, build("alice", "FROM busybox\nRUN --network=host true\n"), "ds01: Image not built")
	const files = "FROM scratch\nCOPY note /note\n"
	kitBuilt(t, build("alice", files, "--output", "type=local,dest="+filepath.Join(l.Home("alice"), "out")))
	if got := l.OK("alice", "cat", filepath.Join(l.Home("alice"), "out/note")); got != "alice" {
		t.Errorf("alice's file says %q", got)
	}
	kitBuilt(t, build("alice", files, "--output", "type=tar,dest="+filepath.Join(l.Home("alice"), "out.tar")))
	if got := l.OK("alice", "tar", "-tf", filepath.Join(l.Home("alice"), "out.tar")); got != "note" {
		t.Errorf("alice's archive has %q", got)
	}
	notBuilt(t, build("alice", "FROM busybox\nRUN x=$(head -c 100000000 /dev/zero | tr '\\0' a)\n"), "exit code: 137")
	if got := l.OK("alice", docker, "buildx", "du"); strings.Contains(got, "MB") {
		t.Errorf("alice sees what the builder keeps: %s", got)
	}
	l.OK("alice", docker, "buildx", "prune", "-a", "-f")
	if got := listed(l, docker, "alice"); got != "app:1\napp:2\nbusybox:latest" {
		t.Errorf("alice sees %q", got)
	}
}

// twoPeopleBuildAtOnce has alice and bob build a project of one name, of the same
// Dockerfile, at the same time; each step waits until the other's has begun.
func twoPeopleBuildAtOnce(t *testing.T, l *lab.Lab, build func(who, dockerfile string, words ...string) lab.Result) {
	const same = "FROM busybox\nCOPY note /note\n" +
		"RUN --mount=type=secret,id=key --mount=type=cache,target=/shared cat /note /run/secrets/key; echo $(cat /note)-was-here >> /shared/who; sleep 3; cat /shared/who; cp /shared/who /who\n"
	results := map[string]chan lab.Result{"alice": make(chan lab.Result, 1), "bob": make(chan lab.Result, 1)}
	for who, result := range results {
		go func() {
			result <- build(who, same, "-t", "project:1", "--secret", "id=key,src="+filepath.Join(l.Home(who), "key"))
		}()
	}
	l.Eventually("both steps run at once", 20*time.Second, func() bool { return howMany(l, "sleep", "3") == 2 })
	for who, other := range map[string]string{"alice": "bob", "bob": "alice"} {
		said := kitBuilt(t, <-results[who])
		lab.Contains(t, said, "key-of-"+who, who+"-was-here")
		lab.Lacks(t, said, "key-of-"+other, other+"-was-here", "/home/"+other)
		if got := l.OK(who, lab.Debian, "run", "--rm", "project:1", "cat", "/note", "/who"); got != who+who+"-was-here" {
			t.Errorf("%s's project says %q", who, got)
		}
		l.OK(who, lab.Debian, "rmi", "project:1")
	}
}

// contextsHaveNames has a build take another folder and an image by names, and
// another its Dockerfile from elsewhere than its folder.
func contextsHaveNames(t *testing.T, l *lab.Lab, build func(who, dockerfile string, words ...string) lab.Result) {
	t.Helper()
	other := filepath.Join(l.Home("alice"), "other")
	l.OK("alice", "sh", "-c", "mkdir "+other+" && echo of-the-other > "+other+"/thing")
	const of = "FROM base\nCOPY --from=side /thing /thing\nRUN cat /thing /note\n"
	lab.Contains(t, kitBuilt(t, build("alice", of, "-t", "named:1", "--build-context", "side="+other, "--build-context", "base=docker-image://app:1")), "of-the-other", "alice")
	stdin := l.Fed("alice", "FROM busybox\nCOPY thing /\nRUN cat /thing\n", docker28(t, l), "buildx", "build", "--progress=plain", "-t", "named:2", "-f", "-", other)
	lab.Contains(t, kitBuilt(t, stdin), "of-the-other")
	l.OK("alice", lab.Debian, "rmi", "named:1", "named:2")
	for _, context := range []string{"docker-image://" + fmt.Sprintf("ds01-%d/app:1", l.UID("bob")), "https://127.0.0.1:1/x.git", "oci-layout://" + other} {
		notBuilt(t, build("alice", of, "--build-context", "side="+other, "--build-context", "base="+context))
	}
}

// bakes has two images baked by a file, and fails to have one baked on another
// target: buildx gets no result to build on, and says so before it asks.
func bakes(t *testing.T, l *lab.Lab, docker string) {
	t.Helper()
	dir, err := os.MkdirTemp(l.Home("alice"), "bake")
	lab.Must(t, err)
	lab.Must(t, os.Chmod(dir, 0o755))
	for name, text := range map[string]string{
		"Dockerfile": "FROM busybox AS one\nARG WHAT\nRUN echo $WHAT > /what\nFROM one AS two\nRUN echo two >> /what\n",
		"docker-bake.hcl": `variable "WHAT" { default = "bread" }
group "default" { targets = ["one", "two"] }
target "one" {
  target = "one"
  args = { WHAT = WHAT }
  tags = ["baked:one"]
}
target "two" {
  inherits = ["one"]
  target = "two"
  tags = ["baked:two"]
}
`,
		"on.hcl": `target "one" {
  dockerfile-inline = "FROM busybox"
}
target "default" {
  contexts = { first = "target:one" }
  dockerfile-inline = "FROM first"
  tags = ["baked:on"]
}
`,
	} {
		lab.Must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	bake := func(file string) lab.Result {
		return l.Run("alice", "sh", "-c", "cd "+dir+" && WHAT=cake exec "+docker+" buildx bake --progress=plain -f "+file)
	}
	kitBuilt(t, bake("docker-bake.hcl"))
	for tag, want := range map[string]string{"one": "cake", "two": "cake\ntwo"} {
		if got := l.OK("alice", docker, "run", "--rm", "baked:"+tag, "cat", "/what"); got != want {
			t.Errorf("baked:%s says %q", tag, got)
		}
		l.OK("alice", docker, "rmi", "baked:"+tag)
	}
	notBuilt(t, bake("on.hcl"), "gateway did not return reference with definition")
}

// docker28 returns a client that takes buildx for its builds.
func docker28(t *testing.T, l *lab.Lab) string {
	t.Helper()
	clients := l.Clients()
	i := slices.IndexFunc(clients, func(c string) bool { return c != lab.Debian })
	if i < 0 {
		return lab.Debian // it takes buildx when asked
	}
	return clients[i]
}
