package roles

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tbmsock/transport"
)

// The values below are flag values that say, when they cannot be read, what they take. They are
// used through cli.GenericFlag.

// durationValue is a time span such as 25s or 1m30s.
type durationValue struct {
	d        time.Duration
	min, max time.Duration // max 0: any
}

func (v *durationValue) String() string { return shortDuration(v.d) }

func (v *durationValue) Set(s string) error {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return fmt.Errorf("use a number with a unit, such as 500ms, 25s or 2m%s", v.limits())
	case d < v.min || v.max > 0 && d > v.max:
		return fmt.Errorf("out of range%s", v.limits())
	}
	v.d = d
	return nil
}

func (v *durationValue) limits() string {
	switch {
	case v.max > 0:
		return fmt.Sprintf("; allowed is %s to %s", shortDuration(v.min), shortDuration(v.max))
	case v.min > 0:
		return fmt.Sprintf("; allowed is %s or more", shortDuration(v.min))
	}
	return "; allowed is 0 or more"
}

// shortDuration writes 1m0s as 1m.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// bytesValue is a number of bytes such as 1MiB or 500kB.
type bytesValue struct {
	n        int64
	min, max int64
}

var bytesForm = regexp.MustCompile(`^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$`)

var byteUnits = map[string]int64{
	"": 1, "b": 1,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
	"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
}

func (v *bytesValue) String() string { return formatBytes(v.n) }

func (v *bytesValue) Set(s string) error {
	m := bytesForm.FindStringSubmatch(s)
	if m == nil {
		return v.wrong()
	}
	unit, ok := byteUnits[strings.ToLower(m[2])]
	if !ok {
		return v.wrong()
	}
	f, err := strconv.ParseFloat(m[1], 64)
	if err != nil || f*float64(unit) > float64(v.max) || f*float64(unit) < float64(v.min) {
		return v.wrong()
	}
	v.n = int64(f * float64(unit))
	return nil
}

func (v *bytesValue) wrong() error {
	return fmt.Errorf("use a size such as 500kB, 1MB or 1MiB, from %s to %s", formatBytes(v.min), formatBytes(v.max))
}

func formatBytes(n int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10) + "B"
}

// rateValue is how often packets are taken: 10hz, 2khz, 600/min, 100ms.
type rateValue struct {
	period time.Duration
	text   string
}

const (
	minPeriod = 500 * time.Microsecond // 2 kHz
	maxPeriod = time.Hour
)

var rateForm = regexp.MustCompile(`(?i)^(\d+(?:\.\d+)?)\s*(hz|khz|/s|/min|/h)$`)

func (v *rateValue) String() string { return v.text }

func (v *rateValue) Set(s string) error {
	period, err := parsePeriod(s)
	if err != nil {
		return err
	}
	v.period, v.text = period, s
	return nil
}

func parsePeriod(s string) (time.Duration, error) {
	wrong := errors.New("use a rate such as 10hz, 0.5hz, 2khz or 600/min, or a period such as 100ms, from one an hour to 2khz")
	var period float64 // seconds
	if m := rateForm.FindStringSubmatch(strings.TrimSpace(s)); m != nil {
		f, err := strconv.ParseFloat(m[1], 64)
		if err != nil || f <= 0 {
			return 0, wrong
		}
		switch strings.ToLower(m[2]) {
		case "hz", "/s":
			period = 1 / f
		case "khz":
			period = 1e-3 / f
		case "/min":
			period = 60 / f
		case "/h":
			period = 3600 / f
		}
	} else {
		d, err := time.ParseDuration(strings.TrimSpace(s))
		if err != nil {
			return 0, wrong
		}
		period = d.Seconds()
	}
	d := math.Round(period * float64(time.Second))
	if d < float64(minPeriod) || d > float64(maxPeriod) {
		return 0, wrong
	}
	return time.Duration(d), nil
}

// choiceValue is one of a few words.
type choiceValue struct {
	s       string
	choices []string
}

func (v *choiceValue) String() string { return v.s }

func (v *choiceValue) Set(s string) error {
	for _, c := range v.choices {
		if strings.EqualFold(s, c) {
			v.s = c
			return nil
		}
	}
	return fmt.Errorf("use %s", orList(v.choices))
}

