package images_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestImages is what people make of images, and how they never meet: the
// stories share a lab, and each leaves it with the shared busybox only.
func TestImages(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, Admins: []string{"ada"}})
	busybox := l.AtEngine("inspect", "-f", "{{.Id}}", "busybox")
	for name, story := range map[string]func(*testing.T, *lab.Lab, string){
		"two people follow one tutorial":             twoPeopleFollowOneTutorial,
		"another person's image is not there":        anotherPersonsImageIsNotThere,
		"a shared name is moved by no one":           aSharedNameIsMovedByNoOne,
		"an image without a name is whose it is":     anImageWithoutANameIsWhoseItIs,
		"one tar of two people is one image of both": oneTarOfTwoPeople,
		"an import is one's own":                     anImportIsOnesOwn,
		"administrators share, tag and remove":       administratorsShareTagAndRemove,
		"events of images reach their owners":        eventsOfImagesReachTheirOwners,
		"a run is of what the name means now":        aRunIsOfWhatTheNameMeansNow,
	} {
		t.Run(name, func(t *testing.T) {
			lab.EachClient(t, l, func(t *testing.T, docker string) {
				defer clearImages(l)
				story(t, l, docker)
				if now := l.AtEngine("inspect", "-f", "{{.Id}}", "busybox"); now != busybox {
					t.Errorf("busybox is %s now, was %s", now, busybox)
				}
			})
		})
	}
}

// clearImages removes every container, and every image but busybox.
func clearImages(l *lab.Lab) {
	l.ClearAll()
	for {
		var others []string
		for line := range strings.Lines(l.AtEngine("images", "-a", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}")) {
			if f := strings.Fields(line); len(f) == 2 && f[1] != "busybox:latest" {
				others = append(others, f[0])
				if f[1] != "<none>:<none>" {
					others[len(others)-1] = f[1]
				}
			}
		}
		if len(others) == 0 {
			return
		}
		l.AtEngine("rmi", "-f", others[len(others)-1], others[0])
	}
}

// commits makes a container that leaves a note, and an image of it.
func commits(t *testing.T, l *lab.Lab, docker, who, note string, words ...string) string {
	t.Helper()
	l.OK(who, docker, "run", "--name", "work", "busybox", "sh", "-c", "echo "+note+" > /note")
	id := l.OK(who, append([]string{docker, "commit"}, append(words, "work", "app:1")...)...)
	l.OK(who, docker, "rm", "work")
	return id
}

// listed is what a person's list of images says, sorted: those that were made in
// the same second come in any order.
func listed(l *lab.Lab, docker, who string) string {
	return l.OK(who, "sh", "-c", docker+" images --format '{{.Repository}}:{{.Tag}}' | LC_ALL=C sort")
}

