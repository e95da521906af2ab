// Package demo shows the whole system at work on one machine: an engine and a
// daemon of its own under a scratch folder, two people made for it, GPUs real
// or simulated. It takes everything away again.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"ds01.dev/ds01/deploy"
	"ds01.dev/ds01/internal/directory"
	"ds01.dev/ds01/internal/directory/scratchuser"
	"ds01.dev/ds01/internal/docker/scratch"
	"ds01.dev/ds01/internal/mount"
	"ds01.dev/ds01/internal/nvml"
	"ds01.dev/ds01/internal/problem"
)

// Folder holds all of the demo. It is short, because sockets lie in it.
const Folder = "/tmp/ds01-demo"

// Options are what the command line says.
type Options struct {
	Binary string // this ds01, which also runs as the daemon
	Keep   bool   // leave everything running
	End    bool   // take away what Keep left
	Out    io.Writer
}

// Names of what is made on the host.
const (
	userGroup  = "ds01-demo-users"
	gpuGroup   = "ds01-demo-gpus"
	adminGroup = "ds01-demo-admins"
	fastGroup  = "ds01-demo-priority"
	ada        = "ds01-ada"
	bob        = "ds01-bob"
)

// demo is one run.
type demo struct {
	Options
	root   string
	engine *scratch.Engine
	daemon *os.Process
	undo   []func(context.Context) error
}

// Run plays the demo. Everything is taken away when it ends, however it ends,
// unless it is kept.
func Run(ctx context.Context, o Options) (err error) {
	d := &demo{Options: o, root: filepath.Join(Folder, "root")}
	if os.Geteuid() != 0 {
		return refuse(problem.ErrDenied, "it starts an engine and makes two users, so it must run as root", "Run: sudo make demo.")
	}
	if o.End {
		return d.end(ctx)
	}
	if missing := scratch.Missing(); len(missing) > 0 {
		return refuse(problem.ErrUnavailable, "missing: "+strings.Join(missing, ", "), "Run: make deps.")
	}
	if _, serr := os.Lstat(Folder); serr == nil {
		return refuse(problem.ErrConflict, Folder+" is there already, from a demo that was kept or runs now", "Take it away with: ds01 demo --end.")
	}
	kept := false
	defer func() {
		if !kept {
			err = errors.Join(err, d.cleanUp(context.WithoutCancel(ctx)))
		}
	}()
	if err := d.setUp(ctx); err != nil {
		return err
	}
	if err := d.tell(ctx); err != nil {
		return err
	}
	if o.Keep {
		kept = true
		return d.leave(ctx)
	}
	d.say("Everything is taken away again.")
	return nil
}

func refuse(kind error, why, next string) error {
	return &problem.Error{What: "Demo not started", Why: problem.Because(kind, why), Next: next}
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.Out, "\n— "+format+"\n", args...) }

// later remembers how to take something away.
func (d *demo) later(f func(context.Context) error) { d.undo = append(d.undo, f) }

func (d *demo) cleanUp(ctx context.Context) error {
	var errs []error
	for _, undo := range slices.Backward(d.undo) {
		errs = append(errs, undo(ctx))
	}
	return errors.Join(errs...)
}

