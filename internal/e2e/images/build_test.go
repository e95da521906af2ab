package images_test

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/e2e/lab"
)

// contextOf makes a folder of a person's to build from: files by name.
func contextOf(t *testing.T, l *lab.Lab, who string, files map[string]string) string {
	t.Helper()
	dir, err := os.MkdirTemp(l.Home(who), "context")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// builds has a person build a folder, and returns what the client printed.
func builds(t *testing.T, l *lab.Lab, docker, who string, files map[string]string, words ...string) lab.Result {
	t.Helper()
	return l.Run(who, append(append([]string{docker, "build"}, words...), contextOf(t, l, who, files))...)
}

// built is builds for one that must succeed.
func built(t *testing.T, l *lab.Lab, docker, who string, files map[string]string, words ...string) string {
	t.Helper()
	r := builds(t, l, docker, who, files, words...)
	if r.Code != 0 {
		t.Fatalf("%s: build %v: exit code %d\n%s\n%s", who, words, r.Code, r.Out, r.Err)
	}
	return r.Out
}

// recipe is a folder with a Dockerfile.
func recipe(lines ...string) map[string]string {
	return map[string]string{"Dockerfile": strings.Join(lines, "\n") + "\n"}
}

// TestBuild is what people build by Docker's classic builder.
func TestBuild(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}})
	busybox := l.AtEngine("inspect", "-f", "{{.Id}}", "busybox")
	t.Run("two people build by one recipe", func(t *testing.T) {
		lab.EachClient(t, l, func(t *testing.T, docker string) {
			defer clearBuilds(l)
			twoPeopleBuildByOneRecipe(t, l, docker)
		})
	})
	for name, story := range map[string]func(*testing.T, *lab.Lab, string){
		"a recipe says everything that it may":     aRecipeSaysEverything,
		"a copy of the context is the context":     aCopyOfTheContext,
		"another person's image can't be built on": anothersImageCantBeBuiltOn,
		"what a build can't ask":                   whatABuildCantAsk,
		"a base with triggers":                     aBaseWithTriggers,
	} {
		t.Run(name, func(t *testing.T) {
			defer clearBuilds(l)
			story(t, l, "docker")
			if now := l.AtEngine("inspect", "-f", "{{.Id}}", "busybox"); now != busybox {
				t.Errorf("busybox is %s now, was %s", now, busybox)
			}
			if left := l.AtEngine("ps", "-aq"); left != "" {
				t.Errorf("containers left: %s", left)
			}
		})
	}
}

// clearBuilds removes every image but busybox.
func clearBuilds(l *lab.Lab) {
	for name := range strings.FieldsSeq(l.AtEngine("images", "--format", "{{.Repository}}:{{.Tag}}")) {
		if strings.HasPrefix(name, "ds01-") {
			l.AtEngine("rmi", "-f", name)
		}
	}
	l.AtEngine("image", "prune", "-f")
}

func imageID(l *lab.Lab, docker, who, name string) string {
	return l.OK(who, docker, "inspect", "-f", "{{.Id}}", name)
}

// lot draws one for the layer that it runs in.
const lot = "RUN head -c9 /dev/urandom | base64 > /lot"

