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
	// A write to a pipe that nobody reads any more is an error like others, and not the end of the process.
	signal.Ignore(syscall.SIGPIPE)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals, hangups := make(chan os.Signal, 2), make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if roles.HangupEnds() {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	go func() {
		select {
		case <-signals:
			cancel()
		case <-hangups: // a closed terminal may send several, and other signals too
			cancel()
			<-signals
		}
		// Whoever asks twice does not want to wait.
		if s, ok := (<-signals).(syscall.Signal); ok {
			os.Exit(128 + int(s))
		}
		os.Exit(1)
	}()
	return roles.Main(ctx, os.Args, os.Stdout, os.Stderr)
}
