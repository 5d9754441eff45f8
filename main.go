// Command tbmsock is the telemetry line between a tunnel boring machine and everyone who watches
// it; see README.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"tbmsock/roles"
)

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// After the first signal the default is restored: the second ends the process at once.
	context.AfterFunc(ctx, stop)
	return roles.Main(ctx, os.Args, os.Stdout, os.Stderr)
}
