package images_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// A shelf is a lab with a registry that has the images tools/busybox:1 and :2.
type shelf struct {
	*lab.Lab
	registry *lab.Registry
}

// first and second are the images of a shelf.
func aBuildByBuildKitPullsToo(t *testing.T, s shelf, docker string) {
	if docker != lab.Debian {
		return // others build by BuildKit with buildx only: TestBuildx
	}
	defer s.AtEngine("builder", "prune", "-af") // BuildKit keeps the layers
	for _, who := range []string{"alice", "bob"} {
		kitBuilt(t, kitBuilds(s.Lab, who, "FROM "+s.first()+"\nRUN stat -c %s /payload\n", nil, "-t", "x"))
		s.OK(who, docker, "rmi", "x")
	}
	notBuilt(t, kitBuilds(s.Lab, "alice", "FROM "+s.registry.Image("tools/none:1")+"\n", nil), "it isn't on this host, and ")
	s.registry.Demand("lab", "s3cret")
	fromSecond := "FROM " + s.second() + "\nRUN true\n"
	notBuilt(t, kitBuilds(s.Lab, "bob", fromSecond, nil), "no basic auth credentials")
	s.logIn("alice", "lab", "s3cret")
	kitBuilt(t, kitBuilds(s.Lab, "alice", fromSecond, nil))
	notBuilt(t, kitBuilds(s.Lab, "bob", fromSecond, nil, "--pull"), "no basic auth credentials")
	lab.Lacks(t, s.Log(), "s3cret", base64.StdEncoding.EncodeToString([]byte("lab:s3cret")))
	s.OK("alice", "rm", "-rf", ".docker")
	s.registry.Demand("", "")
	// the tag moves at the registry, and here it is the old one
	s.AtEngine("pull", s.second())
	defer func() {
		s.AtEngine("tag", s.registry.Image("tools/old:1"), s.first())
		s.AtEngine("push", s.first())
	}()
	for _, words := range [][]string{{s.first(), s.registry.Image("tools/old:1")}, {s.second(), s.first()}} {
		s.AtEngine("tag", words[0], words[1])
	}
	s.AtEngine("push", s.first())
	s.AtEngine("tag", s.registry.Image("tools/old:1"), s.first())
	sum := func(words ...string) string {
		said := kitBuilt(t, kitBuilds(s.Lab, "alice", "FROM "+s.first()+"\nRUN echo s\"\"um $(md5sum < /payload | cut -c 1-32) e\"\"nd\n", nil, append(words, "--no-cache")...))
		_, sum, _ := strings.Cut(said, " sum ")
		sum, _, _ = strings.Cut(sum, " end")
		return sum
	}
	before, anew := sum(), sum("--pull")
	if len(before) != 32 || len(anew) != 32 || before == anew {
		t.Errorf("--pull fetched the image %q, as it was before: %q", anew, before)
	}
}

func (s shelf) first() string  { return s.registry.Image("tools/busybox:1") }
func (s shelf) second() string { return s.registry.Image("tools/busybox:2") }

// TestPull is how images come from a registry, a real one but for its being
// empty at first: the engine itself pushes what is pulled.
func TestPull(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}})
	s := shelf{l, l.StartRegistry()}
	s.stock()
	for name, story := range map[string]func(*testing.T, shelf, string){
		"what one pulls everybody uses":                    whatOnePullsEverybodyUses,
		"run pulls an image that isn't there":              runPullsWhatIsntThere,
		"an image is pulled by its digest":                 anImageIsPulledByItsDigest,
		"a build pulls what it is built on":                aBuildPullsWhatItIsBuiltOn,
		"a build by BuildKit does so too":                  aBuildByBuildKitPullsToo,
		"progress is told while it goes on":                progressIsTold,
		"what a registry hasn't got is said to be so":      whatARegistryHasntGot,
		"a login serves whose it is, and nobody else":      aLoginServesWhoseItIs,
		"who hangs up ends the download":                   whoHangsUpEndsTheDownload,
		"who hangs up ends nobody else's pull":             whoHangsUpEndsNobodyElsesPull,
		"nothing is pulled into people's own repositories": nothingIsPulledIntoPeoplesRepositories,
	} {
		t.Run(name, func(t *testing.T) {
			lab.EachClient(t, l, func(t *testing.T, docker string) {
				defer s.clear()
				story(t, s, docker)
			})
		})
	}
}