func twoPeopleFollowOneTutorial(t *testing.T, l *lab.Lab, docker string) {
	for _, who := range []string{"alice", "bob"} {
		commits(t, l, docker, who, who, "--change", `CMD ["cat","/note"]`, "-c", "LABEL course=ml", "-m", "first")
	}
	for _, who := range []string{"alice", "bob"} {
		if got := listed(l, docker, who); got != "app:1\nbusybox:latest" {
			t.Errorf("%s sees %q", who, got)
		}
		if got := l.OK(who, docker, "run", "--rm", "app:1"); got != who {
			t.Errorf("%s's app is %s's", who, got)
		}
		if got := l.OK(who, docker, "inspect", "-f", "{{.RepoTags}} {{.Config.Labels.course}}", "app:1"); got != "[app:1] ml" {
			t.Errorf("%s inspects %s", who, got)
		}
		lab.Contains(t, l.OK(who, docker, "history", "app:1"), "first")
		l.OK(who, docker, "run", "-d", "--name", "web", "app:1", "sleep", "1000")
		if got := l.OK(who, docker, "ps", "--format", "{{.Image}}", "--filter", "ancestor=app:1"); got != "app:1" {
			t.Errorf("%s's container is of %q", who, got)
		}
		l.OK(who, docker, "rm", "-f", "web")
		file := filepath.Join(l.Home(who), "app.tar")
		l.OK(who, docker, "save", "-o", file, "app:1")
		lab.Contains(t, l.OK(who, "tar", "-xOf", file, "manifest.json"), `"app:1"`)
		lab.Lacks(t, l.OK(who, "tar", "-xOf", file, "manifest.json"), "ds01-")
		l.OK(who, docker, "rmi", "app:1")
	}
	if got := l.AtEngine("images", "-aq"); len(strings.Fields(got)) != 1 {
		t.Errorf("left at the engine: %s", got)
	}
	for _, who := range []string{"alice", "bob"} {
		lab.Contains(t, l.OK(who, docker, "load", "-i", filepath.Join(l.Home(who), "app.tar")), "Loaded image: app:1")
		l.OK(who, docker, "tag", "app:1", "team/app:2")
		if got := l.OK(who, docker, "run", "--rm", "team/app:2"); got != who {
			t.Errorf("%s's app is %s's after a load", who, got)
		}
	}
	lab.Contains(t, l.OK("alice", docker, "image", "prune", "-a", "-f"), "untagged: app:1", "untagged: team/app:2", "deleted: sha256:", "Total reclaimed space")
	if got := listed(l, docker, "alice"); got != "busybox:latest" {
		t.Errorf("alice sees %q after pruning", got)
	}
	if got := listed(l, docker, "bob"); !strings.Contains(got, "app:1") {
		t.Errorf("bob sees %q after alice pruned", got)
	}
}

// Root may move names past ds01, which it hears of when a container is made already.
func aRunIsOfWhatTheNameMeansNow(t *testing.T, l *lab.Lab, docker string) {
	for _, version := range []string{"one", "two"} {
		l.AtEngine("run", "--network", "none", "--name", "made", "busybox", "sh", "-c", "echo "+version+" > /version")
		l.AtEngine("commit", "--change", `CMD ["cat","/version"]`, "made", "tool:"+version)
		l.AtEngine("rm", "made")
	}
	run := []string{docker, "run", "--rm", "--gpus", "1", "tool"}
	for range 3 {
		for _, version := range []string{"one", "two"} {
			l.AtEngine("tag", "tool:"+version, "tool")
			for range 2 {
				if got := l.OK("alice", run...); got != version {
					t.Errorf("it is of %q, not of %q", got, version)
				}
			}
		}
	}
	l.AtEngine("rmi", "tool")
	if status, answer := l.Ask("alice", "POST", "/containers/create", `{"Image":"tool"}`); status != http.StatusNotFound || !strings.Contains(answer, "No such image: tool") {
		t.Errorf("without the image: %d, %s", status, answer)
	}
	if left := l.AtEngine("ps", "-aq") + l.OK("alice", docker, "ps", "-aq"); left != "" || len(l.Containers()) > 0 {
		t.Errorf("left: %q, %v", left, l.Containers())
	}
}

