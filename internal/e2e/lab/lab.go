// Package lab sets up a whole ds01 for a test: a scratch engine, the daemon
// as a process of its own, and Unix users made for it. Everything goes when
// the test ends.
package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/docker/grant"
	"ds01.dev/ds01/internal/docker/scratch"
	"ds01.dev/ds01/internal/docker/step"
	"ds01.dev/ds01/internal/systemd"
)

// Options say what kind of lab it is. The zero value is a remapped engine,
// four whole simulated cards, the shipped limits, and the users alice, bob
// and carol.
type Options struct {
	Binary  string   // the ds01 to run; required
	Plain   bool     // an engine without remapped user namespaces
	Systemd bool     // an engine that leaves control groups to systemd, and people's in ds01.slice
	GPU     string   // YAML under "gpu:" in ds01.yaml
	Limits  string   // resource-limits.yaml; "" leaves the file out
	Users   []string // who may use containers and GPUs; "root" needs no mention
	Outside []string // users in no group of ds01's
	Admins  []string // users who administer
	Wrap    []string // words before the daemon's command line, for prlimit and its like
	NoStart bool     // leave the daemon stopped
	Proxy   bool     // put a Proxy between the daemon and the engine
	Disk    string   // size of a disk of its own for the engine's data, "300m"; "": the machine's
	AtStart bool     // an engine with ds01's runtime: devices come to containers when they start
	NetNS   bool     // an engine with networks, in a network namespace of its own
	Config  string   // more of ds01.yaml
	Keeper  bool     // a service manager that keeps the daemon's descriptors over a restart
	Slow    int      // how many times longer things may take, for an emulated machine; 0 is once
}

// A Lab is one running system.
type Lab struct {
	t      testing.TB
	opts   Options
	Root   string // the daemon's --root
	Engine *scratch.Engine
	Proxy  *Proxy // nil unless Options.Proxy
	people map[string]*person
	keeper *keeper // nil unless Options.Keeper
	groups string  // prefix of the groups made for the lab

	mu     sync.Mutex
	daemon *exec.Cmd
	exited chan struct{}
}

