package images_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/admission"
	"ds01.dev/ds01/internal/e2e/lab"
)

// TestBuildKit is what people build with the client that Debian ships, and how
// they never meet.
func TestBuildKit(t *testing.T) {
	l := start(t, lab.Options{
		Users:  []string{"alice", "bob"},
		Limits: "defaults: {aggregate: {memory: 64M, tasks: 40}}\n",
	})
	for name, story := range map[string]func(*testing.T, *lab.Lab){
		"two people build under one tag":           twoPeopleBuildUnderOneTag,
		"files of a build are its owner's":         filesOfABuild,
		"agents of ssh are one's own":              agentsOfSSHAreOnesOwn,
		"secrets and caches are one's own":         secretsAndCachesAreOnesOwn,
		"nothing of another's is there":            nothingOfAnothersIsThere,
		"what reaches the host is refused":         whatReachesTheHostIsRefused,
		"steps are held to the person's limits":    stepsAreHeldToLimits,
		"a container is no step, whatever it says": aContainerIsNoStep,
		"a build that is given up leaves nothing":  aBuildThatIsGivenUp,
		"nobody ends another's build":              nobodyEndsAnothersBuild,
	} {
		t.Run(name, func(t *testing.T) {
			defer clearImages(l)
			story(t, l)
		})
	}
}

// kitBuilds builds a folder of theirs with a Dockerfile and perhaps other files.
func kitBuilds(l *lab.Lab, who, dockerfile string, files map[string]string, words ...string) lab.Result {
	dir, err := os.MkdirTemp(l.Home(who), "build")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	for name, text := range files {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o644)
	}
	if err != nil {
		return lab.Result{Code: -1, Err: err.Error()}
	}
	line := append([]string{"env", "DOCKER_BUILDKIT=1", lab.Debian, "build", "--progress=plain"}, words...)
	return l.Run(who, append(line, dir)...)
}

func kitBuilt(t *testing.T, r lab.Result) string {
	t.Helper()
	if r.Code != 0 {
		t.Fatalf("not built: %s%s", r.Out, r.Err)
	}
	return r.Out + r.Err
}

func notBuilt(t *testing.T, r lab.Result, why ...string) {
	t.Helper()
	if r.Code == 0 {
		t.Errorf("it was built: %s%s", r.Out, r.Err)
	}
	lab.Contains(t, r.Out+r.Err, why...)
}

func twoPeopleBuildUnderOneTag(t *testing.T, l *lab.Lab) {
	for _, who := range []string{"alice", "bob"} {
		said := kitBuilt(t, kitBuilds(l, who, "FROM busybox AS one\nCOPY note /note\nRUN cat /note && id -u\nFROM one\nCMD [\"cat\",\"/note\"]\n", map[string]string{"note": who}, "-t", "app:1", "-t", "app:2"))
		lab.Contains(t, said, who, "naming to app:1, app:2")
		lab.Lacks(t, said, "ds01-", "/people/")
		kitBuilt(t, kitBuilds(l, who, "FROM app:1\nRUN echo more >> /note\n", nil, "-t", "app:3"))
	}
	for _, who := range []string{"alice", "bob"} {
		if got := listed(l, lab.Debian, who); got != "app:1\napp:2\napp:3\nbusybox:latest" {
			t.Errorf("%s sees %q", who, got)
		}
		if got := l.OK(who, lab.Debian, "run", "--rm", "app:3"); got != who+"more" && got != who+"\nmore" {
			t.Errorf("%s's app says %q", who, got)
		}
	}
	said := kitBuilt(t, kitBuilds(l, "alice", "FROM busybox\nRUN true\n", nil, "--cache-from", "app:1", "--build-arg", "BUILDKIT_INLINE_CACHE=1"))
	lab.Contains(t, said, "no cache is read from images", "no cache is written into the image")
	id := kitBuilt(t, kitBuilds(l, "alice", "FROM busybox\nLABEL x=y\n", nil, "-q"))
	if got := l.OK("alice", lab.Debian, "inspect", "-f", "{{.Config.Labels.x}}", strings.TrimSpace(id)); got != "y" {
		t.Errorf("the image without a name is labelled %q", got)
	}
}