// stock pushes two images whose layers the engine doesn't keep.
func (s shelf) stock() {
	for i, image := range []string{s.first(), s.second()} {
		id := s.AtEngine("run", "-d", "--network", "none", "--name", fmt.Sprint("stock", i), "busybox", "dd", "if=/dev/urandom", "of=/payload", "bs=1M", "count=4")
		s.AtEngine("wait", id)
		s.AtEngine("commit", "--change", `CMD ["sh"]`, id, image)
		s.AtEngine("rm", id)
		s.AtEngine("push", image)
	}
	s.clear()
}

// clear takes away what a story leaves at the engine and asks of the registry.
func (s shelf) clear() {
	s.registry.Demand("", "")
	s.ClearAll()
	s.AtEngine("builder", "prune", "-af") // it keeps layers that a pull would find, as what was built does
	keep := s.AtEngine("images", "-q", "--no-trunc", "busybox")
	var left []string
	for image := range strings.FieldsSeq(s.AtEngine("images", "-q", "--no-trunc")) {
		if image != keep && !slices.Contains(left, image) {
			left = append(left, image)
		}
	}
	if len(left) > 0 {
		s.AtEngine(append([]string{"rmi", "-f"}, left...)...)
	}
}

// has tells whether the engine has the image.
func (s shelf) has(image string) bool {
	return s.AtEngine("images", "-q", image) != ""
}

func whatOnePullsEverybodyUses(t *testing.T, s shelf, docker string) {
	lab.Contains(t, s.OK("alice", docker, "pull", s.first()),
		"1: Pulling from tools/busybox", "Pull complete", "Digest: sha256:", "Status: Downloaded newer image for "+s.first())
	lab.Contains(t, s.OK("bob", docker, "pull", s.first()), "Status: Image is up to date for "+s.first())
	for _, who := range []string{"alice", "bob"} {
		if got := s.OK(who, docker, "images", "--format", "{{.Repository}}:{{.Tag}}", s.registry.Image("tools/busybox")); got != s.first() {
			t.Errorf("%s sees the images %q, want %s", who, got, s.first())
		}
		s.OK(who, docker, "run", "-d", "--name", "web", "--gpus", "1", s.first(), "sleep", "1000")
		lab.CardNode(t, s.Lab, who, docker, "web")
		if got := s.OK(who, docker, "exec", "web", "stat", "-c", "%s", "/payload"); got != fmt.Sprint(4<<20) {
			t.Errorf("the layer that was pulled holds %s bytes", got)
		}
	}
}

func runPullsWhatIsntThere(t *testing.T, s shelf, docker string) {
	r := s.Run("alice", docker, "run", "--rm", "--gpus", "1", s.first(), "sh", "-c", "ls /dev | grep -c ^nvidia[0-9]")
	if r.Code != 0 || r.Out != "1" {
		t.Errorf("exit code %d, %s GPUs: %s", r.Code, r.Out, r.Err)
	}
	lab.Contains(t, r.Err, "Unable to find image '"+s.first()+"' locally", "Pull complete")
}

func anImageIsPulledByItsDigest(t *testing.T, s shelf, docker string) {
	_, digest, found := strings.Cut(s.OK("alice", docker, "pull", s.first()), "Digest: ")
	digest, _, _ = strings.Cut(digest, "\n")
	byDigest := s.registry.Image("tools/busybox@" + digest)
	if !found {
		t.Fatal("no digest is told")
	}
	s.clear()
	lab.Contains(t, s.OK("alice", docker, "pull", byDigest), "Status: Downloaded newer image for "+byDigest)
	if got := s.OK("bob", docker, "run", "--rm", byDigest, "echo", "runs"); got != "runs" {
		t.Errorf("it says %q", got)
	}
}