// Main builds ds01, runs a package's tests, or benchmarks, and returns the exit
// code of the test program. binary gets the path of the ds01 under test.
func Main(m *testing.M, binary *string) int {
	dir, err := os.MkdirTemp("/tmp", "ds01t-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // nobody waits for it
	if *binary, err = Build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// Build builds cmd/ds01 into folder, lets everybody run it and returns its path.
// Go run keeps what it links in the build cache, where go build links again for
// each package. Where there is no Go, DS01_TEST_BINARY names a binary that is
// there already.
func Build(folder string) (string, error) {
	if binary := os.Getenv("DS01_TEST_BINARY"); binary != "" {
		return binary, nil
	}
	binary := filepath.Join(folder, "ds01")
	build := exec.Command("go", "run", "-exec", "install -m 755", "ds01.dev/ds01/cmd/ds01", binary)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build ds01: %w\n%s", err, out)
	}
	return binary, os.Chmod(folder, 0o755)
}

// Start sets a lab up, or fails the test.
func Start(t testing.TB, o Options) *Lab {
	t.Helper()
	need(t)
	if o.Users == nil {
		o.Users = []string{"alice", "bob", "carol"}
	}
	if o.GPU == "" {
		o.GPU = "{provider: sim, sim: {gpus: [a100-80gb, a100-80gb, a100-80gb, a100-80gb]}}"
	}
	dir, err := os.MkdirTemp("/tmp", "ds01t-")
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{t: t, opts: o, Root: filepath.Join(dir, "root"), people: map[string]*person{}, groups: "ds01t" + strconv.Itoa(os.Getpid()%100000)}
	// Cleanups run last first: the folder goes when nothing is in it.
	t.Cleanup(func() {
		if !t.Failed() {
			_ = os.RemoveAll(dir)
		}
	})
	l.must(os.Chmod(dir, 0o711))
	l.must(os.MkdirAll(filepath.Join(l.Root, "etc/ds01"), 0o755))
	l.must(os.MkdirAll(filepath.Join(l.Root, "run/ds01"), 0o755))
	l.must(os.Mkdir(l.temporary(), 0o755))
	l.must(os.Chmod(l.temporary(), 0o777|os.ModeSticky))
	l.makePeople(dir)
	l.startEngine(dir)
	l.Write("etc/ds01/ds01.yaml", l.config())
	if o.Limits != "" {
		l.Write("etc/ds01/resource-limits.yaml", o.Limits)
	}
	if o.Keeper {
		l.startKeeper()
	}
	t.Cleanup(l.tearDown)
	if !o.NoStart {
		l.StartDaemon()
	}
	return l
}

// need fails a test that can't run here; none is skipped.
func need(t testing.TB) {
	t.Helper()
	missing := scratch.Missing()
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	if len(missing) > 0 {
		t.Fatalf("this test needs %v; 'make deps' installs packages", missing)
	}
}

func (l *Lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *Lab) startEngine(dir string) {
	l.t.Helper()
	socket := filepath.Join(l.Root, "run/ds01/engine.sock")
	if l.opts.Proxy {
		socket = "" // its own place
	}
	if l.opts.Disk != "" {
		l.mountDisk(filepath.Join(dir, "e"))
	}
	driver := scratch.Cgroupfs
	if l.opts.Systemd {
		driver = scratch.Systemd
		l.shareDeviceLinks()
		l.t.Cleanup(l.stopSlices) // when the engine's containers have gone
	}
	steps := filepath.Join(dir, "steps") // as the package installs it
	l.must(os.Mkdir(steps, 0o755))
	l.must(os.Symlink(l.opts.Binary, filepath.Join(steps, step.Program)))
	o := scratch.Options{
		Dir: filepath.Join(dir, "e"), Path: steps, Socket: socket, Remap: !l.opts.Plain, LiveRestore: true, NetNS: l.opts.NetNS, CgroupDriver: driver,
	}
	if l.opts.AtStart {
		o.Runtime, o.RuntimeArgs = filepath.Join(steps, grant.Program), []string{grant.RootFlag, l.Root}
		l.must(os.Symlink(l.opts.Binary, o.Runtime))
	}
	engine, err := scratch.Start(context.Background(), o)
	l.must(err)
	l.Engine = engine
	l.t.Cleanup(func() {
		if err := engine.Stop(context.Background()); err != nil {
			l.t.Error(err)
		}
	})
	l.must(engine.LoadBusybox(context.Background()))
	if l.opts.Proxy {
		l.startProxy()
	}
}

// mountDisk gives the engine's folder a disk of its own, in memory.
func (l *Lab) mountDisk(folder string) {
	l.t.Helper()
	l.must(os.Mkdir(folder, 0o711))
	l.must(syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=711,size="+l.opts.Disk))
	l.t.Cleanup(func() { l.gone(syscall.Unmount(folder, 0)) })
}

func (l *Lab) config() string {
	parent := l.Engine.CgroupParent() + "/people"
	if l.opts.Systemd {
		parent = "auto" // as it is shipped: people
	}
	return fmt.Sprintf(`version: 1
gpu: %s
cgroup: {parent: %s}
images: {default: busybox}
groups: {docker: %[3]sd, gpu: %[3]sg, priority: %[3]sp, admin: %[3]sa}
%[4]s`, l.opts.GPU, parent, l.groups, l.opts.Config)
}

// shareDeviceLinks lets the daemon name its devices where the engine and systemd
// look for them.
func (l *Lab) shareDeviceLinks() {
	l.t.Helper()
	const char = "/dev/char"
	l.must(os.MkdirAll(filepath.Join(l.Root, "dev"), 0o755))
	l.must(os.Symlink(char, filepath.Join(l.Root, char)))
	l.t.Cleanup(func() {
		names, err := os.ReadDir(char)
		l.gone(err)
		for _, n := range names {
			name := filepath.Join(char, n.Name())
			if target, err := os.Readlink(name); err == nil && strings.HasPrefix(target, l.Root) {
				l.gone(os.Remove(name))
			}
		}
	})
}

// people is the slice that people's are in, unless ds01 is told another one.
const people = "ds01.slice"

// Groups returns the control groups, or the slices, that the engine's
// containers are in.
func (l *Lab) Groups() []string {
	if l.opts.Systemd {
		return []string{l.Engine.CgroupParent(), people}
	}
	return []string{l.Engine.CgroupParent()}
}

// Write writes a file below the root.
func (l *Lab) Write(name, text string) {
	l.t.Helper()
	l.must(os.WriteFile(filepath.Join(l.Root, name), []byte(text), 0o644))
}

// WritePolicy writes a file of the site's own rules.
func (l *Lab) WritePolicy(name, text string) {
	l.t.Helper()
	const folder = "etc/ds01/policy"
	l.must(os.MkdirAll(filepath.Join(l.Root, folder), 0o755))
	l.Write(filepath.Join(folder, name), text)
}

// Read returns a file below the root.
func (l *Lab) Read(name string) string {
	l.t.Helper()
	data, err := os.ReadFile(filepath.Join(l.Root, name))
	l.must(err)
	return string(data)
}

// StartDaemon starts the daemon and waits until it answers.
func (l *Lab) StartDaemon() {
	l.t.Helper()
	l.Spawn()
	if err := l.waitUp(l.Patience(15 * time.Second)); err != nil {
		l.t.Fatalf("%v\n%s", err, l.Log())
	}
}

// Spawn starts the daemon without waiting for it.
func (l *Lab) Spawn() {
	l.t.Helper()
	log, err := os.OpenFile(filepath.Join(l.Root, "daemon.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	l.must(err)
	defer log.Close() //nolint:errcheck // the daemon has its own
	words := append(append([]string{}, l.opts.Wrap...), l.opts.Binary, "daemon", "--root", l.Root)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := cmd.Start
	if l.keeper != nil {
		begin = func() error { return l.keeper.start(cmd) }
	}
	l.must(begin())
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended shows in its state
		close(exited)
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.daemon, l.exited = cmd, exited
}

func (l *Lab) waitUp(patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		if l.Ended() {
			return errors.New("the daemon has ended")
		}
		if l.Up() {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return errors.New("the daemon isn't up in time")
}

// Up reports whether the daemon answers, and has found the engine.
func (l *Lab) Up() bool {
	var v apitype.Version
	return l.api("/v1/version", &v) == nil && v.EngineVersion != ""
}

// Ended reports whether the daemon has ended.
func (l *Lab) Ended() bool {
	_, exited := l.current()
	select {
	case <-exited:
		return true
	default:
		return false
	}
}

// current returns the daemon that was started last, and what is closed at its end.
func (l *Lab) current() (*exec.Cmd, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.daemon, l.exited
}

// Signal sends the daemon a signal.
func (l *Lab) Signal(s syscall.Signal) {
	l.t.Helper()
	daemon, _ := l.current()
	l.must(daemon.Process.Signal(s))
}

// EndDaemon sends the signal, waits for the daemon's end and returns its exit
// code; -1 when a signal ended it.
func (l *Lab) EndDaemon(s syscall.Signal) int {
	l.t.Helper()
	daemon, exited := l.current()
	_ = daemon.Process.Signal(s) // it may have ended
	select {
	case <-exited:
	case <-time.After(l.Patience(20 * time.Second)):
		_ = daemon.Process.Kill()
		<-exited
		l.t.Errorf("the daemon didn't end within 20 s of %v", s)
	}
	return daemon.ProcessState.ExitCode()
}

// Exited returns the exit code of a daemon that ends by itself.
func (l *Lab) Exited() int {
	l.t.Helper()
	daemon, exited := l.current()
	select {
	case <-exited:
		return daemon.ProcessState.ExitCode()
	case <-time.After(l.Patience(15 * time.Second)):
		l.t.Fatalf("the daemon runs on\n%s", l.Log())
		return 0
	}
}

// PID returns the daemon's process id.
func (l *Lab) PID() int {
	daemon, _ := l.current()
	return daemon.Process.Pid
}

// Log returns everything the daemon has logged.
func (l *Lab) Log() string {
	data, err := os.ReadFile(filepath.Join(l.Root, "daemon.log"))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func (l *Lab) tearDown() {
	if daemon, _ := l.current(); daemon != nil {
		l.EndDaemon(syscall.SIGTERM)
	}
	if l.t.Failed() {
		l.t.Logf("daemon log:\n%s", l.Log())
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	l.must(err)
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], l.Root) {
			_ = syscall.Unmount(f[4], syscall.MNT_DETACH) // containers that the test left hold it
		}
	}
}

// Patience returns how long this machine may take for what others do in d.
func (l *Lab) Patience(d time.Duration) time.Duration { return d * time.Duration(max(l.opts.Slow, 1)) }

// notLoaded is how systemctl ends whose unit isn't there, see LSB's table of exit
// codes; systemd lets go of a slice that nothing is in.
const notLoaded = 5

// stopSlices takes the slices of the lab's own people away. On a host with a
// ds01 of its own, others are in ds01.slice, and root may be too.
func (l *Lab) stopSlices() {
	for name, p := range l.people {
		if name == "root" {
			continue
		}
		slice := systemd.Slice(people, p.uid)
		stop := exec.Command("systemctl", "stop", slice)
		if out, err := stop.CombinedOutput(); err != nil && stop.ProcessState.ExitCode() != notLoaded {
			l.t.Errorf("stop %s: %v: %s", slice, err, out)
		}
	}
}

// api asks the daemon as root.
func (l *Lab) api(path string, v any) error {
	out, err := exec.Command("curl", "-sf", "--unix-socket", filepath.Join(l.Root, "run/ds01/ds01.sock"), "http://ds01"+path).Output()
	if err != nil {
		return err
	}
	return json.NewDecoder(bytes.NewReader(out)).Decode(v)
}

// Containers returns what the daemon knows of everybody's containers.
func (l *Lab) Containers() []apitype.Container {
	l.t.Helper()
	var all []apitype.Container
	l.must(l.api("/v1/containers?all_users=true", &all))
	return all
}

// GPUs returns every device with its holder.
func (l *Lab) GPUs() []apitype.GPU {
	l.t.Helper()
	var all []apitype.GPU
	l.must(l.api("/v1/gpus", &all))
	return all
}

// Eventually waits until ok, or fails the test with what. It looks a last time when
// the time is up: the look before may have been long ago.
func (l *Lab) Eventually(what string, patience time.Duration, ok func() bool) {
	l.t.Helper()
	patience = l.Patience(patience)
	for deadline, last := time.Now().Add(patience), false; !last; time.Sleep(20 * time.Millisecond) {
		last = !time.Now().Before(deadline)
		if ok() {
			return
		}
	}
	l.t.Fatalf("not within %s: %s", patience, what)
}
