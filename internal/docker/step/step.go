// Package step stands between BuildKit and runc, and starts each step of a
// person's build in that person's control group.
//
// BuildKit in the engines that Debian ships runs every step in one group for
// all, whatever it is asked. What it runs them with is the first runc on the
// engine's PATH: ds01 under that name. A step that ds01 has asked for says in
// its arguments, behind one that is no program, in which group it belongs: the
// path of one, or a slice where the engine leaves groups to systemd.
// Without this package such a step can't start at all. Other containers, and
// steps of builds that didn't come through ds01, are runc's as they are.
//
// Beside it closes what BuildKit leaves open until 0.12.5 (CVE-2024-23652):
// after a step it removes the empty files it made to mount on, by a path that
// the step may have led out of its file system.
package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"ds01.dev/ds01/internal/admission"
)

// Program is the name under which the engine calls it.
const Program = "runc"

// Run does what runc is asked for, with args as the process has them, and
// returns the exit code. It searches path, a list of folders, for runc itself.
func Run(ctx context.Context, args []string, path string, stderr io.Writer) int {
	code, err := run(ctx, args, path)
	if err != nil {
		fmt.Fprintln(stderr, "ds01:", err)
		return 1
	}
	return code
}

func run(ctx context.Context, args []string, path string) (int, error) {
	s, ours, err := read(BundleOf(args))
	if err != nil {
		return 0, err
	}
	if !ours {
		return 0, Become(args, path)
	}
	runc, err := next(path)
	if err != nil {
		return 0, err
	}
	if err := s.move(); err != nil {
		return 0, err
	}
	absent, err := s.absent()
	if err != nil {
		return 0, err
	}
	if s.slice {
		args = slices.Insert(args, 1, "--systemd-cgroup")
	}
	code, err := child(ctx, runc, args)
	return code, errors.Join(err, s.tidy(absent))
}

// next returns the runc that stands behind this one on the path.
func next(path string) (string, error) {
	self, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", fmt.Errorf("find runc: %w", err)
	}
	for _, dir := range filepath.SplitList(path) {
		name := filepath.Join(dir, Program)
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && !os.SameFile(info, self) {
			return name, nil
		}
	}
	return "", errors.New("find runc: there is none behind ds01 on the engine's PATH")
}

// Become replaces this process by the runc that stands behind it on the path. It
// returns only with an error.
func Become(args []string, path string) error {
	program, err := next(path)
	if err != nil {
		return err
	}
	//nolint:gosec // the engine's own arguments for the engine's own program
	return fmt.Errorf("start %s: %w", program, syscall.Exec(program, append([]string{program}, args[1:]...), os.Environ()))
}

// BundleOf returns the folder of what is to be started, "" where nothing is.
func BundleOf(args []string) string {
	if !slices.Contains(args, "run") && !slices.Contains(args, "create") {
		return ""
	}
	for i, a := range args {
		if (a == "--bundle" || a == "-b") && i+1 < len(args) {
			return args[i+1]
		}
		if dir, ok := strings.CutPrefix(a, "--bundle="); ok {
			return dir
		}
	}
	return "" // the folder it is in, as of no step
}

// isBuildKits tells BuildKit's bundles, DATA-ROOT/buildkit/executor/ID, from
// those of containers, whose arguments are their owners' own.
func isBuildKits(bundle string) bool {
	executor := filepath.Dir(bundle)
	return filepath.IsAbs(bundle) && filepath.Base(executor) == "executor" && filepath.Base(filepath.Dir(executor)) == "buildkit"
}

// child runs runc to its end. Unlike what replaces the process it must be told
// of signals, and must not outlive it.
func child(ctx context.Context, program string, args []string) (int, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args[1:]...) //nolint:gosec // as Become
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // the signal comes when the thread ends that started it
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", program, err)
	}
	over := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s) // it may have ended
			case <-over:
				return
			}
		}
	}()
	err := cmd.Wait()
	close(over)
	if _, ended := errors.AsType[*exec.ExitError](err); ended || err == nil {
		return exitCode(cmd.ProcessState), nil
	}
	return 0, fmt.Errorf("run %s: %w", program, err)
}

