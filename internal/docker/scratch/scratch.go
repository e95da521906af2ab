// Package scratch starts a Docker engine of its own from the distribution's
// packages, for the tests and the demo, and leaves nothing of it behind.
//
// An engine here is a dockerd with a containerd of its own; all they have
// (configuration, data, state, sockets, logs) lies in one folder, their
// containers stay under one cgroup, and there is no bridge and no firewall
// rule, or both are in a network namespace of the engine's own. Without its own containerd, dockerd would attach to the one of an
// engine that is already running. Engines with different folders don't notice
// one another or any other engine of the host.
//
// The starter of an engine may die without stopping it: a test binary panics,
// runs into its timeout or is killed. A parent-death signal would not do
// there: it goes out when the starting thread ends, which in Go may be at any
// time, and it reaches dockerd only, not its containers and mounts. So each
// engine has a guard, a small shell program that holds the reading end of a
// pipe. When the other end closes, by Stop or by death, the guard ends and
// removes everything; there is no other way of cleaning up.
package scratch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// RemapBase is the host uid and gid of root in the containers of a remapped
// engine. The range goes on from there for 2147000000 ids.
const RemapBase = 2147483648

// remapUser owns the ids of remapped engines. The first guard makes it, the
// last one removes it.
const remapUser = "ds01-scratch"

// searchPath is where the engine's programs look for one another. The
// caller's may lack the sbin folders.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// startTimeout bounds the wait for an engine, which takes about a second, and
// in an emulated machine many times that.
const startTimeout = 2 * time.Minute

// Options say how to start an engine.
type Options struct {
	// Dir holds all the engine has. It is made if it doesn't exist; what an
	// engine left there before is removed. It must be an absolute path, short
	// (sockets lie in it) and of plain characters. os.MkdirTemp gives a good
	// one; with Remap its parents must be open to others (chmod o+x).
	Dir string
	// Socket is where the engine listens, for root only; Dir/engine.sock if
	// empty.
	Socket string
	// Remap makes root in a container RemapBase on the host.
	Remap bool
	// LiveRestore lets containers run on while the engine is restarted.
	LiveRestore bool
	// Path is a folder of programs that dockerd finds before the machine's own,
	// such as a stand-in for NVIDIA's hook. "" is none.
	Path string
	// Runtime is a program that the engine knows as the runtime ds01; it is called
	// with RuntimeArgs before runc's own arguments. "" is none.
	Runtime     string
	RuntimeArgs []string
	// NetNS gives the engine a network namespace of its own, with a bridge and
	// firewall rules in it: networks and published ports work there, and the
	// host's are left alone. Without it containers have no network.
	NetNS bool
	// CgroupDriver is who makes the containers' cgroups: the engine itself
	// with Cgroupfs, or if empty, and systemd with Systemd, which must be the
	// first process then.
	CgroupDriver string
}

// The cgroup drivers of an engine, as docker info has them.
const (
	Cgroupfs = "cgroupfs"
	Systemd  = "systemd"
)

// Engine is a running scratch engine. Its methods may not be called
// concurrently, but Host, CgroupParent and LoadBusybox.
type Engine struct {
	opts       Options
	guard      *guard
	containerd *process
	dockerd    *process
}

// Start starts an engine and returns when it answers. The caller must Stop
// it. Start needs root and the programs that Missing looks for.
func Start(ctx context.Context, opts Options) (*Engine, error) {
	if opts.Socket == "" {
		opts.Socket = filepath.Join(opts.Dir, "engine.sock")
	}
	if opts.CgroupDriver == "" {
		opts.CgroupDriver = Cgroupfs
	}
	if err := prepare(ctx, opts); err != nil {
		return nil, fmt.Errorf("start a scratch engine: %w", err)
	}
	g, err := startGuard(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("start a scratch engine: %w", err)
	}
	e := &Engine{opts: opts, guard: g}
	if opts.NetNS {
		err = e.makeNetNS(ctx)
	}
	if err == nil {
		err = e.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a scratch engine: %w", err), e.Stop(ctx))
	}
	return e, nil
}

// Host returns the engine's address, as DOCKER_HOST has it.
func (e *Engine) Host() string { return "unix://" + e.opts.Socket }

// CgroupParent returns the cgroup, or the slice, above the engine's containers,
// as --cgroup-parent has it. Groups that others make below it go with the
// engine.
func (e *Engine) CgroupParent() string {
	if e.opts.CgroupDriver == Systemd {
		return sliceOf(e.opts.Dir)
	}
	return cgroupOf(e.opts.Dir)
}

// Kill ends dockerd by SIGKILL, as a crash would. Containers run on until
// Restart; without LiveRestore dockerd ends them then.
func (e *Engine) Kill() error {
	return e.dockerd.end(context.Background(), syscall.SIGKILL)
}