func anotherPersonsImageIsNotThere(t *testing.T, l *lab.Lab, docker string) {
	id := commits(t, l, docker, "alice", "secret")
	uid := l.UID("alice")
	unknown := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for kind, reference := range map[string]string{
		"name": "app:1", "full name": fmt.Sprintf("ds01-%d/app:1", uid), "name at Docker Hub": fmt.Sprintf("docker.io/ds01-%d/app:1", uid),
		"other name at Docker Hub": fmt.Sprintf("index.docker.io/ds01-%d/app:1", uid),
		"id":                       id, "id without its kind": id[7:], "short id": id[7:19], "prefix": id[7:14],
	} {
		for _, words := range [][]string{
			{"image", "inspect"},
			{"history"},
			{"tag", "REF", "stolen:1"},
			{"rmi"},
			{"save", "-o", filepath.Join(l.Home("bob"), "x.tar")},
			{"run", "--rm", "--pull", "never"},
			{"create", "--pull", "never"},
		} {
			line := append([]string{docker}, words...)
			if len(words) == 3 && words[1] == "REF" {
				line[2] = reference
			} else {
				line = append(line, reference)
			}
			if r := l.Run("bob", line...); r.Code == 0 || !strings.Contains(r.Err, "No such") {
				t.Errorf("%s by its %s: exit code %d: %s", words[0], kind, r.Code, r.Err)
			}
		}
		for _, ask := range [][2]string{{"GET", "/json"}, {"GET", "/history"}, {"GET", "/get"}, {"POST", "/tag?repo=stolen&tag=1"}, {"DELETE", ""}, {"DELETE", "?force=1"}} {
			_, control := l.Ask("bob", ask[0], "/images/"+unknown+ask[1], "")
			status, answer := l.Ask("bob", ask[0], "/images/"+reference+ask[1], "")
			if status != 404 || answer != strings.ReplaceAll(control, unknown, reference) {
				t.Errorf("%s %s by its %s: %d %s", ask[0], ask[1], kind, status, answer)
			}
		}
	}
	for _, list := range []string{"/images/json?all=1", "/images/json?all=1&filters=" + `%7B%22dangling%22%3A%5B%22true%22%5D%7D`, "/images/json?digests=1"} {
		_, answer := l.Ask("bob", "GET", list, "")
		lab.Lacks(t, answer, id, "app:1", fmt.Sprint(uid))
	}
	l.OK("bob", docker, "image", "prune", "-a", "-f")
	if got := l.OK("alice", docker, "run", "--rm", "app:1", "cat", "/note"); got != "secret" {
		t.Errorf("alice's image says %q", got)
	}
	if r := l.Run("bob", docker, "images", "--filter", "since="+id); r.Code == 0 {
		t.Errorf("bob's list is ordered by alice's image: %s", r.Out)
	}
}

func aSharedNameIsMovedByNoOne(t *testing.T, l *lab.Lab, docker string) {
	evil := filepath.Join(l.Home("alice"), "evil.tar")
	l.OK("alice", docker, "run", "--name", "work", "busybox", "touch", "/evil")
	l.OK("alice", docker, "commit", "work", "busybox:latest")
	l.OK("alice", docker, "tag", "busybox:latest", "docker.io/library/busybox:latest")
	l.OK("alice", docker, "save", "-o", evil, "busybox:latest")
	l.OK("alice", docker, "rmi", "busybox:latest")
	l.OK("alice", docker, "load", "-i", evil)
	l.OK("alice", "sh", "-c", "gzip -k -f evil.tar && "+docker+" load < evil.tar.gz")
	l.OK("alice", "sh", "-c", docker+" export work 2>/dev/null || tar -cf - evil.tar | "+docker+" import - busybox:latest")
	if got := l.OK("bob", docker, "run", "--rm", "busybox", "sh", "-c", "ls /evil* 2>/dev/null; echo clean"); got != "clean" {
		t.Errorf("bob's busybox has %s", got)
	}
	if r := l.Run("alice", docker, "rmi", "-f", l.AtEngine("inspect", "-f", "{{.Id}}", "busybox:latest")); r.Code == 0 || !strings.Contains(r.Err, "administrators") {
		t.Errorf("alice removes the shared image: %d %s %s", r.Code, r.Out, r.Err)
	}
	uid := l.UID("bob")
	for _, target := range []string{fmt.Sprintf("ds01-%d/app:1", uid), fmt.Sprintf("docker.io/ds01-%d/app:1", uid)} {
		if r := l.Run("alice", docker, "tag", "busybox", target); r.Code == 0 {
			t.Errorf("alice names an image %s", target)
		}
		if r := l.Run("alice", docker, "commit", "work", target); r.Code == 0 {
			t.Errorf("alice commits %s", target)
		}
		if r := l.Run("alice", "sh", "-c", "tar -cf - evil.tar | "+docker+" import - "+target); r.Code == 0 {
			t.Errorf("alice imports %s", target)
		}
	}
	l.OK("alice", "sh", "-c", fmt.Sprintf(`mkdir -p t && tar -C t -xf evil.tar && sed -i 's|busybox:latest|ds01-%d/app:1|' t/manifest.json && tar -C t -cf forged.tar .`, uid))
	if r := l.Run("alice", docker, "load", "-i", "forged.tar"); r.Code == 0 || !strings.Contains(r.Err, "a person's own repository") {
		t.Errorf("alice loads bob's name: %d %s %s", r.Code, r.Out, r.Err)
	}
	l.OK("alice", "sh", "-c", `sed -i 's|ds01-[0-9]*/app:1|docker.io/library/busybox:latest|' t/manifest.json && mv t/manifest.json t/real && ln -s real t/manifest.json && tar -C t -cf linked.tar .`)
	if r := l.Run("alice", docker, "load", "-i", "linked.tar"); r.Code == 0 || !strings.Contains(r.Err, "is a link") {
		t.Errorf("alice loads a manifest that is a link: %d %s %s", r.Code, r.Out, r.Err)
	}
	l.OK("alice", docker, "rm", "work")
}

