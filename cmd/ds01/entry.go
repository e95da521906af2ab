package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"ds01.dev/ds01/internal/cli"
	"ds01.dev/ds01/internal/daemon"
)

// entry hands the command line what it may not import.
func entry() cli.Entry {
	return cli.Entry{Version: version, Daemon: runDaemon}
}

func runDaemon(ctx context.Context, o cli.DaemonOptions) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	return daemon.Run(ctx, daemon.Options{
		Root: o.Root, Version: version, Reload: reload, Log: slog.New(slog.NewTextHandler(o.Log, nil)),
	})
}
