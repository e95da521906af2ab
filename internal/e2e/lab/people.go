package lab

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"ds01.dev/ds01/internal/account"
	"ds01.dev/ds01/internal/directory/scratchuser"
	"ds01.dev/ds01/internal/redteam"
)

// person is one Unix user of the lab.
type person struct {
	login    string
	home     string
	uid, gid int
	groups   []uint32
}

// makePeople makes the lab's groups and users, and takes them away at the
// end. Logins carry the process id, so that labs don't meet.
func (l *Lab) makePeople(dir string) {
	l.t.Helper()
	for _, suffix := range []string{"d", "g", "p", "a"} {
		l.must(scratchuser.AddGroup(context.Background(), l.groups+suffix))
		l.t.Cleanup(func() { l.gone(scratchuser.RemoveGroup(context.Background(), l.groups+suffix)) })
	}
	for name, suffixes := range l.memberships() {
		login := l.groups + name
		home := filepath.Join(dir, "home", name)
		l.must(os.MkdirAll(filepath.Dir(home), 0o755))
		names := make([]string, len(suffixes))
		for i, s := range suffixes {
			names[i] = l.groups + s
		}
		l.must(scratchuser.Add(context.Background(), login, home, names...))
		l.t.Cleanup(func() { l.gone(scratchuser.Remove(context.Background(), login)) })
		p := &person{login: login, home: home, uid: l.number("-u", login), gid: l.number("-g", login)}
		for id := range strings.FieldsSeq(l.output("id", "-G", login)) {
			n, err := strconv.ParseUint(id, 10, 32)
			l.must(err)
			p.groups = append(p.groups, uint32(n))
		}
		l.people[name] = p
	}
	l.people["root"] = &person{login: "root", home: "/root"}
}

// gone reports what could not be taken away.
func (l *Lab) gone(err error) {
	if err != nil {
		l.t.Error(err)
	}
}

func (l *Lab) memberships() map[string][]string {
	all := map[string][]string{}
	for _, n := range l.opts.Users {
		all[n] = []string{"d", "g"}
	}
	for _, n := range l.opts.Outside {
		all[n] = nil
	}
	for _, n := range l.opts.Admins {
		all[n] = []string{"d", "g", "a"}
	}
	return all
}

func (l *Lab) output(name string, args ...string) string {
	l.t.Helper()
	out, err := exec.Command(name, args...).Output()
	l.must(err)
	return strings.TrimSpace(string(out))
}

func (l *Lab) number(flag, login string) int {
	l.t.Helper()
	n, err := strconv.Atoi(l.output("id", flag, login))
	l.must(err)
	return n
}

// Login returns the Unix name behind a name of the lab.
func (l *Lab) Login(name string) string { return l.people[name].login }

// UID returns the uid behind a name of the lab.
func (l *Lab) UID(name string) int { return l.people[name].uid }

// EngineName returns what the engine calls what a name of the lab calls name.
func (l *Lab) EngineName(who, name string) string { return account.EngineName(name, l.UID(who)) }

// Home returns the home of a name of the lab.
func (l *Lab) Home(name string) string { return l.people[name].home }

func (l *Lab) temporary() string { return filepath.Join(filepath.Dir(l.Root), "tmp") }

// Env returns the environment in which a person's commands reach the lab.
func (l *Lab) Env(name string) []string {
	p := l.people[name]
	return []string{
		"HOME=" + p.home, "USER=" + p.login, "LOGNAME=" + p.login, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8",
		"TMPDIR=" + l.temporary(), // what a program leaves there goes with the lab
		"DOCKER_HOST=unix://" + filepath.Join(l.Root, "run/docker.sock"),
		"DS01_HOST=unix://" + filepath.Join(l.Root, "run/ds01/ds01.sock"),
	}
}

// Command returns a command that runs as a person, with their groups only.
func (l *Lab) Command(name string, words ...string) *exec.Cmd {
	p := l.people[name]
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env, cmd.Dir = l.Env(name), p.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{
		Uid: uint32(p.uid), Gid: uint32(p.gid), Groups: p.groups,
	}}
	return cmd
}

// A Result is what a command printed and how it ended.
type Result struct {
	Out, Err string // without surrounding blanks
	Code     int
}

// Run runs a command as a person, to its end.
func (l *Lab) Run(name string, words ...string) Result {
	l.t.Helper()
	return l.Finish(l.Command(name, words...))
}

// Finish runs a prepared command to its end.
func (l *Lab) Finish(cmd *exec.Cmd) Result {
	l.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		l.t.Fatalf("%v: %v", cmd.Args, err)
	}
	return Result{strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), cmd.ProcessState.ExitCode()}
}

// OK runs a command as a person and returns what it printed; a failure fails
// the test.
func (l *Lab) OK(name string, words ...string) string {
	l.t.Helper()
	r := l.Run(name, words...)
	if r.Code != 0 {
		l.t.Fatalf("%s: %v: exit code %d\n%s\n%s", name, words, r.Code, r.Out, r.Err)
	}
	return r.Out
}

// Docker runs stock docker as a person.
func (l *Lab) Docker(name string, args ...string) Result {
	l.t.Helper()
	return l.Run(name, append([]string{"docker"}, args...)...)
}

// DS01 runs our command as a person.
func (l *Lab) DS01(name string, args ...string) Result {
	l.t.Helper()
	return l.Run(name, append([]string{l.opts.Binary}, args...)...)
}

// AtEngine runs docker on the engine's own socket, as root, past ds01.
func (l *Lab) AtEngine(args ...string) string {
	l.t.Helper()
	cmd := exec.Command("docker", append([]string{"-H", l.Engine.Host()}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("docker %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// Person returns a name of the lab as the red team knows people.
func (l *Lab) Person(name string) redteam.Person {
	p := l.people[name]
	person := redteam.Person{UID: p.uid, GID: p.gid, Login: p.login, Home: p.home}
	for _, g := range p.groups {
		person.Groups = append(person.Groups, int(g))
	}
	return person
}