func twoPeopleBuildByOneRecipe(t *testing.T, l *lab.Lab, docker string) {
	files := recipe("FROM busybox", lot, "COPY note /", `CMD ["cat", "/lot"]`)
	files["note"] = "hello"
	var both sync.WaitGroup
	said := map[string]string{}
	var mu sync.Mutex
	for _, who := range []string{"alice", "bob"} {
		dir := contextOf(t, l, who, files)
		both.Go(func() {
			r := l.Run(who, docker, "build", "-t", "app:1", "-t", "reg.example:5000/app", dir)
			mu.Lock()
			defer mu.Unlock()
			said[who] = r.Out + r.Err
		})
	}
	both.Wait()
	lots := map[string]bool{}
	for _, who := range []string{"alice", "bob"} {
		lab.Contains(t, said[who], "Step 1/4 : FROM busybox\n", "Step 2/4 : "+lot, "Step 4/4 : CMD", "Successfully built ", "Successfully tagged app:1", "Successfully tagged reg.example:5000/app:latest")
		lab.Lacks(t, said[who], "ds01-", "Using cache", "LABEL", "Step 5")
		if got := listed(l, docker, who); got != "app:1\nbusybox:latest\nreg.example:5000/app:latest" {
			t.Errorf("%s sees %q", who, got)
		}
		lots[l.OK(who, docker, "run", "--rm", "app:1")] = true
	}
	if len(lots) != 2 {
		t.Errorf("one of the two was given the other's layer: %v", lots)
	}
	later := recipe("FROM busybox", lot+" # after one another", "RUN cat /lot")
	first := built(t, l, docker, "alice", later)
	if second := built(t, l, docker, "bob", later); strings.Contains(second, "Using cache") {
		t.Errorf("bob was given what alice's step made:\n%s\n%s", first, second)
	}
	before := imageID(l, docker, "bob", "app:1")
	again := built(t, l, docker, "bob", files, "-t", "app:2")
	if id := imageID(l, docker, "bob", "app:2"); id != before {
		t.Errorf("built anew: %s, was %s\n%s", id, before, again)
	}
	lab.Contains(t, again, "Using cache")
	if id := built(t, l, docker, "bob", files, "-q", "-t", "app:3"); id != before {
		t.Errorf("quiet: %q, want %s", id, before)
	}
	files["Dockerfile"] = strings.Replace(files["Dockerfile"], "FROM busybox", "ARG BASE\nFROM ${BASE:-none}:1", 1)
	lab.Contains(t, built(t, l, docker, "alice", files, "--build-arg", "BASE=app", "-t", "child", "--label", "course=ml"), "Step 2/6 : FROM ${BASE:-none}:1", "Step 6/6 : LABEL course=ml")
	if got := l.OK("alice", docker, "inspect", "-f", "{{.Config.Labels.course}}", "child"); got != "ml" {
		t.Errorf("label %q", got)
	}
	lab.Lacks(t, l.OK("alice", docker, "history", "--no-trunc", "child"), "ds01-")
}

func aRecipeSaysEverything(t *testing.T, l *lab.Lab, docker string) {
	files := map[string]string{
		"sub/My.Dockerfile": "\ufeff# escape=`\r\n# syntax=docker/dockerfile:1\r\n" + strings.ReplaceAll(strings.Join([]string{
			"ARG TAG=latest", "ARG BASE=\"busybox\"", "from ${BASE}:${TAG} as one", "ARG TAG", "ENV DIR=/work GREETING=\"good day\"", "WORKDIR ${DIR}/in",
			"RUN echo a `", "  # in between", "", "  b > file && pwd >> file", "ENV NOTE=plain", "ADD $NOTE sub/../plain ./", "ONBUILD COPY . /later",
			"FROM one AS two", "COPY --from=one /work/in/file /two", "COPY --from=busybox /bin/true /true", "COPY --from=0 /work/in/file /three",
			"LABEL says=\"$GREETING\" two=2", "FROM scratch AS three", "COPY --from=TWO /two /", "FROM two", "USER 1", "CMD cat /two /three",
		}, "\n"), "\n", "\r\n"),
		"plain": "plain",
	}
	dir := contextOf(t, l, "alice", files)
	file := filepath.Join(dir, "sub/My.Dockerfile")
	lab.Contains(t, l.OK("alice", docker, "build", "-f", file, "-t", "all", "--build-arg", "TAG=latest", dir), "Step 3/20 : from ${BASE}:${TAG} as one", "Successfully tagged all:latest")
	if got := l.OK("alice", docker, "run", "--rm", "all"); got != "a b\n/work/in\na b\n/work/in" {
		t.Errorf("it does %q", got)
	}
	if got := l.OK("alice", docker, "inspect", "-f", "{{.Config.Labels.says}} {{.Config.WorkingDir}} {{.Config.User}}", "all"); got != "good day /work/in 1" {
		t.Errorf("it is %q", got)
	}
	l.OK("alice", docker, "build", "-f", file, "-t", "small", "--target", "three", dir)
	if l.OK("alice", docker, "images", "-q", "-f", "dangling=true") == "" {
		t.Error("the stages aren't hers")
	}
	if got := l.OK("bob", docker, "images", "-aq", "-f", "dangling=true"); got != "" {
		t.Errorf("bob sees %s", got)
	}
	lab.Contains(t, l.OK("alice", docker, "image", "prune", "-f"), "deleted: sha256:")
	out := l.OK("alice", "sh", "-c", "printf 'FROM busybox\nRUN echo from a pipe' | "+docker+" build -")
	lab.Contains(t, out, "from a pipe")
	out = l.OK("alice", "sh", "-c", "printf 'FROM busybox\nCOPY . /all\nRUN ls -A /all' | "+docker+" build -f - "+filepath.Join(dir, "sub"))
	lab.Contains(t, out, "My.Dockerfile")
	lab.Lacks(t, out, ".ds01", ".dockerignore\n")
	lab.Contains(t, l.OK("alice", docker, "build", "--compress", "-f", file, dir), "Successfully built")
}

