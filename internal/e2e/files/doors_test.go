package files_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/directory/scratchuser"
	"ds01.dev/ds01/internal/e2e/lab"
)

// sock is where docker clients look for their socket.
const sock = "/var/run/docker.sock"

// door is how people ask for it.
const door = sock + ":" + sock

// TestDoors is what a container may ask for its owner, and nobody else for it,
// on either kind of engine.
func TestDoors(t *testing.T) {
	for mode, plain := range lab.Modes() {
		t.Run(mode, func(t *testing.T) {
			l := start(t, lab.Options{Plain: plain, Admins: []string{"ada"}, Keeper: true})
			l.LoadClient("client")
			for name, story := range doorStories(plain) {
				t.Run(name, func(t *testing.T) { alone(t, l, story); noDoors(t, l) })
			}
		})
	}
}

// doorStories returns what is tried of doors: where the kind of engine makes a
// difference, on both.
func doorStories(plain bool) map[string]func(*testing.T, *lab.Lab) {
	stories := map[string]func(*testing.T, *lab.Lab){
		"a container speaks for its owner":      aContainerSpeaksForItsOwner,
		"a door is one container's":             aDoorIsOneContainers,
		"files beside a door are their owner's": filesBesideADoor,
	}
	if !plain {
		maps.Copy(stories, map[string]func(*testing.T, *lab.Lab){
			"no container administers":           noContainerAdministers,
			"a door ends with its container":     aDoorEndsWithItsContainer,
			"who has left the group is refused":  whoHasLeftTheGroupIsRefused,
			"a door outlives a restart of ds01":  aDoorOutlivesARestart,
			"other ways to a socket are refused": otherWaysToASocketAreRefused,
		})
	}
	return stories
}

// doors returns the sockets that there are for containers.
func doors(t *testing.T, l *lab.Lab) (paths []string) {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(l.Root, "run/ds01/doors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		paths = append(paths, filepath.Join(l.Root, "run/ds01/doors", e.Name()))
	}
	return paths
}

func noDoors(t *testing.T, l *lab.Lab) {
	t.Helper()
	l.Eventually("no container's socket is left", 10*time.Second, func() bool { return len(doors(t, l)) == 0 })
}

func aContainerSpeaksForItsOwner(t *testing.T, l *lab.Lab) {
	l.OK("bob", "docker", "run", "-d", "--name", "his", "busybox", "sleep", "1000")
	for mount, user := range map[string]string{
		"type=bind,source=" + sock:                       "0",
		"type=bind,readonly,source=/run/docker.sock":     "4242:4242",
		"type=bind,readonly,source=" + l.GatewaySocket(): "0",
	} {
		out := l.OK("alice", "docker", "run", "--rm", "--name", "box", "--user", user, "--mount", mount+",target="+sock, "client", "docker", "ps", "-a", "--format", "{{.Names}}")
		if out != "box" {
			t.Errorf("%s as %s: it sees %q", mount, user, out)
		}
	}
	// what it makes is its owner's, and has a door in its turn
	l.OK("alice", "docker", "run", "-d", "--name", "box", "-v", door, "client", "sleep", "1000")
	l.OK("alice", "docker", "exec", "box", "docker", "run", "-d", "--name", "child", "-v", door, "client", "sleep", "1000")
	if got := l.OK("alice", "docker", "exec", "child", "docker", "ps", "--format", "{{.Names}}"); got != "child\nbox" {
		t.Errorf("%q", got)
	}
	shown := l.OK("alice", "docker", "inspect", "-f", "{{range .Mounts}}{{.Source}} {{.Destination}}{{end}} {{index .Config.Labels \"aime.mlc.DS01_UID\"}}", "child")
	if want := fmt.Sprint(sock, " ", sock, " ", l.UID("alice")); shown != want {
		t.Errorf("%q, not %q", shown, want)
	}
	// its limits and folders are its owner's too
	lab.Contains(t, l.Docker("alice", "exec", "box", "docker", "run", "--rm", "-v", "/etc:/e", "busybox", "true").Err, "it doesn't lie in a folder that you may mount from")
	lab.Contains(t, l.Docker("alice", "exec", "box", "docker", "rm", "-f", l.EngineName("bob", "his")).Err, "No such container")
	lab.Contains(t, l.Read("var/log/ds01/audit.jsonl"), fmt.Sprintf(`"through":%q`, l.OK("alice", "docker", "inspect", "-f", "{{.Id}}", "box")))
	l.OK("alice", "docker", "exec", "box", "docker", "rm", "-f", "child")
}