func (d *demo) setUp(ctx context.Context) error {
	for _, dir := range []string{"root/etc/ds01", "root/run/ds01", "home"} {
		if err := os.MkdirAll(filepath.Join(Folder, dir), 0o755); err != nil { //nolint:gosec // people reach their homes through it
			return fmt.Errorf("folder of the demo: %w", err)
		}
	}
	d.later(func(context.Context) error { return removeFolder() })
	for _, step := range []func(context.Context) error{d.makePeople, d.startEngine, d.startDaemon} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// removeFolder takes the folder away, and first whatever is still mounted in
// it: the containers that used it are gone.
func removeFolder() error {
	mounts, err := mount.List(Folder)
	if err != nil {
		return err
	}
	for _, m := range mounts {
		if err := mount.Unmount(m); err != nil {
			return err
		}
	}
	return os.RemoveAll(Folder)
}

func (d *demo) makePeople(ctx context.Context) error {
	d.say("Two people are made for this: %s and %s.", ada, bob)
	d.later(removePeople)
	for _, g := range []string{userGroup, gpuGroup, adminGroup, fastGroup} {
		if err := scratchuser.AddGroup(ctx, g); err != nil {
			return err
		}
	}
	for _, u := range []string{ada, bob} {
		if err := scratchuser.Add(ctx, u, filepath.Join(Folder, "home", u), userGroup, gpuGroup); err != nil {
			return err
		}
	}
	return nil
}

func removePeople(ctx context.Context) error {
	var errs []error
	for _, u := range []string{ada, bob} {
		errs = append(errs, scratchuser.Remove(ctx, u))
	}
	for _, g := range []string{userGroup, gpuGroup, adminGroup, fastGroup} {
		errs = append(errs, scratchuser.RemoveGroup(ctx, g))
	}
	return errors.Join(errs...)
}

// engineFolder holds all that the engine has.
const engineFolder = Folder + "/engine"

func (d *demo) startEngine(ctx context.Context) error {
	d.say("A Docker engine of its own starts under %s, with remapped user namespaces.", Folder)
	e, err := scratch.Start(ctx, scratch.Options{
		Dir: engineFolder, Socket: filepath.Join(d.root, "run/ds01/engine.sock"), Remap: true, LiveRestore: true,
	})
	if err != nil {
		return err
	}
	d.engine = e
	d.later(e.Stop)
	return e.LoadBusybox(ctx)
}

// gpus returns the gpu section of the demo's configuration: the real driver
// where it answers, else a simulated machine.
func gpus() (section, words string) {
	if driver, err := nvml.Open(); err == nil {
		_ = driver.Close() // it was only asked
		return "{provider: nvml}", "the GPUs of this machine"
	}
	return fmt.Sprintf("{provider: sim, sim: {gpus: [%[1]s, %[1]s, %[1]s, %[1]s], mig: {1: [3g.40gb, 2g.20gb, 1g.10gb, 1g.10gb]}}}", "a100-80gb"),
		"four simulated A100s, one of them cut into MIG instances"
}

func (d *demo) startDaemon(ctx context.Context) error {
	section, words := gpus()
	d.say("The ds01 daemon starts, with %s.", words)
	config := fmt.Sprintf("version: 1\ngpu: %s\ncgroup: {parent: %s/people}\nimages: {default: busybox}\n"+
		"groups: {docker: %s, gpu: %s, priority: %s, admin: %s}\n",
		section, d.engine.CgroupParent(), userGroup, gpuGroup, fastGroup, adminGroup)
	for name, data := range map[string][]byte{"ds01.yaml": []byte(config), "resource-limits.yaml": deploy.DefaultLimits()} {
		if err := os.WriteFile(filepath.Join(d.root, "etc/ds01", name), data, 0o644); err != nil { //nolint:gosec // people may read it
			return fmt.Errorf("configuration of the demo: %w", err)
		}
	}
	log, err := os.Create(filepath.Join(d.root, "daemon.log"))
	if err != nil {
		return fmt.Errorf("log of the daemon: %w", err)
	}
	defer log.Close()                                         //nolint:errcheck // the daemon has its own
	cmd := exec.Command(d.Binary, "daemon", "--root", d.root) //nolint:gosec,noctx // this program; ended in cleanUp
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C is for the demo, which then ends it
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	d.daemon = cmd.Process
	d.later(func(context.Context) error {
		err := d.daemon.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it ends with 0 or was ended before
		if errors.Is(err, os.ErrProcessDone) {
			return nil
		}
		return err
	})
	return d.awaitDaemon(ctx)
}

func (d *demo) awaitDaemon(ctx context.Context) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if cmd := d.as(ctx, ada, "docker", "version"); cmd.Run() == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	log, err := os.ReadFile(filepath.Join(d.root, "daemon.log"))
	if err != nil {
		log = []byte(err.Error())
	}
	return refuse(problem.ErrUnavailable, "the daemon isn't up in time; its log:\n"+string(log), "")
}

// as prepares a command that runs as one of the people, or as root.
func (d *demo) as(ctx context.Context, login string, words ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // the demo's own words
	home := "/root"
	if login != "root" {
		home = filepath.Join(Folder, "home", login)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(login)}
	}
	cmd.Dir = home
	cmd.Env = append(d.environment(), "HOME="+home, "USER="+login, "PATH="+os.Getenv("PATH"), "LANG=C.UTF-8")
	return cmd
}

// environment is what points docker and ds01 at the demo.
func (d *demo) environment() []string {
	return []string{
		"DOCKER_HOST=unix://" + filepath.Join(d.root, "run/docker.sock"),
		"DS01_HOST=unix://" + filepath.Join(d.root, "run/ds01/ds01.sock"),
	}
}

// credential returns what a login gives; without an account the command
// fails to start.
func credential(login string) *syscall.Credential {
	a, err := directory.LookupName(login)
	if err != nil {
		return &syscall.Credential{Uid: ^uint32(0), Gid: ^uint32(0)}
	}
	c := &syscall.Credential{Uid: uint32(a.UID), Gid: uint32(a.GID)} //nolint:gosec // ids are 32 bits
	for _, g := range a.Groups {
		c.Groups = append(c.Groups, uint32(g.GID)) //nolint:gosec // ids are 32 bits
	}
	return c
}