func anImageWithoutANameIsWhoseItIs(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", docker, "run", "--name", "work", "busybox", "touch", "/mine")
	id := l.OK("alice", docker, "commit", "work")
	if got := l.OK("alice", docker, "images", "-q", "--no-trunc", "--filter", "dangling=true"); got != id {
		t.Errorf("alice sees %q without a name, want %s", got, id)
	}
	if got := l.OK("bob", docker, "images", "-aq", "--no-trunc", "--filter", "dangling=true"); got != "" {
		t.Errorf("bob sees %q", got)
	}
	l.OK("alice", docker, "run", "--rm", id[7:19], "ls", "/mine")
	l.OK("bob", docker, "image", "prune", "-f")
	l.OK("alice", docker, "image", "inspect", id)
	l.OK("alice", docker, "rm", "work")
	lab.Contains(t, l.OK("alice", docker, "image", "prune", "-f"), "deleted: "+id)
	l.OK("alice", docker, "run", "--name", "work", "busybox", "touch", "/mine")
	first := l.OK("alice", docker, "commit", "work", "app")
	second := l.OK("alice", docker, "commit", "-m", "again", "work", "app")
	if got := l.OK("alice", docker, "images", "-q", "--no-trunc", "--filter", "dangling=true"); got != first {
		t.Errorf("alice's first image is %q, want %s beside %s", got, first, second)
	}
	l.OK("alice", docker, "rm", "work")
}

func oneTarOfTwoPeople(t *testing.T, l *lab.Lab, docker string) {
	id := commits(t, l, docker, "alice", "one")
	tar := filepath.Join(l.Home("alice"), "one.tar")
	l.OK("alice", docker, "save", "-o", tar, "app:1")
	l.OK("root", "cp", tar, filepath.Join(l.Home("bob"), "one.tar"))
	l.OK("root", "chmod", "a+r", filepath.Join(l.Home("bob"), "one.tar"))
	lab.Contains(t, l.OK("bob", docker, "load", "-i", "one.tar"), "Loaded image: app:1")
	for _, who := range []string{"alice", "bob"} {
		if got := l.OK(who, docker, "inspect", "-f", "{{.Id}} {{.RepoTags}}", "app:1"); got != id+" [app:1]" {
			t.Errorf("%s inspects %s", who, got)
		}
	}
	l.OK("alice", docker, "rmi", id)
	if r := l.Run("alice", docker, "inspect", id); r.Code == 0 {
		t.Error("alice has the image still")
	}
	if got := l.OK("bob", docker, "run", "--rm", "app:1", "cat", "/note"); got != "one" {
		t.Errorf("bob's image says %q", got)
	}
	l.OK("alice", docker, "load", "-i", "one.tar")
	l.OK("bob", docker, "tag", "busybox", "app:1") // his own has no name now
	lab.Contains(t, l.OK("alice", docker, "rmi", "app:1"), "Untagged: app:1")
	if got := l.OK("bob", docker, "run", "--rm", id, "cat", "/note"); got != "one" {
		t.Errorf("bob's image says %q", got)
	}
}