func noContainerAdministers(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "hers", "busybox", "sleep", "1000")
	l.OK("ada", "docker", "run", "-d", "--name", "box", "-v", door, "client", "sleep", "1000")
	hers := l.EngineName("alice", "hers")
	lab.Contains(t, l.OK("ada", "docker", "ps", "--format", "{{.Names}}"), hers)
	for range 2 { // the second answer may be supposed by the first
		if got := l.OK("ada", "docker", "exec", "box", "docker", "ps", "--format", "{{.Names}}"); got != "box" {
			t.Errorf("it sees %q", got)
		}
	}
	for _, words := range [][]string{{"inspect", hers}, {"exec", hers, "id"}, {"rm", hers}, {"logs", hers}} {
		r := l.Docker("ada", append([]string{"exec", "box", "docker"}, words...)...)
		if r.Code == 0 {
			t.Errorf("%v: %s", words, r.Out)
		}
	}
	lab.Contains(t, l.Docker("root", "run", "--rm", "-v", door, "client", "true").Err, "it would speak for root")
}

// curl asks for containers at a socket.
func curl(socket string) []string {
	return []string{"curl", "-s", "--max-time", "5", "--unix-socket", socket, "http://docker/containers/json"}
}

func aDoorIsOneContainers(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "box", "-v", door, "client", "sleep", "1000")
	all := doors(t, l)
	if len(all) != 1 {
		t.Fatal(all)
	}
	for _, who := range []string{"alice", "bob"} {
		if r := l.Run(who, curl(all[0])...); r.Code == 0 {
			t.Errorf("%s gets to the socket by its path: %s", who, r.Out)
		}
		lab.Contains(t, l.Docker(who, "run", "--rm", "-v", all[0]+":"+sock, "client", "true").Err, "can't be mounted")
	}
	// who reaches it all the same is no process of that container: not even root, nor another of hers
	lab.Contains(t, l.OK("root", curl(all[0])...), "this socket is another container's")
	pid := strings.Fields(l.AtEngine("inspect", "-f", "{{.State.Pid}}", l.EngineName("alice", "box")))[0]
	lab.Contains(t, l.OK("root", curl("/proc/"+pid+"/root"+sock)...), "this socket is another container's")
	l.OK("alice", "docker", "run", "-d", "--name", "other", "client", "sleep", "1000")
	other := l.AtEngine("inspect", "-f", "{{.State.Pid}}", l.EngineName("alice", "other"))
	lab.Contains(t, l.OK("root", "sh", "-c", "echo $$ >/sys/fs/cgroup/"+groupOf(t, other)+"; exec \"$@\"", "sh", "curl", "-s", "--unix-socket", all[0], "http://docker/containers/json"), "this socket is another container's")
}

// groupOf returns the file that puts a process into another's control group, in
// a hierarchy of the host's.
func groupOf(t *testing.T, pid string) string {
	t.Helper()
	data, err := os.ReadFile("/proc/" + pid + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if f[1] == "pids" || f[0] == "0" && len(data) == len(line) {
			return filepath.Join(f[1], f[2], "cgroup.procs")
		}
	}
	t.Fatalf("no group in %s", data)
	return ""
}

func aDoorEndsWithItsContainer(t *testing.T, l *lab.Lab) {
	l.OK("alice", "docker", "run", "-d", "--name", "box", "-v", door, "client", "sleep", "1000")
	for range 2 {
		l.OK("alice", "docker", "exec", "box", "docker", "ps")
		l.OK("alice", "docker", "restart", "-t", "0", "box")
	}
	l.OK("alice", "docker", "exec", "box", "docker", "ps")
	path := doors(t, l)[0]
	l.OK("alice", "docker", "stop", "-t", "0", "box")
	noDoors(t, l)
	if r := l.Run("root", curl(path)...); r.Code == 0 {
		t.Errorf("somebody answers: %s", r.Out)
	}
	l.OK("alice", "docker", "start", "box")
	l.OK("alice", "docker", "exec", "box", "docker", "ps")
	l.OK("alice", "docker", "cp", "box:/bin/busybox", "-")
	l.OK("alice", "docker", "exec", "box", "docker", "ps")    // a copy takes nothing away
	l.Docker("alice", "exec", "box", "docker", "kill", "box") // the command ends with it
	noDoors(t, l)
}

func whoHasLeftTheGroupIsRefused(t *testing.T, l *lab.Lab) {
	l.OK("carol", "docker", "run", "-d", "--name", "box", "-v", door, "client", "sh", "-c", "while sleep 0.2; do docker ps 2>&1; done")
	l.Eventually("carol's container is answered", 10*time.Second, func() bool {
		return strings.Contains(l.OK("carol", "docker", "logs", "box"), "box")
	})
	groups := strings.Fields(l.OK("carol", "id", "-Gn"))[1:] // the first is her own
	if err := scratchuser.SetGroups(context.Background(), l.Login("carol")); err != nil {
		t.Fatal(err)
	}
	l.Eventually("it is refused", 10*time.Second, func() bool {
		return strings.Contains(l.AtEngine("logs", "--tail", "3", l.EngineName("carol", "box")), "isn't in the group for container users")
	})
	if err := scratchuser.SetGroups(context.Background(), l.Login("carol"), groups...); err != nil {
		t.Fatal(err)
	}
	l.OK("carol", "docker", "rm", "-f", "box")
}

