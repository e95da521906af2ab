package installer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"ds01.dev/ds01/internal/container"
	"ds01.dev/ds01/internal/label"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/systemd"
	"ds01.dev/ds01/internal/takeover"
)

// observe looks at everything that a plan is made from.
func (i *Installer) observe(ctx context.Context) (takeover.Facts, error) {
	f := takeover.Facts{Files: map[string]takeover.File{}, Groups: map[string][]string{}}
	var err error
	if f.Before, err = i.in(takeover.InstallFolder).load(); err != nil {
		return f, err
	}
	if f.Remap, err = i.in(takeover.RemapFolder).load(); err != nil {
		return f, err
	}
	paths := i.wish.Observed()
	if f.Before != nil {
		for _, t := range f.Before.Touched {
			paths = append(paths, t.Path)
		}
	}
	for _, path := range paths {
		if f.Files[path], err = i.look(path); err != nil {
			return f, fmt.Errorf("look at %s: %w", path, err)
		}
	}
	if err := i.units(ctx, &f); err != nil {
		return f, err
	}
	if err := i.engine(ctx, &f); err != nil {
		return f, err
	}
	i.accounts(ctx, &f)
	f.User = i.Accounts.User(ctx, takeover.Remapper)
	return f, nil
}

func (i *Installer) units(ctx context.Context, f *takeover.Facts) error {
	for name, to := range map[string]*takeover.Unit{"docker.service": &f.Docker, "docker.socket": &f.Socket, "ds01.service": &f.Ds01} {
		u, err := i.Units.Unit(ctx, name)
		if err != nil {
			return &problem.Error{What: "systemd can't be asked", Why: err, Next: "ds01 is installed on hosts that run systemd."}
		}
		*to = takeover.Unit{Loaded: u.Loaded, Active: u.Active, KillMode: u.KillMode, Command: i.command(u), Listens: u.Listens}
		for _, needed := range u.Needs {
			if other, err := i.Units.Unit(ctx, needed); err == nil && other.Active {
				to.Needed = append(to.Needed, needed)
			}
		}
	}
	return nil
}

// command returns the words behind a program's name: as it runs, where it
// does, since a unit may have them from a file.
func (i *Installer) command(u systemd.Unit) []string {
	words := u.Command
	if u.MainPID > 0 {
		if line, err := os.ReadFile(i.at(filepath.Join("/proc", strconv.Itoa(u.MainPID), "cmdline"))); err == nil {
			words = strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		}
	}
	if len(words) == 0 {
		return nil
	}
	return words[1:]
}

// usualSocket is where Docker's clients look: the engine's, or ds01's.
const usualSocket = "/run/docker.sock"

// engine finds the engine and asks it. One that doesn't answer is none.
func (i *Installer) engine(ctx context.Context, f *takeover.Facts) error {
	sockets := []string{i.wish.Engine}
	if !f.Ds01.Active {
		sockets = append(sockets, usualSocket)
	}
	if !f.Docker.Active {
		return nil // to ask would start it
	}
	for _, socket := range sockets {
		if _, err := os.Lstat(i.at(socket)); err != nil {
			continue
		}
		e, err := i.Engine(i.at(socket))
		if err != nil {
			return err
		}
		if _, err := e.Info(ctx); err != nil {
			_ = e.Close()
			continue
		}
		f.At = socket
		f.Engine, err = ask(ctx, e)
		if err == nil {
			f.Checks = i.Host(ctx, e, i.at(socket))
			i.running = f.Engine.Running()
		}
		_ = e.Close()
		return err
	}
	if f.Before != nil {
		i.running = f.Before.Running
	}
	return nil
}

func ask(ctx context.Context, e Engine) (*takeover.Engine, error) {
	info, err := e.Info(ctx)
	if err != nil {
		return nil, err
	}
	setup, err := e.Setup(ctx)
	if err != nil {
		return nil, err
	}
	all, err := e.List(ctx)
	if err != nil {
		return nil, err
	}
	found := &takeover.Engine{Driver: info.CgroupDriver, LiveRestore: setup.LiveRestore, Swarm: setup.Swarm, Remapped: info.Remapped, DataRoot: info.DataRoot}
	for _, one := range all {
		o, err := e.Inspect(ctx, one.ID)
		if err != nil {
			return nil, err
		}
		found.Containers = append(found.Containers, contained(o))
	}
	slices.SortFunc(found.Containers, func(a, b takeover.Container) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func contained(o container.Observed) takeover.Container {
	c := takeover.Container{ID: o.ID, Name: o.Name, Ours: o.Labels[label.Managed] == "true"}
	if o.Running() {
		c.PID = o.PID
	}
	for _, key := range []string{label.User, "ds01.user"} {
		if c.Owner == "" {
			c.Owner = o.Labels[key]
		}
	}
	for _, m := range o.Mounts {
		c.Sources = append(c.Sources, m.Source)
	}
	return c
}

// accounts reads the groups.
func (i *Installer) accounts(ctx context.Context, f *takeover.Facts) {
	for _, g := range i.wish.Groups {
		if members, ok := i.Accounts.Group(ctx, g); ok {
			f.Groups[g] = members
		}
	}
	text, err := os.ReadFile(i.at("/etc/group"))
	if err != nil {
		return // a host without the file has no such members
	}
	for line := range strings.Lines(string(text)) {
		if f4 := strings.Split(strings.TrimSpace(line), ":"); len(f4) == 4 && f4[0] == "docker" && f4[3] != "" {
			f.Members = strings.Split(f4[3], ",")
		}
	}
}