// filesOfABuild has files come of builds instead of images: their owner's client
// writes them, with its owner's rights.
func filesOfABuild(t *testing.T, l *lab.Lab) {
	const dockerfile = "FROM busybox AS make\nRUN echo made-by-$(cat /proc/sys/kernel/hostname) > /note && chmod 4755 /note\nFROM scratch\nCOPY --from=make /note /note\n"
	for _, who := range []string{"alice", "bob"} {
		dir := filepath.Join(l.Home(who), "out")
		kitBuilt(t, kitBuilds(l, who, dockerfile, nil, "-o", dir))
		if got := l.OK(who, "stat", "-c", "%u %F", filepath.Join(dir, "note")); got != fmt.Sprintf("%d regular file", l.UID(who)) {
			t.Errorf("the file is %s", got)
		}
		kitBuilt(t, kitBuilds(l, who, dockerfile, nil, "-o", "type=tar,dest="+dir+".tar"))
		if got := l.OK(who, "tar", "-tf", dir+".tar"); got != "note" {
			t.Errorf("the archive has %q", got)
		}
	}
	notBuilt(t, kitBuilds(l, "bob", dockerfile, nil, "-o", filepath.Join(l.Home("alice"), "bobs")), "permission denied")
	for _, kind := range []string{"oci", "docker"} {
		notBuilt(t, kitBuilds(l, "bob", dockerfile, nil, "-o", "type="+kind+",dest=x"), "type="+kind+" is nothing that this engine's BuildKit writes", "docker save")
	}
	notBuilt(t, kitBuilds(l, "bob", dockerfile+"RUN true\n", nil, "-o", "type=registry,name=127.0.0.1:1/x"), "not served")
	const much = "FROM busybox\nRUN x=$(head -c 100000000 /dev/zero | tr '\\0' a); echo ${#x} > /x\n"
	notBuilt(t, kitBuilds(l, "bob", much, nil, "-o", filepath.Join(l.Home("bob"), "much")), "137") // as an image's
	if got := listed(l, lab.Debian, "alice"); got != "busybox:latest" {
		t.Errorf("alice sees %q", got)
	}
}

