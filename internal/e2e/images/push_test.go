package images_test

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// TestPush is how images go to a registry, under names that meet nobody's.
func TestPush(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, Admins: []string{"ada"}})
	for name, story := range map[string]func(*testing.T, shelf, string){
		"what one pushes another pulls":               whatOnePushesAnotherPulls,
		"a push moves no shared name":                 aPushMovesNoSharedName,
		"a login is for one push":                     aLoginIsForOnePush,
		"all tags of a repository are pushed":         allTagsArePushed,
		"a name without a registry is not pushed":     aNameWithoutARegistryIsNotPushed,
		"only the registries of the list are reached": onlyTheRegistriesOfTheList,
	} {
		t.Run(name, func(t *testing.T) {
			lab.EachClient(t, l, func(t *testing.T, docker string) {
				defer clearImages(l)
				story(t, shelf{l, l.StartRegistry()}, docker)
			})
		})
	}
}

// hers makes an image of alice's with a note in it, called by that name.
func hers(t *testing.T, s shelf, docker, note, name string) string {
	t.Helper()
	id := commits(t, s.Lab, docker, "alice", note)
	s.OK("alice", docker, "tag", "app:1", name)
	return id
}

func whatOnePushesAnotherPulls(t *testing.T, s shelf, docker string) {
	name := s.registry.Image("team/app:1")
	id := hers(t, s, docker, "pushed", name)
	lab.Contains(t, s.OK("alice", docker, "push", name), "The push refers to repository ["+s.registry.Image("team/app")+"]", "digest: sha256:")
	if got := listed(s.Lab, docker, "alice"); got != name+"\napp:1\nbusybox:latest" {
		t.Errorf("alice sees %q", got)
	}
	if r := s.Run("bob", docker, "inspect", id); r.Code == 0 {
		t.Errorf("bob sees what alice pushed: %s", r.Out)
	}
	if s.has(name) || s.has(s.registry.Image("team/app")) || strings.Contains(s.AtEngine("images", "--digests"), "sha256:") {
		t.Errorf("the push left a name: %s", s.AtEngine("images", "--digests"))
	}
	s.OK("bob", docker, "pull", name)
	if got := s.OK("bob", docker, "run", "--rm", name, "cat", "/note"); got != "pushed" {
		t.Errorf("bob's copy says %q", got)
	}
	s.OK("alice", docker, "push", name) // everybody knows it by that name now
	if !s.has(name) {
		t.Error("a push took the shared name away")
	}
}

func aPushMovesNoSharedName(t *testing.T, s shelf, docker string) {
	name := s.registry.Image("team/app:1")
	hers(t, s, docker, "one", name)
	s.OK("alice", docker, "push", name)
	s.OK("bob", docker, "pull", name)
	hers(t, s, docker, "two", name)
	r := s.Run("alice", docker, "push", name)
	if r.Code == 0 {
		t.Error("alice pushes over a shared name")
	}
	lab.Contains(t, r.Err, "another image has that name on this host", "Push under another tag")
	if got := s.OK("bob", docker, "run", "--rm", name, "cat", "/note"); got != "one" {
		t.Errorf("bob's copy says %q", got)
	}
	if got := s.OK("alice", docker, "run", "--rm", name, "cat", "/note"); got != "two" {
		t.Errorf("alice's own says %q", got)
	}
	s.OK("ada", docker, "rmi", name)
	s.OK("alice", docker, "push", name)
}

func aLoginIsForOnePush(t *testing.T, s shelf, docker string) {
	name := s.registry.Image("team/app:1")
	hers(t, s, docker, "one", name)
	s.registry.Demand("alice", "rabbit")
	if r := s.Run("alice", docker, "push", name); r.Code == 0 {
		t.Error("alice pushes without a login")
	}
	if r := s.Run("alice", docker, "login", "-u", "alice", "-p", "wrong", s.registry.Host()); r.Code == 0 {
		t.Error("a wrong password logs in")
	}
	lab.Contains(t, s.OK("alice", docker, "login", "-u", "alice", "-p", "rabbit", s.registry.Host()), "Login Succeeded")
	s.OK("alice", docker, "push", name)
	if r := s.Run("bob", docker, "pull", name); r.Code == 0 {
		t.Error("bob pulls with alice's login")
	}
	lab.Lacks(t, s.Log(), "rabbit", "wrong")
	s.OK("alice", docker, "logout", s.registry.Host())
}