func exitCode(p *os.ProcessState) int {
	if s, ok := p.Sys().(syscall.WaitStatus); ok && s.Signaled() {
		return 128 + int(s.Signal())
	}
	return p.ExitCode()
}

// A spec is what a step is started by: the parts of runc's configuration that
// are read or changed here, and the rest as it is.
type spec struct {
	file    string
	all     map[string]json.RawMessage
	process map[string]json.RawMessage
	linux   map[string]json.RawMessage
	args    []string
	group   string // the person's
	slice   bool   // the group is a slice: systemd keeps it
	root    string
	dests   []string // of mounts
}

// read returns the configuration in a bundle, and whether it is a step's that
// ds01 has asked for.
func read(bundle string) (s spec, ours bool, err error) {
	if !isBuildKits(bundle) {
		return s, false, nil
	}
	s.file = filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(s.file)
	if err != nil {
		return s, false, fmt.Errorf("read the step: %w", err)
	}
	var root struct{ Path string }
	var mounts []struct{ Destination string }
	if err := errors.Join(
		json.Unmarshal(data, &s.all), decode(s.all, "process", &s.process), decode(s.all, "linux", &s.linux),
		decode(s.all, "root", &root), decode(s.all, "mounts", &mounts),
		decode(s.process, "args", &s.args),
	); err != nil {
		return s, false, fmt.Errorf("read the step: %w", err)
	}
	s.root = root.Path
	if !filepath.IsAbs(s.root) {
		s.root = filepath.Join(bundle, s.root)
	}
	for _, m := range mounts {
		s.dests = append(s.dests, m.Destination)
	}
	s.group, s.args, ours = admission.SplitKitStep(s.args)
	s.slice = slice.MatchString(s.group)
	return s, ours, nil
}

// slice is what systemd calls a group of groups.
var slice = regexp.MustCompile(`^[A-Za-z0-9_.-]+\.slice$`)

func decode(from map[string]json.RawMessage, key string, to any) error {
	if raw, ok := from[key]; ok {
		return json.Unmarshal(raw, to)
	}
	return nil
}

// move puts the step into its group.
func (s *spec) move() error {
	within := filepath.Join(s.group, "build-"+s.id())
	switch {
	case s.slice:
		within = s.group + ":ds01-build:" + s.id() // as runc tells systemd of a scope
	case !filepath.IsAbs(s.group) || filepath.Clean(s.group) != s.group || s.group == "/":
		return fmt.Errorf("move the step: %q is no control group", s.group)
	}
	capabilities, err := s.capabilities()
	if err != nil {
		return fmt.Errorf("move the step: %w", err)
	}
	for _, change := range []struct {
		in    map[string]json.RawMessage
		key   string
		value any
	}{
		{s.process, "args", s.args},
		{s.process, "capabilities", capabilities},
		{s.linux, "cgroupsPath", within},
		{s.all, "process", s.process},
		{s.all, "linux", s.linux},
	} {
		data, err := json.Marshal(change.value)
		if err != nil {
			return fmt.Errorf("move the step: %w", err)
		}
		change.in[change.key] = data
	}
	data, err := json.Marshal(s.all)
	if err != nil {
		return fmt.Errorf("move the step: %w", err)
	}
	if err := os.WriteFile(s.file, data, 0o600); err != nil {
		return fmt.Errorf("move the step: %w", err)
	}
	return nil
}

// id is BuildKit's of the step.
func (s *spec) id() string { return filepath.Base(filepath.Dir(s.file)) }

// capabilities returns those of the step, by set: all that BuildKit gives but
// the one to make devices, which no container has.
func (s *spec) capabilities() (map[string][]string, error) {
	var sets map[string][]string
	err := decode(s.process, "capabilities", &sets)
	for name, set := range sets {
		sets[name] = slices.DeleteFunc(set, func(c string) bool { return c == "CAP_MKNOD" })
	}
	return sets, err
}
