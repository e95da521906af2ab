package clients_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/e2e/lab"
)

// folks are the people who do everything at once, by the same names.
var folks = []string{"alice", "bob"}

// limits leave room for whole projects.
const limits = "defaults:\n  max_containers_per_user: 12\n"

// patience is how long one script may take; most take a few seconds.
const patience = 5 * time.Minute

// reaper is the image in which testcontainers-go, as it is pinned, starts Ryuk.
const reaper = "testcontainers/ryuk:0.14.0"

// TestClients runs each scenario of the table as two people at once.
func TestClients(t *testing.T) {
	l := lab.Start(t, lab.Options{Binary: binary, Users: folks, NetNS: true, Limits: limits})
	w := prepare(t, l)
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			if len(w.commands[c.name]) == 0 {
				t.Skip("it takes minutes to build: make test-long")
			}
			for _, commands := range w.commands[c.name] {
				for _, s := range c.scenarios {
					t.Run(s.says, func(t *testing.T) { w.try(t, c, s, commands) })
				}
			}
		})
	}
}

// A world is a lab with what the clients need.
type world struct {
	*lab.Lab
	folder string // readable by everybody
	ssh    string // port of an SSH server

	modules  string              // packages from npm
	program  string              // that of testcontainers
	commands map[string][]string // folders of the commands that each client is tried with
}

// prepare puts the scripts where people can read them.
func prepare(t *testing.T, l *lab.Lab) world {
	t.Helper()
	w := world{Lab: l, folder: filepath.Join(filepath.Dir(l.Root), "clients")}
	must(t, os.Mkdir(w.folder, 0o755))
	must(t, os.CopyFS(w.folder, os.DirFS("testdata")))
	for _, name := range []string{"devcontainer", "meet", "restart", "same", "soon"} {
		must(t, os.Chmod(filepath.Join(w.folder, "bin", name), 0o755))
	}
	w.startSSH(t)
	w.modules = nodeModules(t)
	w.program = goProgram(t, "testcontainers", ".", filepath.Join(w.folder, "testcontainers"))
	w.LoadClient("docker:cli")
	w.LoadProgram(goProgram(t, "testcontainers", "./reaper", t.TempDir()), reaper)
	w.commands = w.layCommands(t)
	return w
}

// layCommands makes a folder for each docker command of the machine. All other
// clients are tried with one docker: Debian's where they build, for it brings its
// own BuildKit, else the first.
func (w world) layCommands(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for i, docker := range w.Clients() {
		all["docker"] = append(all["docker"], w.lay(t, fmt.Sprint("docker-", i), docker))
	}
	first, last := all["docker"][:1], all["docker"][len(all["docker"])-1:]
	for _, c := range clients() {
		if c.name != "docker" {
			all[c.name] = first
		}
	}
	all[devcontainers().name] = last
	all[compose().name] = last // it builds by BuildKit with the docker command
	all[composePlugin().name] = w.layPlugins(t)
	return all
}

// lay makes a folder for a docker command.
func (w world) lay(t *testing.T, name, docker string) (folder string) {
	t.Helper()
	folder = filepath.Join(w.folder, name)
	must(t, os.Mkdir(folder, 0o755))
	must(t, os.Symlink(docker, filepath.Join(folder, "docker")))
	return folder
}

