package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"ds01.dev/ds01/internal/cli"
	"ds01.dev/ds01/internal/daemon"
	"ds01.dev/ds01/internal/demo"
)

// entry hands the command line what it may not import.
func entry() cli.Entry {
	return cli.Entry{Version: version, Daemon: runDaemon, Demo: runDemo}
}

func runDaemon(ctx context.Context, o cli.DaemonOptions) error {
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	return daemon.Run(ctx, daemon.Options{
		Root: o.Root, Version: version, Reload: reload, Log: slog.New(slog.NewTextHandler(o.Log, nil)),
	})
}

func runDemo(ctx context.Context, o cli.DemoOptions) error {
	binary, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	return demo.Run(ctx, demo.Options{Binary: binary, Keep: o.Keep, End: o.End, Out: o.Out})
}
