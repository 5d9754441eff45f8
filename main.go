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
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		// Whoever asks twice does not want to wait.
		if s, ok := (<-signals).(syscall.Signal); ok {
			os.Exit(128 + int(s))
		}
		os.Exit(1)
	}()
	return roles.Main(ctx, os.Args, os.Stdout, os.Stderr)
}
