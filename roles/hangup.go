package roles

import (
	"os"
	"os/signal"
	"slices"
	"sync"

	"github.com/sirupsen/logrus"
)

// hangup is what SIGHUP does to this process.
type hangup int

const (
	hangupIgnored hangup = iota // the process was started by nohup, or there is no such signal
	hangupEnds                  // it has a terminal, which was closed: it ends as by SIGTERM
	hangupReopens               // it is a service: it opens its files again, if it has any, and goes on
)

// hangupPolicy is decided once, at the start: a terminal that was closed is none any more.
var hangupPolicy = sync.OnceValue(func() hangup {
	switch s := hangupSignal(); {
	case s == nil || signal.Ignored(s):
		return hangupIgnored
	case hasControllingTerminal() || slices.ContainsFunc([]*os.File{os.Stdin, os.Stdout, os.Stderr}, func(f *os.File) bool { return isTerminal(f) }):
		return hangupEnds
	}
	return hangupReopens
})

// HangupEnds reports whether SIGHUP ends the process in order, as SIGTERM does.
func HangupEnds() bool { return hangupPolicy() == hangupEnds }

// hangups returns the SIGHUPs that ask a service to reopen its files; nil, which never receives, if SIGHUP means
// something else.
func hangups() <-chan os.Signal {
	if hangupPolicy() != hangupReopens {
		return nil
	}
	c := make(chan os.Signal, 1)
	signal.Notify(c, hangupSignal())
	return c
}

// ignoreHangups logs SIGHUPs to a service that has no files to open again, until stop is closed.
func ignoreHangups(log *logrus.Logger, hangups <-chan os.Signal, stop <-chan struct{}) {
	for {
		select {
		case <-hangups:
			log.Info("SIGHUP: nothing to reopen")
		case <-stop:
			return
		}
	}
}