// A Program is one of those that an engine consists of.
type Program int

// Programs.
const (
	Dockerd Program = iota
	Containerd
)

// Hang has a program of the engine take requests and answer none, until Continue:
// as a disk that doesn't answer does.
func (e *Engine) Hang(p Program) error { return e.signal(p, syscall.SIGSTOP) }

// Continue has a program of the engine go on, if it hangs.
func (e *Engine) Continue(p Program) error { return e.signal(p, syscall.SIGCONT) }

func (e *Engine) signal(p Program, s syscall.Signal) error {
	process := map[Program]*process{Dockerd: e.dockerd, Containerd: e.containerd}[p]
	if err := process.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %d: %w", process.cmd.Process.Pid, err)
	}
	return nil
}

// Restart ends dockerd in good order, if it runs, and starts it again. Without
// LiveRestore it ends the containers first.
func (e *Engine) Restart(ctx context.Context) error {
	if err := e.dockerd.end(ctx, syscall.SIGTERM); err != nil {
		return fmt.Errorf("end dockerd: %w", err)
	}
	return e.startDockerd(ctx)
}

// Stop ends the engine and its containers at once and removes all that they
// had but the logs in Dir. It does so even when ctx is done. A second Stop
// does nothing.
func (e *Engine) Stop(ctx context.Context) error {
	if err := e.guard.dismiss(context.WithoutCancel(ctx), ""); err != nil {
		return fmt.Errorf("stop the scratch engine in %s: %w", e.opts.Dir, err)
	}
	if err := os.Remove(e.opts.Socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the engine's socket: %w", err)
	}
	return nil
}

// Leave lets the engine run on after the end of this process, until Sweep.
func (e *Engine) Leave(ctx context.Context) error {
	if err := e.guard.dismiss(ctx, "leave\n"); err != nil {
		return fmt.Errorf("leave the scratch engine in %s: %w", e.opts.Dir, err)
	}
	return nil
}

// Sweep ends and removes what an engine left in dir. It refuses if the
// engine's starter still runs. Without an engine it does nothing.
func Sweep(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	// asking for the user too is how it goes when nobody else needs it
	g, err := startGuard(ctx, Options{Dir: dir, Remap: true})
	if err != nil {
		return fmt.Errorf("sweep %s: %w", dir, err)
	}
	if err := g.dismiss(ctx, ""); err != nil {
		return fmt.Errorf("sweep %s: %w", dir, err)
	}
	return nil
}

// start starts containerd and dockerd.
func (e *Engine) start(ctx context.Context) error {
	socket := filepath.Join(e.opts.Dir, "containerd.sock")
	p, err := launch(ctx, filepath.Join(e.opts.Dir, "containerd.log"), searchPath,
		"containerd", "--config", filepath.Join(e.opts.Dir, "containerd.toml"))
	if err != nil {
		return err
	}
	e.containerd = p
	err = p.await(ctx, func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		return err
	}
	return e.startDockerd(ctx)
}

func (e *Engine) startDockerd(ctx context.Context) error {
	in := func(name string) string { return filepath.Join(e.opts.Dir, name) }
	if err := os.Remove(in("engine.pid")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a killed engine's pid file: %w", err)
	}
	// each path an argument of its own: the guard knows dockerd by them
	program, args := "dockerd", []string{
		"--host", e.Host(), "--group", "root", "--config-file", in("dockerd.json"),
		"--containerd", in("containerd.sock"), "--data-root", in("data"),
		"--exec-root", in("exec"), "--pidfile", in("engine.pid"),
		"--cgroup-parent", e.CgroupParent(), "--exec-opt", "native.cgroupdriver=" + e.opts.CgroupDriver,
		"--storage-driver", "overlay2",
	}
	if e.opts.NetNS {
		program, args = "nsenter", append([]string{"--net=" + e.NetNS(), "--", lookUp("dockerd")}, args...)
		args = append(args, "--icc=false") // as docs/admins/builds.md has it
	} else {
		args = append(args, "--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false")
	}
	if e.opts.Remap {
		args = append(args, "--userns-remap", remapUser)
	}
	if e.opts.LiveRestore {
		args = append(args, "--live-restore")
	}
	path := searchPath
	if e.opts.Path != "" {
		path = e.opts.Path + ":" + path
	}
	p, err := launch(ctx, in("dockerd.log"), path, program, args...)
	if err != nil {
		return err
	}
	e.dockerd = p
	return p.await(ctx, func(ctx context.Context) error {
		resp, err := e.call(ctx, http.MethodGet, "/_ping", nil)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	})
}
