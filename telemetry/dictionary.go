package telemetry

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"tbmsock/telemetry/internal/yamldoc"
)

//go:embed dictionary.yaml
var defaultDictionary []byte

// ChannelType is the kind of a channel's values.
type ChannelType string

// The types.
const (
	TypeFloat ChannelType = "float"
	TypeInt   ChannelType = "int"
	TypeText  ChannelType = "text"
)

// Limits are the values beyond which a channel's state changes, in its unit. NaN stands for one
// that does not apply.
type Limits struct {
	LowAlarm, LowWarn, HighWarn, HighAlarm float64
}

// NoLimits has none.
func NoLimits() Limits {
	nan := math.NaN()
	return Limits{nan, nan, nan, nan}
}

// Channel describes one channel.
type Channel struct {
	ID          string // "thrust.total": group and channel
	Group       string // "thrust"
	Name        string
	Unit        string
	Type        ChannelType
	RateHz      float64 // nominal
	Min, Max    float64 // what the sensor can give; NaN: not said
	Limits      Limits
	Hysteresis  float64       // how far a value must come back before a state ends, in the unit
	Persistence time.Duration // how long it must stand beyond a limit before the state begins
	StaleAfter  time.Duration // how long it counts as current
	FrozenAfter time.Duration // how long it may show one and the same value while the machine bores; 0: for ever
}

// Group is a part of the machine.
type Group struct {
	ID, Name string
	Channels []Channel
}

// Dictionary describes all channels. It is read-only once made, and safe for concurrent use.
type Dictionary struct {
	Groups   []Group
	Machines []Machine // kinds of machine that differ from the rest

	geometry Geometry // of the kind that this dictionary is for
	byID     map[string]*Channel
}

// DefaultDictionary is the embedded one.
func DefaultDictionary() *Dictionary {
	d, err := ParseDictionary(defaultDictionary)
	if err != nil {
		panic(err) // a test holds it
	}
	return d
}

// Channel returns the channel with the id, or nil.
func (d *Dictionary) Channel(id string) *Channel { return d.byID[id] }

// Channels lists all channels in the dictionary's order.
func (d *Dictionary) Channels() []Channel {
	var all []Channel
	for _, g := range d.Groups {
		all = append(all, g.Channels...)
	}
	return all
}

// DictionaryError says where a dictionary is wrong, and why.
type DictionaryError = yamldoc.Error

const dictionaryDoc = yamldoc.Doc("dictionary")

// ParseDictionary reads a dictionary and checks it. The error is a [*DictionaryError].
func ParseDictionary(data []byte) (*Dictionary, error) {
	doc, err := dictionaryDoc.Parse(data)
	if err != nil {
		return nil, err
	}
	root, err := dictionaryDoc.Mapping(doc, "the dictionary", "defaults", "groups", "machines")
	if err != nil {
		return nil, err
	}
	defaults := channelEntry{Type: string(TypeFloat)}
	if n := root["defaults"]; n != nil {
		if err := defaults.read(n, "type", "rate_hz", "hysteresis", "persistence", "stale_after", "frozen_after"); err != nil {
			return nil, err
		}
	}
	groups := root["groups"]
	if groups == nil || groups.Kind != yaml.SequenceNode || len(groups.Content) == 0 {
		return nil, dictionaryDoc.Wrong(doc, "groups is missing: a list of groups of channels")
	}
	d := &Dictionary{}
	entries := map[string]channelEntry{}
	for _, n := range groups.Content {
		if err := d.readGroup(n, defaults, entries); err != nil {
			return nil, err
		}
	}
	d.index()
	if err := d.readMachines(root["machines"], entries); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Dictionary) index() {
	d.byID = map[string]*Channel{}
	for i := range d.Groups {
		for j := range d.Groups[i].Channels {
			c := &d.Groups[i].Channels[j]
			d.byID[c.ID] = c
		}
	}
}

func (d *Dictionary) readGroup(n *yaml.Node, defaults channelEntry, entries map[string]channelEntry) error {
	m, err := dictionaryDoc.Mapping(n, "a group", "id", "name", "channels")
	if err != nil {
		return err
	}
	var g Group
	if err := readID(n, m["id"], "group", &g.ID); err != nil {
		return err
	}
	if slices.ContainsFunc(d.Groups, func(o Group) bool { return o.ID == g.ID }) {
		return dictionaryDoc.Wrong(m["id"], "group %s: a second of this id", g.ID)
	}
	if m["name"] != nil {
		g.Name = m["name"].Value
	}
	channels := m["channels"]
	if channels == nil || channels.Kind != yaml.SequenceNode {
		return dictionaryDoc.Wrong(n, "group %s: channels is missing: a list", g.ID)
	}
	for _, cn := range channels.Content {
		e := defaults
		if err := e.read(cn, "id", "name", "unit", "type", "rate_hz", "range", "limits", "hysteresis", "persistence", "stale_after", "frozen_after"); err != nil {
			return err
		}
		c, err := e.channel(cn, g.ID, false)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(g.Channels, func(o Channel) bool { return o.ID == c.ID }) {
			return dictionaryDoc.Wrong(cn, "channel %s: a second of this id", c.ID)
		}
		g.Channels = append(g.Channels, c)
		entries[c.ID] = e
	}
	d.Groups = append(d.Groups, g)
	return nil
}