func aBuildPullsWhatItIsBuiltOn(t *testing.T, s shelf, docker string) {
	s.registry.Demand("alice", "rabbit")
	files := recipe("FROM "+s.first(), "RUN stat -c %s /payload")
	if r := builds(t, s.Lab, docker, "alice", files); r.Code == 0 || !strings.Contains(r.Err, "it isn't on this host, and ") {
		t.Errorf("without a login: exit code %d: %s %s", r.Code, r.Out, r.Err)
	}
	s.OK("alice", docker, "login", "-u", "alice", "-p", "rabbit", s.registry.Host())
	defer s.Run("alice", docker, "logout", s.registry.Host())
	lab.Contains(t, built(t, s.Lab, docker, "alice", files, "-t", "x"), "Pull complete", "Step 1/2 : FROM "+s.first(), fmt.Sprint(4<<20), "Successfully tagged x:latest")
	lab.Lacks(t, built(t, s.Lab, docker, "bob", files), "Pull complete")
	lab.Contains(t, built(t, s.Lab, docker, "alice", files, "--pull"), "Image is up to date for "+s.first())
	s.OK("alice", docker, "rmi", "x")
	for _, who := range []string{"alice", "bob"} {
		s.OK(who, docker, "image", "prune", "-f")
	}
}

// progressIsTold pulls in a terminal, where clients draw bars. The registry
// keeps half of the layer until the bar has been seen.
func progressIsTold(t *testing.T, s shelf, docker string) {
	goOn := s.registry.HoldUp()
	defer goOn()
	out, _ := lab.Background(t, s.Lab, "alice", "script", "-qec", "stty rows 40 cols 120; "+docker+" pull "+s.first(), "/dev/null")
	s.Eventually("the layer's bar is on its way", 20*time.Second, func() bool {
		return strings.Contains(out.String(), "Downloading [") && strings.Contains(out.String(), "B/4.19")
	})
	lab.Lacks(t, out.String(), "Downloaded newer image")
	goOn()
	s.Eventually("the pull ends", 20*time.Second, func() bool { return strings.Contains(out.String(), "Downloaded newer image for "+s.first()) })
}

func whatARegistryHasntGot(t *testing.T, s shelf, docker string) {
	for name, c := range map[string]struct {
		image string
		says  []string
	}{
		"a tag":      {s.registry.Image("tools/busybox:none"), []string{"manifest", s.registry.Image("tools/busybox:none"), "not found"}},
		"an image":   {s.registry.Image("tools/none:1"), []string{"repository", s.registry.Image("tools/none"), "not found"}},
		"a registry": {"127.0.0.1:1/tools/busybox:1", []string{"127.0.0.1:1", "connection refused"}},
		"a digest":   {s.registry.Image("tools/busybox@sha256:" + strings.Repeat("0", 64)), []string{"not found"}},
	} {
		r := s.Run("alice", docker, "pull", c.image)
		if r.Code != 1 || s.has(c.image) {
			t.Errorf("%s: exit code %d, image there: %t", name, r.Code, s.has(c.image))
		}
		lab.Contains(t, r.Err, c.says...)
	}
}

// logIn writes what docker login keeps.
func (s shelf) logIn(who, user, password string) {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	s.OK(who, "sh", "-c", fmt.Sprintf(`mkdir -p ~/.docker && echo '{"auths":{"%s":{"auth":"%s"}}}' >~/.docker/config.json`, s.registry.Host(), auth))
}