func allTagsArePushed(t *testing.T, s shelf, docker string) {
	hers(t, s, docker, "one", s.registry.Image("team/app:1"))
	hers(t, s, docker, "two", s.registry.Image("team/app:2"))
	lab.Contains(t, s.OK("alice", docker, "push", "-a", s.registry.Image("team/app")), "1: digest:", "2: digest:")
	for tag, note := range map[string]string{"1": "one", "2": "two"} {
		if got := s.OK("bob", docker, "run", "--rm", s.registry.Image("team/app:"+tag), "cat", "/note"); got != note {
			t.Errorf("%s says %q", tag, got)
		}
	}
}

func aNameWithoutARegistryIsNotPushed(t *testing.T, s shelf, docker string) {
	commits(t, s.Lab, docker, "alice", "one")
	for _, name := range []string{"app:1", fmt.Sprintf("ds01-%d/app:1", s.UID("alice"))} {
		r := s.Run("alice", docker, "push", name)
		if r.Code == 0 {
			t.Errorf("%s is pushed", name)
		}
		lab.Contains(t, r.Err, "says no registry", "docker tag "+name+" HOST[:PORT]/NAME:TAG")
	}
	if r := s.Run("bob", docker, "push", s.registry.Image("app:1")); r.Code == 0 {
		t.Error("bob pushes what he hasn't got")
	}
}

func onlyTheRegistriesOfTheList(t *testing.T, s shelf, docker string) {
	name := s.registry.Image("team/app:1")
	hers(t, s, docker, "one", name)
	config := s.Config()
	defer func() {
		s.Write("etc/ds01/ds01.yaml", config)
		s.Reload()
	}()
	s.Write("etc/ds01/ds01.yaml", strings.Replace(config, "images: {", "images: {registries: [docker.io], ", 1))
	s.Reload()
	for _, words := range [][]string{{"push", name}, {"pull", name}, {"login", "-u", "a", "-p", "b", s.registry.Host()}, {"search", s.registry.Image("x")}} {
		r := s.Run("alice", append([]string{docker}, words...)...)
		if r.Code == 0 || !strings.Contains(r.Err, "not one that this host uses") {
			t.Errorf("%s: %d %s", words[0], r.Code, r.Err)
		}
	}
	if status, answer := s.Ask("alice", "GET", "/distribution/"+name+"/json", ""); status != 403 {
		t.Errorf("distribution: %d %s", status, answer)
	}
}

// TestAKillInMidPushShowsNothingToOthers kills the daemon while the engine
// knows alice's image by a name that would be everybody's.
func TestAKillInMidPushShowsNothingToOthers(t *testing.T) {
	l := start(t, lab.Options{Users: []string{"alice", "bob"}, Proxy: true})
	s := shelf{l, l.StartRegistry()}
	name := s.registry.Image("team/app:1")
	id := hers(t, s, lab.Debian, "hers", name)
	l.Proxy.Decide(func(r *http.Request) lab.Fate {
		if strings.HasSuffix(r.URL.Path, "/push") {
			return lab.Fate{Delay: time.Minute, LoseReply: true}
		}
		return lab.Fate{}
	})
	lab.Background(t, l, "alice", lab.Debian, "push", name)
	l.Eventually("the engine knows the registry's name", 20*time.Second, func() bool { return s.has(name) })
	l.EndDaemon(syscall.SIGKILL)
	l.Proxy.Decide(nil)
	l.StartDaemon()
	for _, reference := range []string{name, id} {
		if r := l.Run("bob", lab.Debian, "image", "inspect", reference); r.Code == 0 {
			t.Errorf("bob finds %s: %s", reference, l.AtEngine("image", "inspect", "-f", "{{.RepoTags}} {{.RepoDigests}}", id))
		}
	}
	l.Eventually("the registry's name is gone", patience, func() bool { return !s.has(name) })
	if got := l.OK("alice", lab.Debian, "run", "--rm", name, "cat", "/note"); got != "hers" {
		t.Errorf("alice's image says %q", got)
	}
}
