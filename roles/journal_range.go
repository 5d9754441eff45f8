package roles

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"tbmsock/transport"
)

// journalRangeFlags say which of its entries. Other commands have flags of the same names that mean something else.
func journalRangeFlags() []cli.Flag {
	return []cli.Flag{
		valueFlag("from", "offset to begin with", &countValue{min: 1, max: 1 << 62}),
		valueFlag("to", "last offset", &countValue{min: 1, max: 1 << 62}),
		valueFlag("last", "only so many of the latest entries", &countValue{min: 1, max: 1 << 62}),
		valueFlag("since", "time to begin with, as in 2026-11-23T14:30:00Z, or how long ago, as in 2h", &momentValue{}),
		valueFlag("until", "time to end before; now ends with the last entry", &momentValue{}),
		listFlag("source", "only entries of this source (repeatable)", nil),
	}
}

// entryRange is which entries of a journal are wanted.
type entryRange struct {
	start transport.JournalStart
	to    uint64    // the last offset
	until time.Time // before it; zero for all
}

func journalRange(c *cli.Context, now time.Time) (entryRange, error) {
	from, to, last := countOf(c, "from"), countOf(c, "to"), countOf(c, "last")
	since, until := momentOf(c, "since"), momentOf(c, "until")
	r := entryRange{to: 1<<64 - 1, until: until.at(now)}
	given := 0
	if from > 0 {
		r.start.Offset = uint64(from)
		given++
	}
	if last > 0 {
		r.start.Last = uint64(last)
		given++
	}
	if since.given() {
		r.start.Time = since.at(now)
		given++
	}
	if to > 0 {
		r.to = uint64(to)
	}
	switch {
	case given > 1:
		return r, errors.New("use one of --from, --last and --since")
	case to > 0 && from > to:
		return r, fmt.Errorf("--from %d lies behind --to %d: nothing is between them", from, to)
	case until.given() && r.start.Time.After(r.until):
		return r, fmt.Errorf("--since %s is later than --until %s: nothing is between them", since.text, until.text)
	}
	return r, nil
}

// momentValue is a time, or how long ago.
type momentValue struct {
	t    time.Time
	ago  time.Duration // if t is zero
	text string
}

func (v *momentValue) String() string { return v.text }

func (v *momentValue) Set(s string) error {
	t, err := time.Parse(time.RFC3339Nano, s)
	var ago time.Duration
	if err != nil && s != "now" {
		t = time.Time{}
		if ago, err = time.ParseDuration(s); err != nil || ago < 0 {
			return errors.New("use a time such as 2026-11-23T14:30:00Z, how long ago, such as 90m, or now")
		}
	}
	*v = momentValue{t, ago, s}
	return nil
}

func (v *momentValue) given() bool { return v.text != "" }

// at is the time, seen from now; zero if none was given.
func (v *momentValue) at(now time.Time) time.Time {
	if v.given() && v.t.IsZero() {
		return now.Add(-v.ago)
	}
	return v.t
}

func momentOf(c *cli.Context, name string) *momentValue { return c.Generic(name).(*momentValue) }