func aLoginServesWhoseItIs(t *testing.T, s shelf, docker string) {
	s.registry.Demand("lab", "s3cret")
	defer s.OK("alice", "rm", "-rf", ".docker")
	refused := func(who, image string, says ...string) {
		t.Helper()
		r := s.Run(who, docker, "pull", image)
		if r.Code != 1 || s.has(image) {
			t.Errorf("%s: exit code %d, image there: %t", who, r.Code, s.has(image))
		}
		lab.Contains(t, r.Err, says...)
	}
	refused("alice", s.first(), s.registry.Host(), "no basic auth credentials")
	s.logIn("alice", "lab", "wrong")
	refused("alice", s.first(), "unauthorized")
	s.logIn("alice", "lab", "s3cret")
	lab.Contains(t, s.OK("alice", docker, "pull", s.first()), "Downloaded newer image")
	if got := s.OK("bob", docker, "run", "--rm", s.first(), "echo", "runs"); got != "runs" {
		t.Errorf("bob's container says %q", got)
	}
	refused("bob", s.second(), s.registry.Host(), "no basic auth credentials")
	lab.Lacks(t, s.Log(), "s3cret", base64.StdEncoding.EncodeToString([]byte("lab:s3cret")))
}

// whoHangsUpEndsTheDownload hangs up in the middle of a layer. The engine
// notices at the layer's next bytes: 20.10 goes on waiting for those.
func whoHangsUpEndsTheDownload(t *testing.T, s shelf, docker string) {
	goOn := s.registry.HoldUp()
	defer goOn()
	_, hangUp := lab.Background(t, s.Lab, "alice", docker, "pull", s.first())
	s.Eventually("half of the layer is there", 20*time.Second, func() bool { return s.registry.HeldUp() == 1 })
	hangUp()
	s.Eventually("the gateway has nobody on the line", 10*time.Second, func() bool { return lab.Connections(t, s.Lab) == 0 })
	goOn()
	time.Sleep(time.Second) // enough for a pull that went on
	if s.has(s.first()) {
		t.Error("the image was pulled all the same")
	}
	lab.Contains(t, s.OK("alice", docker, "pull", s.first()), "Downloaded newer image")
	if got := s.OK("alice", docker, "run", "--rm", s.first(), "stat", "-c", "%s", "/payload"); got != fmt.Sprint(4<<20) {
		t.Errorf("the layer that was pulled again holds %s bytes", got)
	}
}

func whoHangsUpEndsNobodyElsesPull(t *testing.T, s shelf, docker string) {
	goOn := s.registry.HoldUp()
	defer goOn()
	_, hangUp := lab.Background(t, s.Lab, "alice", docker, "pull", s.first())
	s.Eventually("half of the layer is there", 20*time.Second, func() bool { return s.registry.HeldUp() == 1 })
	bob, _ := lab.Background(t, s.Lab, "bob", docker, "pull", s.first())
	s.Eventually("bob waits for the layer too", 20*time.Second, func() bool { return strings.Contains(bob.String(), "Pulling fs layer") })
	hangUp()
	s.Eventually("only bob is on the line", 10*time.Second, func() bool { return lab.Connections(t, s.Lab) == 1 })
	goOn()
	s.Eventually("bob has the image", 20*time.Second, func() bool { return strings.Contains(bob.String(), "Downloaded newer image for "+s.first()) })
	if got := s.OK("bob", docker, "run", "--rm", s.first(), "echo", "runs"); got != "runs" {
		t.Errorf("it says %q", got)
	}
}

// nothingIsPulledIntoPeoplesRepositories writes a name of bob's in every way
// that the engine would keep as his.
func nothingIsPulledIntoPeoplesRepositories(t *testing.T, s shelf, docker string) {
	name := fmt.Sprintf("ds01-%d/web", s.UID("bob"))
	for _, who := range []string{"alice", "bob"} {
		for _, prefix := range []string{"", "docker.io/", "index.docker.io/"} {
			r := s.Run(who, docker, "pull", prefix+name)
			if r.Code != 1 {
				t.Errorf("%s pulls %s: exit code %d", who, prefix+name, r.Code)
			}
			lab.Contains(t, r.Err, "names that begin with ds01-<uid>/ are people's own images")
			status, answer := s.Ask(who, "POST", "/images/create?tag=latest&fromImage="+prefix+name, "")
			if status != 403 {
				t.Errorf("%s asks for %s: status %d %s", who, prefix+name, status, answer)
			}
		}
	}
}