// channelEntry is a channel as the file has it.
type channelEntry struct {
	ID          string             `yaml:"id"`
	Name        string             `yaml:"name"`
	Unit        string             `yaml:"unit"`
	Type        string             `yaml:"type"`
	RateHz      float64            `yaml:"rate_hz"`
	Range       []float64          `yaml:"range"`
	Limits      map[string]float64 `yaml:"limits"`
	Hysteresis  float64            `yaml:"hysteresis"`
	Persistence string             `yaml:"persistence"`
	StaleAfter  string             `yaml:"stale_after"`
	FrozenAfter string             `yaml:"frozen_after"`
}

func (e *channelEntry) read(n *yaml.Node, allowed ...string) error {
	_, err := dictionaryDoc.Decode(n, e, "a channel", allowed...)
	return err
}

// channel checks the entry, which stands at n; known tells that its id has been read before.
func (e *channelEntry) channel(n *yaml.Node, group string, known bool) (Channel, error) {
	c := Channel{Group: group, Name: e.Name, Unit: e.Unit, Type: ChannelType(e.Type), RateHz: e.RateHz, Hysteresis: e.Hysteresis, Min: math.NaN(), Max: math.NaN()}
	var id string
	m, err := dictionaryDoc.Mapping(n, "a channel")
	if err != nil {
		return c, err
	}
	if known {
		id = e.ID // an entry for one kind of machine; its id has been read
	} else if err := readID(n, m["id"], "channel of group "+group, &id); err != nil {
		return c, err
	}
	c.ID = group + "." + id
	wrong := func(field, format string, args ...any) error {
		at := n
		if m[field] != nil {
			at = m[field]
		}
		return dictionaryDoc.Wrong(at, "channel %s: %s", c.ID, fmt.Sprintf(format, args...))
	}
	if !slices.Contains([]ChannelType{TypeFloat, TypeInt, TypeText}, c.Type) {
		return c, wrong("type", "type %q: use float, int or text", e.Type)
	}
	if c.Name == "" {
		return c, wrong("name", "name is missing")
	}
	if e.Unit == "" && c.Type != TypeText {
		return c, wrong("unit", `unit is missing; "1" stands for none`)
	}
	if e.RateHz <= 0 || e.RateHz > 2000 {
		return c, wrong("rate_hz", "rate_hz %v: use a rate above 0, up to 2000", e.RateHz)
	}
	if e.Hysteresis < 0 {
		return c, wrong("hysteresis", "hysteresis %v: use 0 or more", e.Hysteresis)
	}
	if c.Persistence, err = yamldoc.Span(e.Persistence, 0); err != nil {
		return c, wrong("persistence", "persistence %v", err)
	}
	if c.StaleAfter, err = yamldoc.Span(e.StaleAfter, 1); err != nil {
		return c, wrong("stale_after", "stale_after %v", err)
	}
	if c.FrozenAfter, err = yamldoc.Span(e.FrozenAfter, 0); err != nil {
		return c, wrong("frozen_after", "frozen_after %v", err)
	}
	switch len(e.Range) {
	case 0:
	case 2:
		if c.Min, c.Max = e.Range[0], e.Range[1]; !(c.Min < c.Max) {
			return c, wrong("range", "range %v: the first number must be below the second", e.Range)
		}
	default:
		return c, wrong("range", "range has %d numbers; use two, [lowest, highest]", len(e.Range))
	}
	if c.Limits, err = e.limits(&c); err != nil {
		return c, wrong("limits", "%v", err)
	}
	return c, nil
}

var limitNames = []string{"low_alarm", "low_warn", "high_warn", "high_alarm"}

func (e *channelEntry) limits(c *Channel) (Limits, error) {
	var l Limits
	fields := []*float64{&l.LowAlarm, &l.LowWarn, &l.HighWarn, &l.HighAlarm}
	for name := range e.Limits {
		if !slices.Contains(limitNames, name) {
			return l, fmt.Errorf("limits: %s is not one of %s", name, strings.Join(limitNames, ", "))
		}
	}
	last, lastName := math.Inf(-1), ""
	for i, name := range limitNames {
		v, ok := e.Limits[name]
		if !ok {
			*fields[i] = math.NaN()
			continue
		}
		if c.Type == TypeText {
			return l, errors.New("limits: a text has none")
		}
		if v < last {
			return l, fmt.Errorf("limits: %s %v is below %s %v", name, v, lastName, last)
		}
		if v < c.Min || v > c.Max {
			return l, fmt.Errorf("limits: %s %v is outside the range %v to %v", name, v, c.Min, c.Max)
		}
		*fields[i], last, lastName = v, v, name
	}
	return l, nil
}

func readID(parent, n *yaml.Node, what string, id *string) error {
	if n == nil {
		return dictionaryDoc.Wrong(parent, "%s: id is missing", what)
	}
	for _, r := range n.Value {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' {
			return dictionaryDoc.Wrong(n, "%s: id %q: use small letters, digits and _", what, n.Value)
		}
	}
	if n.Value == "" {
		return dictionaryDoc.Wrong(n, "%s: id is empty", what)
	}
	*id = n.Value
	return nil
}