func aCopyOfTheContext(t *testing.T, l *lab.Lab, docker string) {
	for name, ignore := range map[string]string{"one": "secret\n", "one that leaves itself out": "secret\n.dockerignore\nDockerfile"} {
		files := recipe("FROM busybox", "COPY . /all", "RUN cd /all && find . -type f | sort", "CMD find /all -type f | sort | xargs grep -c ^ /dev/null | grep -v /dev/null")
		maps.Copy(files, map[string]string{"secret": "s", "dir/file": "f\n"})
		files[".dockerignore"] = ignore
		built(t, l, docker, "alice", files, "-t", "copy")
		got := strings.Join(strings.Fields(l.OK("alice", docker, "run", "--rm", "copy")), " ")
		want := map[string]string{
			"one":                        "/all/.dockerignore:3 /all/Dockerfile:4 /all/dir/file:1",
			"one that leaves itself out": "/all/dir/file:1",
		}[name]
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		files["Dockerfile"] = strings.Replace(files["Dockerfile"], "find . ", "find .  ", 1)
		out := built(t, l, docker, "alice", files)
		if leftOut := strings.Contains(ignore, "Dockerfile"); leftOut != strings.Contains(out, "Using cache") {
			t.Errorf("%s: the copy was taken from the cache, or should have been:\n%s", name, out)
		}
	}
}

func anothersImageCantBeBuiltOn(t *testing.T, l *lab.Lab, docker string) {
	built(t, l, docker, "alice", recipe("FROM busybox", "RUN echo hers > /secret"), "-t", "secret:1")
	id := imageID(l, docker, "alice", "secret:1")
	full := repository(l, "alice") + "secret:1"
	for _, reference := range []string{full, "docker.io/" + full, id, strings.TrimPrefix(id, "sha256:"), strings.TrimPrefix(id, "sha256:")[:12]} {
		for _, lines := range [][]string{
			{"FROM " + reference, "RUN cat /secret"},
			{"FROM busybox", "COPY --from=" + reference + " /secret /", "RUN cat /secret"},
			{"ARG X=" + reference, "FROM $X"},
		} {
			r := builds(t, l, docker, "bob", recipe(lines...))
			nobody := builds(t, l, docker, "bob", recipe(strings.Split(strings.ReplaceAll(strings.Join(lines, "\n"), reference, swapped(reference)), "\n")...))
			if r.Code == 0 || strings.Contains(r.Out, "hers") {
				t.Errorf("%v: exit code %d: %s", lines, r.Code, r.Out)
			}
			if a, b := strings.ReplaceAll(r.Err, reference, "X"), strings.ReplaceAll(nobody.Err, swapped(reference), "X"); a != b {
				t.Errorf("%s is told apart from what isn't there:\n%s\n%s", reference, a, b)
			}
		}
	}
	built(t, l, docker, "alice", recipe("FROM "+full, "RUN cat /secret"))
	built(t, l, docker, "alice", recipe("FROM "+id, "RUN cat /secret"))
	lab.Contains(t, built(t, l, docker, "bob", recipe("FROM busybox", "RUN test ! -e /secret"), "--cache-from", full), "--cache-from is left out")
}

