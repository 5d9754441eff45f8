package roles

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/telemetry"
	"tbmsock/telemetry/recording"
	"tbmsock/transport"
)

// formatFlags say what the lines of packets look like; the demo has them too.
func formatFlags() []cli.Flag {
	return []cli.Flag{
		choiceFlag("format", "form of the packets on stdout; csv has the same columns for every packet", "text", "json", "csv"),
		listFlag("channels", "channels that are shown, such as thrust.total,cutterhead.*,derived.fpi (repeatable); text chooses a few if none are given, csv has all", checkChannel),
		choiceFlag("color", "colour values by the state of their limits; auto does if stdout is a terminal", "auto", "always", "never"),
		dictionaryFlag(),
		csvSafeFlag(),
		switchFlag("alarms-only", "log changes of state alone: warnings, alarms, what became stale, and what is normal again"),
	}
}

// csvSafeFlag is for tables that people open.
func csvSafeFlag() *cli.BoolFlag {
	return switchFlag("csv-safe", "in CSV, write text that a spreadsheet would take for a formula (=, +, -, @) as a JSON string")
}

// outputFlags say where packets are kept.
func outputFlags() []cli.Flag {
	return []cli.Flag{
		textFlag("output", "file to append packets to, too: .csv is CSV, .txt or .log text, which cannot be gone on with, anything else JSON Lines; none if empty", ""),
		bytesFlag("rotate-size", "size at which the file is closed and a new one begun, 0 for never", 100_000_000, 0, 1<<40),
		durationFlag("rotate-every", "time after which it is closed, counted from midnight UTC, 0 for never", 24*time.Hour, 0, 365*24*time.Hour),
		countFlag("keep", "closed files that are kept, 0 for all", 0, 1<<20),
		switchFlag("plain", "leave closed files as they are instead of compressing them (gzip)"),
		valueFlag("fsync", "when lines are forced to the disk: always (a power cut loses none), interval=1s (it loses that much at most), never (what the system had not written); a crash of the process alone loses none", &fsyncValue{interval: time.Second, allowNever: true}),
	}
}

func checkChannel(pattern string) error {
	_, err := telemetry.MatchChannels([]string{pattern})
	return err
}

// openOutput opens the file that the flags name; nil if they name none.
func openOutput(c *cli.Context, log *logrus.Logger, form *lineForm) (*recording.File, error) {
	path := c.String("output")
	if path == "" {
		return nil, nil
	}
	entry := log.WithField("file", path)
	f, cut, err := recording.Open(recording.Options{
		Path:     path,
		MaxBytes: bytesOf(c, "rotate-size"),
		MaxAge:   durationOf(c, "rotate-every"),
		Keep:     int(countOf(c, "keep")),
		Plain:    c.Bool("plain"),
		Sync:     syncPolicy(fsyncOf(c, "fsync")),
		Resume:   form.resumes(),
		Header:   form.header(),
		Ours:     form.ours,
		Report: func(err error, what string) {
			switch {
			case err == nil:
				entry.Info(what)
			case errors.Is(err, recording.ErrRemoved), errors.Is(err, recording.ErrTruncated):
				entry.WithError(err).Warn(what)
			default:
				entry.WithError(err).Error(what)
			}
		},
	})
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: make the directory %s first", err, filepath.Dir(path))
		}
		return nil, fmt.Errorf("--output %s: %w", path, err)
	}
	if !form.resumes() {
		entry.Warn("a file of text, or of alarms only, cannot be gone on with: what is sent while no logger runs is in it only if --since says so")
	}
	if cut > 0 {
		entry.WithField("bytes", cut).Warn("half a line at the end of the file, left by a crash, was cut off")
	}
	return f, nil
}

// formOfFile is the form of lines that the file's name asks for.
func formOfFile(path string) string {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		return "csv"
	case ".txt", ".log":
		return "text"
	}
	return "json"
}

// switchFlag is on or off.
func switchFlag(name, usage string) *cli.BoolFlag {
	return &cli.BoolFlag{Name: name, Usage: usage, EnvVars: env(name)}
}

// loggerFlags are all of a logger's.
func loggerFlags() []cli.Flag {
	flags := append(clientFlags(),
		listFlag("room", "room to join (repeatable); what is for everyone is logged too", transport.CheckRoom),
		listFlag("event", "event to log (repeatable)", nil, transport.EventTelemetry),
	)
	flags = append(append(flags, sinceFlag()), formatFlags()...)
	return append(flags, outputFlags()...)
}

func syncPolicy(v *fsyncValue) recording.SyncPolicy {
	return recording.SyncPolicy{Always: !v.never && v.interval == 0, Interval: v.interval}
}
