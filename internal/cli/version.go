package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"ds01.dev/ds01/internal/apitype"
	"ds01.dev/ds01/internal/problem"
)

// versions is what "version --json" prints.
type versions struct {
	Client string           `json:"client"`
	Daemon *apitype.Version `json:"daemon"` // null while it can't be reached
}

func (a *app) version() *cobra.Command {
	var asJSON bool
	return a.command(spec{
		use:      "version",
		short:    "Show the versions of the command line, the daemon and the engine",
		long:     "Shows the versions at both ends of the socket. A daemon that can't be reached is no failure here.",
		examples: []string{"ds01 version", "ds01 version --json"},
		guide:    "This shows versions, for instance to write into a question to your admins. It changes nothing.",
		exits:    []int{exitInterrupted}, json: &asJSON,
		run: func(ctx context.Context, _ []string) error {
			v := versions{Client: cmp.Or(a.entry.Version, "unknown")}
			c, err := a.client()
			if err != nil {
				return err
			}
			daemon, err := c.Version(ctx)
			switch {
			case err == nil:
				v.Daemon = &daemon
			case !errors.Is(err, problem.ErrUnavailable):
				return err
			}
			if asJSON {
				return a.printJSON(v)
			}
			a.writeVersions(v)
			return nil
		},
	})
}

func (a *app) writeVersions(v versions) {
	var t table
	t.add("command line", v.Client)
	if v.Daemon == nil {
		t.add("daemon", "not reached")
		t.write(a.Out)
		return
	}
	t.add("daemon", v.Daemon.Version)
	if v.Daemon.EngineVersion == "" {
		t.add("engine", "down")
	} else {
		t.add("engine", fmt.Sprintf("%s (API %s), isolation by %s", v.Daemon.EngineVersion, v.Daemon.EngineAPI, v.Daemon.Isolation))
	}
	t.add("cgroups", fmt.Sprintf("v%d", v.Daemon.CgroupVersion))
	t.add("GPUs", v.Daemon.GPUProvider)
	t.write(a.Out)
}