// repository returns the beginning of a person's names at the engine.
func repository(l *lab.Lab, who string) string {
	return account.ImageRepository(l.UID(who))
}

// swapped returns a reference like another one, of nothing.
func swapped(reference string) string {
	if i := strings.IndexAny(reference, "123456789abcdef"); !strings.Contains(reference, "secret") && i >= 0 {
		return strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return '0' + (r-'0'+1)%10
			}
			return r
		}, strings.TrimPrefix(reference, "sha256:"))
	}
	return strings.Replace(reference, "secret", "nothing", 1)
}

func whatABuildCantAsk(t *testing.T, l *lab.Lab, docker string) {
	for _, c := range []struct {
		lines []string
		words []string
		says  string
	}{
		{[]string{"FROM busybox"}, []string{"--network", "host"}, "the host's network"},
		{[]string{"FROM busybox"}, []string{"--network", "container:x"}, "no other container's network"},
		{[]string{"FROM busybox"}, []string{"--network", "nets"}, "no network of that name"},
		{[]string{"FROM busybox"}, []string{"--cgroup-parent", "/"}, "cgroupparent"},
		{[]string{"FROM busybox"}, []string{"--security-opt", "seccomp=unconfined"}, "securityopt"},
		{[]string{"FROM busybox"}, []string{"--add-host", "a:1.2.3.4"}, "extrahosts"},
		{[]string{"FROM busybox"}, []string{"--memory", "1000g"}, "over your limit"},
		{[]string{"FROM busybox"}, []string{"--shm-size", "1000g"}, "over your limit"},
		{[]string{"FROM busybox"}, []string{"--cpu-quota", "99000000"}, "over your limit"},
		{[]string{"FROM busybox"}, []string{"--cpu-shares", "9999"}, "takes processor time"},
		{[]string{"FROM busybox"}, []string{"--ulimit", "nofile=9999999"}, "over your limit"},
		{[]string{"FROM busybox"}, []string{"--ulimit", "rtprio=9"}, "not served"},
		{[]string{"FROM busybox"}, []string{"--label", "aime.mlc.USER=bob"}, "written by ds01 only"},
		{[]string{"FROM busybox"}, []string{"-t", repository(l, "bob") + "x"}, "isn't on this host"},
		{[]string{"FROM busybox"}, []string{"--target", "none"}, "no stage is called"},
		{[]string{"FROM busybox", "LABEL aime.mlc.DS01_UID=1"}, nil, "a label that only ds01 writes"},
		{[]string{"FROM busybox", "ARG x=aime.mlc", "LABEL $x.DS01_UID=1"}, nil, "a label's key holds"},
		{[]string{"FROM busybox", "ADD http://127.0.0.1/x /"}, nil, "from the host's own network"},
		{[]string{"FROM busybox", `ADD ["https://x/y", "/"]`}, nil, "from the host's own network"},
		{[]string{"FROM busybox", "ADD git@github.com:x/y /"}, nil, "from the host's own network"},
		{[]string{"FROM busybox", "ENV u=http://127.0.0.1:1/x", "ADD $u /"}, nil, "file"},
		{[]string{"FROM busybox AS a", "ONBUILD ADD http://127.0.0.1:1/x /", "FROM a"}, nil, "from the host's own network"},
		{[]string{"FROM busybox AS a", "WORKDIR /a/b", "ONBUILD WORKDIR /", "FROM a", "WORKDIR ../proc/self"}, nil, "in /proc"},
		{[]string{"FROM busybox", "RUN cat <<EOF > /x", "FROM nothing", "EOF"}, nil, "here-documents"},
		{[]string{"FROM busybox", "RUN --mount=type=bind,target=/x true"}, nil, "no option of RUN"},
		{[]string{"FROM busybox", `RUN true \\`, "FROM nothing"}, nil, "read in two ways"},
		{[]string{"FROM busybox", "WORKDIR /proc/self/fd/8", "RUN true"}, nil, "in /proc"},
		{[]string{"FROM busybox", "ARG a=pr", "ENV b=${a}oc", "WORKDIR /$b", "WORKDIR self/fd/8"}, nil, "in /proc"},
		{[]string{"FROM busybox", "WORKDIR /$http_proxy"}, []string{"--build-arg", "http_proxy=proc"}, "Write ARG http_proxy"},
		{[]string{"FROM busybox", "COPY --from=1 / /"}, nil, "no stage before"},
		{[]string{"FROM busybox", `COPY --chown="1" --from=x / /`}, nil, "doesn't read"},
		{[]string{"RUN true", "FROM busybox"}, nil, "before the first FROM"},
		{[]string{"FROM busybox", "FETCH x"}, nil, "unknown instruction"},
		{[]string{"FROM busybox", "RUN exit 3"}, nil, "returned a non-zero code: 3"},
	} {
		r := builds(t, l, docker, "alice", recipe(c.lines...), c.words...)
		if r.Code == 0 || !strings.Contains(r.Err+r.Out, c.says) {
			t.Errorf("%q %v: exit code %d, want %q:\n%s\n%s", c.lines, c.words, r.Code, c.says, r.Out, r.Err)
		}
	}
	if r := l.Run("alice", docker, "build", "https://github.com/x/y.git#main"); r.Code == 0 {
		t.Error("a repository was built")
	}
}