func aDoorOutlivesARestart(t *testing.T, l *lab.Lab) {
	for _, name := range []string{"box", "ends"} {
		l.OK("alice", "docker", "run", "-d", "--name", name, "-v", door, "client", "sleep", "1000")
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		l.EndDaemon(signal)
		l.StartDaemon()
		if got := l.OK("alice", "docker", "exec", "box", "docker", "ps", "--format", "{{.Names}}"); !strings.Contains(got, "box") {
			t.Errorf("after %v: %q", signal, got)
		}
	}
	l.EndDaemon(syscall.SIGKILL)
	l.AtEngine("kill", l.EngineName("alice", "ends"))
	l.StartDaemon()
	l.Eventually("who ended meanwhile has no socket", 10*time.Second, func() bool { return len(doors(t, l)) == 1 })
	l.OK("alice", "docker", "exec", "box", "docker", "start", "ends")
	l.OK("alice", "docker", "exec", "ends", "docker", "ps")
}

func otherWaysToASocketAreRefused(t *testing.T, l *lab.Lab) {
	home := l.Home("alice")
	l.OK("alice", "ln", "-sfn", l.GatewaySocket(), filepath.Join(home, "link.sock"))
	for _, source := range []string{
		filepath.Join(home, "link.sock"), "/proc/1/root" + sock, "/proc/self/root" + l.GatewaySocket(), filepath.Dir(l.GatewaySocket()), "/var/run",
		filepath.Join(l.Root, "run/ds01"), filepath.Join(l.Root, "run/ds01/ds01.sock"), filepath.Join(l.Root, "run/ds01/engine.sock"), filepath.Join(l.Root, "run/ds01/doors"),
	} {
		r := l.Docker("alice", "run", "--rm", "-v", source+":"+sock, "client", "true")
		if r.Code == 0 {
			t.Errorf("%s was mounted", source)
		}
		lab.Contains(t, r.Err, "can't be mounted")
	}
	// spellings of the path itself mean it
	l.OK("alice", "docker", "run", "--rm", "-v", "/var/../var//run/docker.sock:"+sock, "client", "docker", "ps")
	// the file system of the container can't lead anywhere else
	l.OK("alice", "docker", "run", "--rm", "-v", sock+":/sock", "client", "docker", "-H", "unix:///sock", "ps")
}

func filesBesideADoor(t *testing.T, l *lab.Lab) {
	work := folder(t, l, "alice", "beside")
	l.OK("alice", "docker", "run", "--rm", "-v", door, "-v", work+":/w", "client", "sh", "-c", "docker ps -aq >/w/seen")
	onlyHers(t, l, work)
	if text, err := os.ReadFile(filepath.Join(work, "seen")); err != nil || len(text) == 0 {
		t.Errorf("%q, %v", text, err)
	}
}

// TestNoDoors is a site that gives none, and one without a service manager
// that keeps them.
func TestNoDoors(t *testing.T) {
	l := start(t, lab.Options{})
	l.LoadClient("client")
	l.OK("alice", "docker", "run", "-d", "--name", "box", "-v", door, "client", "sleep", "1000")
	l.EndDaemon(syscall.SIGKILL)
	l.StartDaemon()
	lab.Contains(t, l.Docker("alice", "exec", "box", "docker", "ps").Err, "Is the docker daemon running?")
	l.OK("alice", "docker", "restart", "-t", "0", "box")
	l.OK("alice", "docker", "exec", "box", "docker", "ps")
	l.Write("etc/ds01/ds01.yaml", l.Config()+"gateway: {doors: false}\n")
	l.EndDaemon(syscall.SIGTERM)
	l.StartDaemon()
	const none = "this site gives containers no socket"
	lab.Contains(t, l.Docker("alice", "run", "--rm", "-v", door, "client", "true").Err, none)
	lab.Contains(t, l.Docker("alice", "restart", "-t", "0", "box").Err, none)
	l.OK("alice", "docker", "rm", "-f", "box")
	noDoors(t, l)
	if left, err := exec.Command("findmnt", "-rno", "TARGET").Output(); err != nil || strings.Contains(string(left), filepath.Join(l.Root, "run/ds01/mnt")) {
		t.Errorf("still mounted: %s, %v", left, err)
	}
}