func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// countValue is a whole number.
type countValue struct {
	n        int64
	min, max int64
}

func (v *countValue) String() string { return strconv.FormatInt(v.n, 10) }

func (v *countValue) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < v.min || n > v.max {
		return fmt.Errorf("use a whole number from %d to %d", v.min, v.max)
	}
	v.n = n
	return nil
}

// numberValue is a number with a fraction.
type numberValue struct{ v, min, max float64 }

func (v *numberValue) String() string { return strconv.FormatFloat(v.v, 'g', -1, 64) }

func (v *numberValue) Set(s string) error {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= v.min && f <= v.max) { // NaN too
		return fmt.Errorf("use a number from %v to %v", v.min, v.max)
	}
	v.v = f
	return nil
}

// listValue is a flag that may be given several times; in the environment its items are
// separated by commas. Giving it replaces the default, and the environment's items.
type listValue struct {
	items []string
	check func(string) error    // may be nil
	split func(string) []string // nil: at each comma
	given bool
}

// endOfEnvironment makes the next item, which stands on the command line, replace those before it.
func (v *listValue) endOfEnvironment() { v.given = false }

func (v *listValue) String() string { return strings.Join(v.items, ",") }

func (v *listValue) Set(s string) error {
	if !v.given {
		v.given, v.items = true, nil
	}
	split := v.split
	if split == nil {
		split = func(s string) []string { return strings.Split(s, ",") }
	}
	for _, item := range split(s) {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if v.check != nil {
			if err := v.check(item); err != nil {
				return err
			}
		}
		v.items = append(v.items, item)
	}
	return nil
}

// Flags of these values.

func valueFlag(name, usage string, value cli.Generic) *cli.GenericFlag {
	return &cli.GenericFlag{Name: name, Usage: usage, Value: value, EnvVars: env(name)}
}

func textFlag(name, usage, value string) *cli.StringFlag {
	return &cli.StringFlag{Name: name, Usage: usage, Value: value, EnvVars: env(name)}
}

func durationFlag(name, usage string, value, min, max time.Duration) *cli.GenericFlag {
	return valueFlag(name, usage, &durationValue{value, min, max})
}

func bytesFlag(name, usage string, value, min, max int64) *cli.GenericFlag {
	return valueFlag(name, usage, &bytesValue{value, min, max})
}

func choiceFlag(name, usage string, choices ...string) *cli.GenericFlag {
	return valueFlag(name, usage+": "+orList(choices), &choiceValue{choices[0], choices})
}

func countFlag(name, usage string, value, max int64) *cli.GenericFlag {
	return valueFlag(name, usage, &countValue{value, 0, max})
}

func listFlag(name, usage string, check func(string) error, items ...string) cli.Flag {
	return layeredFlag{valueFlag(name, usage, &listValue{items: items, check: check})}
}

func durationOf(c *cli.Context, name string) time.Duration {
	return c.Generic(name).(*durationValue).d
}
func bytesOf(c *cli.Context, name string) int64    { return c.Generic(name).(*bytesValue).n }
func choiceOf(c *cli.Context, name string) string  { return c.Generic(name).(*choiceValue).s }
func countOf(c *cli.Context, name string) int64    { return c.Generic(name).(*countValue).n }
func listOf(c *cli.Context, name string) []string  { return c.Generic(name).(*listValue).items }
func rateOf(c *cli.Context, name string) rateValue { return *c.Generic(name).(*rateValue) }

var (
	flagForm = regexp.MustCompile(`(?s)^invalid value "(.*)" for flag -{1,2}([\w-]+): (.*)$`)
	envForm  = regexp.MustCompile(`(?s)^could not parse "(.*)" from environment variable "(\w+)" as value for flag ([\w-]+): (.*)$`)
)

// flagError puts the parser's error in our words: flag, value without a password, and what is allowed.
func flagError(err error) error {
	if m := flagForm.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("--%s %s: %s", m[2], shownValue(m[2], m[1]), m[3])
	}
	if m := envForm.FindStringSubmatch(err.Error()); m != nil {
		return fmt.Errorf("%s=%s: %s", m[2], shownValue(m[3], m[1]), m[4])
	}
	return err
}

func shownValue(flag, value string) string {
	if flag == "url" {
		return transport.RedactURL(value)
	}
	return value
}
