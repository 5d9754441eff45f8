package roles

import (
	"errors"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// fsyncValue is when what was written is forced to the disk: always, interval=1s, and, where a flag allows it, never.
type fsyncValue struct {
	interval   time.Duration // 0: always
	never      bool
	allowNever bool
}

const (
	shortestFsync = 10 * time.Millisecond
	longestFsync  = time.Hour
)

func (v *fsyncValue) String() string {
	switch {
	case v.never:
		return "never"
	case v.interval == 0:
		return "always"
	}
	return "interval=" + shortDuration(v.interval)
}

func (v *fsyncValue) Set(s string) error {
	switch {
	case s == "always":
		v.interval, v.never = 0, false
		return nil
	case s == "never" && v.allowNever:
		v.interval, v.never = 0, true
		return nil
	}
	text, ok := strings.CutPrefix(s, "interval=")
	d, err := time.ParseDuration(text)
	switch {
	case ok && err == nil && d >= shortestFsync && d <= longestFsync:
		v.interval, v.never = d, false
		return nil
	case v.allowNever:
		return errors.New("use always, never, or interval=1s with a time from 10ms to 1h")
	}
	return errors.New("use always, or interval=1s with a time from 10ms to 1h")
}

func fsyncOf(c *cli.Context, name string) *fsyncValue { return c.Generic(name).(*fsyncValue) }