// layPlugins makes two folders for docker compose: in one it finds no buildx, and
// builds by itself; in the other it has buildx build. What it is called by is the
// older one's name, as scripts have it.
func (w world) layPlugins(t *testing.T) (folders []string) {
	t.Helper()
	if !lab.Compose().Wanted() || !lab.Buildx().Wanted() {
		return nil
	}
	for name, plugins := range map[string][]lab.Plugin{"alone": {lab.Compose()}, "with-buildx": {lab.Compose(), lab.Buildx()}} {
		folder := w.lay(t, "compose-"+name, w.Clients()[0])
		script := "#!/bin/sh\nexec docker --config \"$HOME/" + name + "\" compose \"$@\"\n"
		must(t, os.WriteFile(filepath.Join(folder, "docker-compose"), []byte(script), 0o755))
		for _, who := range folks {
			w.Give(who, filepath.Join(w.Home(who), name), plugins...)
		}
		folders = append(folders, folder)
	}
	return folders
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// try runs a scenario as everybody at once, in a folder that has one name.
func (w world) try(t *testing.T, c client, s scenario, commands string) {
	t.Helper()
	defer w.clear(t)
	meeting := t.TempDir()
	must(t, os.Chmod(meeting, 0o777))
	must(t, os.Chmod(filepath.Dir(meeting), 0o755))
	ends := make(chan end)
	for _, who := range folks {
		cmd := w.command(t, c, s, who, meeting)
		cmd.Env = append(cmd.Env, "PATH="+commands+":"+filepath.Join(w.folder, "bin")+":"+os.Getenv("PATH"))
		go func() {
			said, err := cmd.CombinedOutput()
			e := end{who: who, said: string(said)}
			if err != nil {
				e.failed = err.Error()
			}
			ends <- e
		}()
	}
	for range folks {
		e := w.await(t, ends, meeting)
		switch {
		case s.refused == "" && e.failed != "":
			t.Errorf("%s: %s\n%s", e.who, e.failed, e.said)
		case s.refused != "" && e.failed == "":
			t.Errorf("%s was not refused:\n%s", e.who, e.said)
		case s.refused != "" && !strings.Contains(plain(e.said), s.refused):
			t.Errorf("%s was refused, but not with %q:\n%s", e.who, s.refused, e.said)
		}
	}
}

// An end is how somebody's program ended.
type end struct{ who, said, failed string }

// await returns the next end, and restarts ds01 whenever both people want it: a
// daemon's end and start belong to the test itself.
func (w world) await(t *testing.T, ends <-chan end, meeting string) end {
	t.Helper()
	counter := filepath.Join(meeting, "restarts")
	for {
		select {
		case e := <-ends:
			return e
		case <-time.After(100 * time.Millisecond):
		}
		done, _ := os.ReadFile(counter) // none yet
		n, _ := strconv.Atoi(string(done))
		asked, err := os.ReadFile(filepath.Join(meeting, fmt.Sprint("signal-", n)))
		if err != nil {
			continue // nobody wants it
		}
		w.EndDaemon(map[string]syscall.Signal{"TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}[strings.TrimSpace(string(asked))])
		w.StartDaemon()
		must(t, os.WriteFile(counter, []byte(strconv.Itoa(n+1)), 0o644))
	}
}

// plain undoes how some clients break lines and quote.
func plain(said string) string { return strings.Join(strings.Fields(said), " ") }

// command returns what a person runs: the client's program in a folder of
// theirs, on the engine's network, where ports are published.
func (w world) command(t *testing.T, c client, s scenario, who, meeting string) *exec.Cmd {
	t.Helper()
	p := w.Person(who)
	groups := make([]string, len(p.Groups))
	for i, g := range p.Groups {
		groups[i] = strconv.Itoa(g)
	}
	dir := filepath.Join(p.Home, "work")
	must(t, os.RemoveAll(dir))
	must(t, os.Mkdir(dir, 0o755))
	c.lay(t, w, s, dir)
	must(t, exec.Command("chown", "-R", strconv.Itoa(p.UID)+":"+strconv.Itoa(p.GID), dir).Run())
	words := append([]string{
		"--net=" + w.Engine.NetNS(), "setpriv", "--reuid", strconv.Itoa(p.UID), "--regid", strconv.Itoa(p.GID), "--groups", strings.Join(groups, ","), "--",
	}, c.words(w, s)...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "nsenter", words...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // with what it has started
	cmd.Env = append(
		w.Env(who), "WHO="+who, "MEETING="+meeting, "SSH_HOST=ssh://"+p.Login+"@127.0.0.1:"+w.ssh, "NODE_PATH="+w.modules, "PROGRAM="+w.program,
	)
	cmd.Env = append(cmd.Env, s.env...)
	return cmd
}

// clear takes away what a scenario left; it should have left nothing.
func (w world) clear(t *testing.T) {
	t.Helper()
	var left bytes.Buffer
	for _, c := range w.EngineContainers() {
		left.WriteString("\ncontainer " + c.Name)
		must(t, w.AskEngine("DELETE", "/containers/"+c.ID+"?force=1&v=1", nil))
	}
	var networks []struct{ ID, Name string }
	must(t, w.AskEngine("GET", "/networks?filters="+`{"type":{"custom":true}}`, &networks))
	for _, n := range networks {
		if !strings.HasPrefix(n.Name, "default._.") { // made with the first container, and stays
			left.WriteString("\nnetwork " + n.Name)
			must(t, w.AskEngine("DELETE", "/networks/"+n.ID, nil))
		}
	}
	var volumes struct{ Volumes []struct{ Name string } }
	must(t, w.AskEngine("GET", "/volumes", &volumes))
	for _, v := range volumes.Volumes {
		left.WriteString("\nvolume " + v.Name)
		must(t, w.AskEngine("DELETE", "/volumes/"+v.Name, nil))
	}
	if left.Len() > 0 && !t.Failed() {
		t.Errorf("left: %s", left.String())
	}
}