// agentsOfSSHAreOnesOwn has steps ask the agent that is forwarded to them for its
// keys. alice's goes on asking, until all of bob's are over.
func agentsOfSSHAreOnesOwn(t *testing.T, l *lab.Lab) {
	const asks = "LD_LIBRARY_PATH=/ssh /ssh/ld-linux-x86-64.so.2 /ssh/ssh-add -l"
	program, agent := sshAdd(t, l), map[string]string{}
	addKey := func(who, key string) bool {
		return l.Run(who, "sh", "-c", "rm -f k k.pub; ssh-keygen -q -t ed25519 -N '' -C "+key+" -f k && SSH_AUTH_SOCK=~/agent ssh-add -q k").Code == 0
	}
	for _, who := range []string{"alice", "bob"} {
		kitBuilt(t, kitBuilds(l, who, "FROM busybox\nCOPY . /ssh\nRUN chmod 755 /ssh/*\n", program, "-t", "ssh"))
		agent[who] = "default=" + filepath.Join(l.Home(who), "agent")
		cmd := l.Command(who, "ssh-agent", "-D", "-a", filepath.Join(l.Home(who), "agent"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Wait() // it is killed
		defer cmd.Process.Kill()
		l.Eventually(who+"'s agent has a key", 10*time.Second, func() bool { return addKey(who, "key-of-"+who) })
	}
	alices := make(chan lab.Result, 1)
	go func() {
		alices <- kitBuilds(l, "alice", "FROM ssh\nRUN --mount=type=ssh until "+asks+" | tee -a /seen | grep last-of; do sleep 0.3; done; cat /seen\n", nil, "--ssh", agent["alice"])
	}()
	l.Eventually("alice's step has her agent", 20*time.Second, func() bool { return running(l, "sleep", "0.3") || len(alices) > 0 })
	said := kitBuilt(t, kitBuilds(l, "bob", "FROM ssh\nRUN --mount=type=ssh "+asks+"\n", nil, "--ssh", agent["bob"]))
	lab.Contains(t, said, "key-of-bob (ED25519)")
	lab.Lacks(t, said, "-of-alice")
	for name, c := range map[string]struct{ mount, ssh, says string }{
		"without an agent":          {"type=ssh", "", "Error connecting to agent"},
		"without one, required":     {"type=ssh,required=true", "", "ssh"},
		"by alice's socket":         {"type=ssh,required=true", agent["alice"], "communication with agent failed"},
		"by an agent he hasn't got": {"type=ssh,required=true,id=alice", agent["bob"], "alice"},
	} {
		var words []string
		if c.ssh != "" {
			words = []string{"--ssh", c.ssh}
		}
		r := kitBuilds(l, "bob", "FROM ssh\nRUN --mount="+c.mount+" "+asks+" # "+name+"\n", nil, words...)
		notBuilt(t, r, c.says)
		lab.Lacks(t, r.Out+r.Err, "-of-alice")
	}
	if len(alices) > 0 || !addKey("alice", "last-of-alice") {
		t.Error("alice's step was over before bob's were tried")
	}
	said = kitBuilt(t, <-alices)
	lab.Contains(t, said, "key-of-alice (ED25519)", "last-of-alice (ED25519)")
	lab.Lacks(t, said, "key-of-bob")
}

// sshAdd returns ssh-add and its libraries, which busybox hasn't got.
func sshAdd(t *testing.T, l *lab.Lab) map[string]string {
	t.Helper()
	program, err := exec.LookPath("ssh-add")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for word := range strings.FieldsSeq(program + " " + l.OK("alice", "ldd", program)) {
		if !filepath.IsAbs(word) {
			continue
		}
		data, err := os.ReadFile(word)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(word)] = string(data)
	}
	return files
}

func secretsAndCachesAreOnesOwn(t *testing.T, l *lab.Lab) {
	const dockerfile = "# syntax=docker/dockerfile:1\nFROM busybox\nRUN --mount=type=secret,id=key --mount=type=cache,target=/cache cat /cache/was /run/secrets/key; cp /run/secrets/key /cache/was\n"
	for _, who := range []string{"alice", "bob"} {
		key := filepath.Join(l.Home(who), "key")
		l.OK(who, "sh", "-c", "echo key-of-"+who+" > "+key)
		said := kitBuilt(t, kitBuilds(l, who, dockerfile, nil, "--secret", "id=key,src="+key))
		lab.Contains(t, said, "key-of-"+who, "No such file", "is read by ds01's own Dockerfile frontend")
		lab.Lacks(t, said, "key-of-"+map[string]string{"alice": "bob", "bob": "alice"}[who])
	}
	said := kitBuilt(t, kitBuilds(l, "alice", "FROM busybox\nRUN --mount=type=cache,target=/cache cat /cache/was\n", nil))
	lab.Contains(t, said, "key-of-alice")
	lab.Lacks(t, said, "key-of-bob")
}

func nothingOfAnothersIsThere(t *testing.T, l *lab.Lab) {
	kitBuilt(t, kitBuilds(l, "bob", "FROM busybox\nRUN echo of-bob > /note\n", nil, "-t", "secret:1"))
	full := fmt.Sprintf("ds01-%d/secret:1", l.UID("bob"))
	for name, dockerfile := range map[string]string{
		"from":  "FROM " + full,
		"copy":  "FROM busybox\nCOPY --from=" + full + " /note /note",
		"mount": "FROM busybox\nRUN --mount=from=" + full + ",target=/x cat /x/note",
	} {
		r := kitBuilds(l, "alice", dockerfile+"\n", nil)
		notBuilt(t, r, "No such image")
		if strings.Contains(r.Out+r.Err, "of-bob") {
			t.Errorf("%s: alice reads bob's", name)
		}
	}
	// what bob's step wrote isn't what alice's gets, though they write the same
	const same = "FROM busybox\nRUN cat /proc/sys/kernel/random/uuid | tee /uuid\nCMD [\"cat\",\"/uuid\"]\n"
	seen := map[string]string{}
	for _, who := range []string{"alice", "bob", "alice"} {
		kitBuilt(t, kitBuilds(l, who, same, nil, "-t", "uuid"))
		uuid := l.OK(who, lab.Debian, "run", "--rm", "uuid")
		if before := seen[who]; before != "" && before != uuid {
			t.Errorf("%s's own step ran again", who)
		}
		seen[who] = uuid
	}
	if seen["alice"] == seen["bob"] {
		t.Error("alice has the result of bob's step")
	}
}

func whatReachesTheHostIsRefused(t *testing.T, l *lab.Lab) {
	for dockerfile, why := range map[string]string{
		"FROM busybox\nRUN --network=host id":     "--network=host",
		"FROM busybox\nADD http://127.0.0.1/x /x": "the host's own network",
		"# syntax=evil/frontend\nFROM busybox":    "evil/frontend",
	} {
		notBuilt(t, kitBuilds(l, "alice", dockerfile+"\n", nil), why)
	}
	notBuilt(t, kitBuilds(l, "alice", "FROM busybox\n", nil, "--cgroup-parent", "/"), "ds01: ")
	// a step that leads BuildKit's tidying out of its file system
	victim := filepath.Join(l.Root, "victim")
	if err := os.WriteFile(victim, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	const trap = "FROM busybox\nRUN --mount=type=tmpfs,target=/way/victim mv /way /old; ln -s %s /way\n"
	kitBuilt(t, kitBuilds(l, "alice", fmt.Sprintf(trap, l.Root), nil))
	if _, err := os.Stat(victim); err != nil {
		t.Error("a build has removed a file of the host's")
	}
}

func stepsAreHeldToLimits(t *testing.T, l *lab.Lab) {
	said := kitBuilt(t, kitBuilds(l, "alice", "FROM busybox\nRUN cat /proc/self/cgroup\n", nil))
	lab.Contains(t, said, fmt.Sprintf("/people/u%d/build-", l.UID("alice")))
	stepsEndAtTheLimits(t, l)
}

func stepsEndAtTheLimits(t *testing.T, l *lab.Lab) {
	notBuilt(t, kitBuilds(l, "alice", "FROM busybox\nRUN x=$(head -c 100000000 /dev/zero | tr '\\0' a); echo ${#x}\n", nil), "exit code")
	notBuilt(t, kitBuilds(l, "alice", "FROM busybox\nRUN for i in $(seq 100); do sleep 2 & done\n", nil), "can't fork")
}

// aContainerIsNoStep runs one with the words of a step that belongs elsewhere.
func aContainerIsNoStep(t *testing.T, l *lab.Lab) {
	for _, group := range []string{"/elsewhere", "elsewhere.slice"} {
		said := notMade(t, l, group)
		lab.Contains(t, said, "executable file not found")
	}
	for _, left := range []string{"/sys/fs/cgroup/*/elsewhere*", "/sys/fs/cgroup/elsewhere*"} {
		if got := globs(t, left); len(got) > 0 {
			t.Errorf("there are %q", got)
		}
	}
}

// notMade starts a container that can't be, and returns why.
func notMade(t *testing.T, l *lab.Lab, group string) string {
	t.Helper()
	words, err := json.Marshal(admission.KitStepIn(group, []string{"sleep", "1000"}))
	if err != nil {
		t.Fatal(err)
	}
	if status, answer := l.Ask("alice", "POST", "/containers/create?name=forged", `{"Image":"busybox","Entrypoint":`+string(words)+`}`); status != 201 {
		t.Fatalf("%d %s", status, answer)
	}
	defer l.OK("alice", "docker", "rm", "-f", "forged")
	status, answer := l.Ask("alice", "POST", "/containers/forged/start", "")
	if status < 400 {
		t.Errorf("it runs: %d %s", status, answer)
	}
	return answer
}

func aBuildThatIsGivenUp(t *testing.T, l *lab.Lab) {
	r := kitBuilds(l, "alice", "FROM busybox\nRUN true\n", nil)
	kitBuilt(t, r)
	cmd := l.Command("alice", "timeout", "-s", "INT", "2", "env", "DOCKER_BUILDKIT=1", lab.Debian, "build", "--progress=plain", "-t", "never", "-f", "-", l.Home("alice"))
	cmd.Stdin = strings.NewReader("FROM busybox\nRUN sleep 1234\n")
	l.Finish(cmd)
	l.Eventually("no step is left", 10e9, func() bool { return !running(l, "sleep", "1234") })
	gone := l.Command("alice", "env", "DOCKER_BUILDKIT=1", lab.Debian, "build", "-t", "never", "-f", "-", l.Home("alice"))
	gone.Stdin = strings.NewReader("FROM busybox\nRUN sleep 4321\n")
	if err := gone.Start(); err != nil {
		t.Fatal(err)
	}
	l.Eventually("the step runs", 10e9, func() bool { return running(l, "sleep", "4321") })
	l.EndDaemon(syscall.SIGKILL)
	if err := gone.Wait(); err == nil {
		t.Error("a build without ds01 has ended well")
	}
	l.StartDaemon()
	l.Eventually("no step is left of a build that ds01 had", 10e9, func() bool { return !running(l, "sleep", "4321") })
	if got := listed(l, lab.Debian, "alice"); got != "busybox:latest" && got != "<none>:<none>\nbusybox:latest" {
		t.Errorf("alice sees %q", got)
	}
}

func nobodyEndsAnothersBuild(t *testing.T, l *lab.Lab) {
	began := time.Now()
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		time.Sleep(time.Second)
		l.Ask("bob", "POST", "/build/cancel?id=b", "")
	}()
	_, answer := l.Ask("alice", "POST", "/build?version=2&remote=client-session&session=none&buildid=b", "")
	<-cancelled
	if took := time.Since(began); took < 4*time.Second || !strings.Contains(answer, "no session") {
		t.Errorf("bob has ended alice's build after %s: %s", took, answer)
	}
}

// running reports whether a container or step of the lab's has such a process.
func running(l *lab.Lab, words ...string) bool { return howMany(l, words...) > 0 }

// howMany returns how many such processes the lab's containers and steps have.
func howMany(l *lab.Lab, words ...string) (n int) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0
	}
	for _, process := range all {
		line, err := os.ReadFile(filepath.Join(process, "cmdline"))
		if err != nil || string(line) != strings.Join(words, "\x00")+"\x00" {
			continue
		}
		if groups, err := os.ReadFile(filepath.Join(process, "cgroup")); err == nil && strings.Contains(string(groups), l.Engine.CgroupParent()+"/") {
			n++
		}
	}
	return n
}