func aBaseWithTriggers(t *testing.T, l *lab.Lab, docker string) {
	built(t, l, docker, "alice", recipe("FROM busybox", "ONBUILD COPY . /all", "ONBUILD "+lot), "-t", "base")
	r := builds(t, l, docker, "alice", recipe("FROM base", "RUN ls /all /lot"))
	if r.Code == 0 {
		t.Errorf("a trigger ran with a cache: %s", r.Out)
	}
	lab.Contains(t, r.Err, "Add --no-cache")
	lab.Contains(t, built(t, l, docker, "alice", recipe("FROM base", "RUN ls /all /lot"), "--no-cache"), "/lot", "Dockerfile")
	for _, trigger := range []string{"ADD http://127.0.0.1:1/x /", "ADD $x /", "COPY --from=busybox /bin /b", "LABEL aime.mlc=x", "RUN true\\nADD http://127.0.0.1:1/x /"} {
		l.OK("alice", "sh", "-c", loadsWithTrigger(docker, trigger))
		if r := builds(t, l, docker, "alice", recipe("FROM base"), "--no-cache"); r.Code == 0 || !strings.Contains(r.Err, "begins each build with") {
			t.Errorf("%s: exit code %d: %s %s", trigger, r.Code, r.Out, r.Err)
		}
	}
}

// loadsWithTrigger loads an image called base that has its builds begin with an
// instruction which no build of ours can give it.
func loadsWithTrigger(docker, trigger string) string {
	return `set -e; d=$(mktemp -d); cd "$d"; tar -cf layer.tar --files-from /dev/null; sum=$(sha256sum layer.tar | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","config":{"OnBuild":["` + strings.ReplaceAll(trigger, "\\n", "\\\\n") + `"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{}]}' "$sum" > config.json
printf '[{"Config":"config.json","RepoTags":["base:latest"],"Layers":["layer.tar"]}]' > manifest.json
tar -c config.json manifest.json layer.tar | ` + docker + ` load`
}
