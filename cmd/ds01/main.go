// Command ds01 is the whole system in one binary: the command line, the
// daemon and the demo.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"ds01.dev/ds01/internal/cli"
)

// version is stamped by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	os.Exit(cli.Run(ctx, os.Args, streams, os.Getenv, entry()))
}