func anImportIsOnesOwn(t *testing.T, l *lab.Lab, docker string) {
	l.OK("alice", "sh", "-c", "mkdir -p r/bin && cp /bin/busybox r/bin/sh && tar -C r -cf r.tar .")
	id := l.OK("alice", docker, "import", "--change", "ENV A=b", "--message", "made", "r.tar", "tiny:1")
	if got := l.OK("alice", docker, "run", "--rm", "tiny:1", "sh", "-c", "echo $A"); got != "b" {
		t.Errorf("it says %q", got)
	}
	if r := l.Run("bob", docker, "inspect", id); r.Code == 0 {
		t.Error("bob sees it")
	}
	for _, change := range []string{"LABEL aime.mlc.USER=bob", "ONBUILD RUN true", "WORKDIR /proc/self/fd/8", "RUN true", `LABEL "aime.mlc"=x`} {
		r := l.Run("alice", docker, "import", "--change", change, "r.tar", "tiny:2")
		if r.Code == 0 || !strings.Contains(r.Err, "ds01: ") {
			t.Errorf("%s: %d %s", change, r.Code, r.Err)
		}
	}
	if r := l.Run("alice", docker, "import", "http://169.254.169.254/x.tar", "tiny:3"); r.Code == 0 || !strings.Contains(r.Err, "fetches nothing from addresses") {
		t.Errorf("an address: %d %s", r.Code, r.Err)
	}
}

func administratorsShareTagAndRemove(t *testing.T, l *lab.Lab, docker string) {
	id := commits(t, l, docker, "alice", "hers")
	full := fmt.Sprintf("ds01-%d/app:1", l.UID("alice"))
	if got := l.OK("ada", docker, "inspect", "-f", "{{.RepoTags}}", full); got != "["+full+"]" {
		t.Errorf("ada inspects %s", got)
	}
	l.OK("ada", docker, "tag", full, "base:1")
	if got := l.OK("bob", docker, "run", "--rm", "base:1", "cat", "/note"); got != "hers" {
		t.Errorf("base says %q", got)
	}
	if r := l.Run("bob", docker, "rmi", "base:1"); r.Code == 0 {
		t.Error("bob removes base:1")
	}
	l.OK("ada", docker, "rmi", "base:1")
	if r := l.Run("bob", docker, "inspect", id); r.Code == 0 {
		t.Error("bob sees it still")
	}
	l.OK("ada", docker, "image", "prune", "-f")
	l.OK("alice", docker, "inspect", "app:1")
}

func eventsOfImagesReachTheirOwners(t *testing.T, l *lab.Lab, docker string) {
	since := l.OK("root", "date", "+%s.%N")
	id := commits(t, l, docker, "alice", "hers")
	l.OK("alice", docker, "tag", "app:1", "app:2")
	const format = "{{.Type}} {{.Action}} {{.Actor.ID}} {{.Actor.Attributes.name}} {{.Actor.Attributes.image}}"
	l.OK("alice", docker, "run", "-d", "--name", "web", "app:2", "sleep", "1000")
	until := l.OK("root", "date", "+%s.%N")
	hers := l.OK("alice", docker, "events", "--since", since, "--until", until, "--format", format)
	lab.Contains(t, hers, "image tag "+id+" app:1", "image tag "+id+" app:2", "web app:2")
	lab.Lacks(t, hers, "ds01-")
	lab.Lacks(t, l.OK("bob", docker, "events", "--since", since, "--until", until, "--format", format), id, "app:")
	only := l.OK("alice", docker, "events", "--since", since, "--until", until, "--format", format, "--filter", "image=app:2")
	lab.Contains(t, only, "app:2")
	lab.Contains(t, only, "container start")
	lab.Lacks(t, only, "work")
}
