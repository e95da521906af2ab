package installer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
	"ds01.dev/ds01/internal/takeover"
)

// step does one step. Each can be done again.
func (i *Installer) step(ctx context.Context, s takeover.Step) error {
	if i.Begin != nil {
		i.Begin(s)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	switch s.Do {
	case takeover.Put:
		return i.put(s)
	case takeover.RemoveDir:
		return i.removeDir(s.Path)
	case takeover.AddGroup, takeover.DropGroup, takeover.Join, takeover.Leave:
		return i.group(ctx, s)
	case takeover.Settle:
		return i.in(takeover.InstallFolder).settle()
	case takeover.AddUser, takeover.DropUser, takeover.SettleUsers, takeover.CheckEmpty, takeover.CheckRemapped, takeover.CheckPlain,
		takeover.CopyImages, takeover.TidyNetworks, takeover.GiveVolumes:
		return i.remapStep(ctx, s)
	case takeover.ReadUnits:
		return i.Units.ReadUnits(ctx)
	case takeover.Start:
		return i.Units.Start(ctx, s.Unit)
	case takeover.Stop:
		return i.Units.Stop(ctx, s.Unit)
	case takeover.Reload:
		return i.Units.Reread(ctx, s.Unit)
	case takeover.CheckLive:
		return i.checkLive(ctx)
	case takeover.CheckMoved:
		return i.checkMoved(ctx, s.Path)
	case takeover.CheckDs01:
		return i.checkDs01(ctx)
	case takeover.CheckRun:
		return i.Try(ctx, s.User, i.at(i.wish.Gateway), i.at(i.wish.Engine))
	default:
		return fmt.Errorf("%q is no step of this ds01", s.Do)
	}
}

// await calls f until it has no error, or for as long as the installer is
// patient.
func (i *Installer) await(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, i.Patient)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// checkLive sees that the engine, where it answers now, lets containers run on.
func (i *Installer) checkLive(ctx context.Context) error {
	return i.await(ctx, func(ctx context.Context) error {
		f := takeover.Facts{Docker: takeover.Unit{Active: true}}
		ds01, err := i.Units.Unit(ctx, "ds01.service")
		if err != nil {
			return err
		}
		f.Ds01.Active = ds01.Active
		running := i.running
		if err := i.engine(ctx, &f); err != nil {
			return err
		}
		i.running = running
		if f.Engine == nil || !f.Engine.LiveRestore {
			return &problem.Error{
				What: "the engine isn't restarted", Why: problem.Because(problem.ErrConflict, "it doesn't let containers run on, though daemon.json says so"),
				Next: "journalctl -u docker says why.",
			}
		}
		return nil
	})
}

// checkMoved sees that the engine answers at a socket, for root alone where it
// isn't the usual one, and that what ran before runs.
func (i *Installer) checkMoved(ctx context.Context, socket string) error {
	e, err := i.Engine(i.at(socket))
	if err != nil {
		return err
	}
	defer e.Close() //nolint:errcheck // it was only asked
	if err := i.await(ctx, func(ctx context.Context) error {
		_, err := e.Info(ctx)
		return err
	}); err != nil {
		return fmt.Errorf("the engine at %s: %w", socket, err)
	}
	if socket != usualSocket {
		if err := closed(i.at(socket)); err != nil {
			return err
		}
	}
	for _, c := range i.running {
		o, err := e.Inspect(ctx, c.ID)
		if err != nil {
			return fmt.Errorf("container %s, which ran before: %w", c.Name, err)
		}
		if !o.Running() || o.PID != c.PID {
			return fmt.Errorf("container %s ran before as process %d, and is %s as %d", c.Name, c.PID, o.State, o.PID)
		}
	}
	return nil
}

// closed sees that a socket is root's alone.
func closed(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode().Perm()&0o077 != 0 || st.Uid != uint32(os.Geteuid()) { //nolint:gosec // ids aren't negative
		return fmt.Errorf("%s has mode %s, and must be root's alone", path, info.Mode())
	}
	return nil
}

// checkDs01 sees that nothing fails once everything has come up.
func (i *Installer) checkDs01(ctx context.Context) error {
	return i.await(ctx, func(ctx context.Context) error {
		checks, err := i.Doctor(ctx)
		if err != nil {
			return err
		}
		var failing, todo []string
		for _, c := range checks {
			if c.Result == apitype.CheckFail {
				failing, todo = append(failing, c.Name+": "+c.Detail), append(todo, c.Next)
			}
		}
		if len(failing) == 0 {
			return nil
		}
		return &problem.Error{What: "'ds01 doctor' fails", Why: errors.New(strings.Join(failing, " ")), Next: strings.Join(todo, " ")}
	})
}
