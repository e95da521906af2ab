package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (a *app) daemon() *cobra.Command {
	var root string
	return a.command(spec{
		use:   "daemon",
		short: "Run the daemon (root)",
		long: "Runs the daemon until it gets SIGTERM; SIGHUP reads the configuration again. The service manager does\n" +
			"that on an installed host. With --root everything it reads and writes is under DIR, so that several\n" +
			"can run on one host.",
		examples: []string{"ds01 daemon", "ds01 daemon --root /tmp/try"},
		guide:    "This runs in the foreground until Ctrl-C. Containers go on without it.",
		exits:    []int{6, 7},
		flags:    func(f *pflag.FlagSet) { f.StringVar(&root, "root", "", "`DIR` that stands for /") },
		run: func(ctx context.Context, _ []string) error {
			if root != "" {
				path, err := filepath.Abs(root)
				if err != nil {
					return usage("--root "+root+" can't be used", err.Error(), "Name a directory.")
				}
				root = path
			}
			return a.entry.Daemon(ctx, DaemonOptions{Root: root, Log: a.Err})
		},
	})
}
