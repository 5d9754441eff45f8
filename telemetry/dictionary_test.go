package telemetry

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestDefaultDictionary(t *testing.T) {
	d := DefaultDictionary()
	if n := len(d.Channels()); n < 40 {
		t.Errorf("%d channels", n)
	}
	c := d.Channel("atmosphere.ch4")
	if c == nil || c.Unit != "% LEL" || c.Limits.HighAlarm != 20 || c.Persistence != time.Second || c.StaleAfter != 5*time.Second {
		t.Errorf("methane is %+v", c)
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Groups []struct {
			ID       string
			Channels []struct {
				ID     string
				Limits map[string]float64
			}
		}
	}
	if err := json.Unmarshal(b, &back); err != nil || len(back.Groups) != len(d.Groups) || back.Groups[0].Channels[0].ID != "cutterhead.speed" {
		t.Errorf("JSON is %.200s, %v", b, err)
	}
}

func TestBadDictionaries(t *testing.T) {
	channel := func(fields string) string {
		return "groups:\n  - id: g\n    channels:\n      - {" + fields + "}\n"
	}
	const good = "id: c, name: C, unit: bar, rate_hz: 1, stale_after: 5s"
	if _, err := ParseDictionary([]byte(channel(good))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, in string
		line     int
		want     string
	}{
		{"empty", "", 0, "empty"},
		{"no YAML", "groups: [", 0, "yaml"},
		{"no groups", "defaults: {}", 1, "groups is missing"},
		{"a list at the top", "- a", 1, "mapping"},
		{"an unknown field at the top", "grups: []", 1, `"grups"`},
		{"an unknown field of a channel", channel(good + ", hysterisis: 1"), 4, `"hysterisis"`},
		{"no id", channel("name: C"), 4, "id is missing"},
		{"a bad id", channel("id: Face Pressure"), 4, "small letters"},
		{"no name", channel("id: c, unit: bar, rate_hz: 1, stale_after: 5s"), 4, "name is missing"},
		{"no unit", channel("id: c, name: C, rate_hz: 1, stale_after: 5s"), 4, "unit is missing"},
		{"a bad type", channel(good + ", type: number"), 4, "float, int or text"},
		{"no rate", channel("id: c, name: C, unit: bar, stale_after: 5s"), 4, "rate_hz"},
		{"a rate that is a text", channel("id: c, name: C, unit: bar, rate_hz: often, stale_after: 5s"), 4, "often"},
		{"a bad time", channel(good + ", persistence: 2"), 4, "persistence"},
		{"never current", channel("id: c, name: C, unit: bar, rate_hz: 1"), 4, "stale_after"},
		{"a range the wrong way", channel(good + ", range: [5, 1]"), 4, "range"},
		{"a range of three", channel(good + ", range: [1, 2, 3]"), 4, "range has 3"},
		{"an unknown limit", channel(good + ", limits: {high: 3}"), 4, "high is not one of"},
		{"limits out of order", channel(good + ", limits: {high_warn: 3, high_alarm: 2}"), 4, "high_alarm 2 is below high_warn 3"},
		{"a limit out of range", channel(good + ", range: [0, 1], limits: {high_warn: 3}"), 4, "outside the range"},
		{"negative hysteresis", channel(good + ", hysteresis: -1"), 4, "hysteresis"},
		{"a channel twice", channel(good) + "      - {" + good + "}\n", 5, "second"},
		{"a bad frozen_after", channel(good + ", frozen_after: never"), 4, "frozen_after"},
		{"machines that are no list", channel(good) + "machines: 3\n", 5, "must be a list"},
		{"a machine without an id", channel(good) + "machines:\n  - {name: M}\n", 6, "id is missing"},
		{"a machine twice", channel(good) + "machines:\n  - {id: m}\n  - {id: m}\n", 7, "second"},
		{"a machine as wide as a hill", channel(good) + "machines:\n  - {id: m, diameter: 300}\n", 6, "diameter"},
		{"a machine without what nobody has", channel(good) + "machines:\n  - {id: m, without: [g.x]}\n", 6, "g.x"},
		{"a machine's channel that nobody has", channel(good) + "machines:\n  - id: m\n    channels:\n      - {id: g.x}\n", 8, `"g.x"`},
		{"a machine's limit out of order", channel(good) + "machines:\n  - id: m\n    channels:\n      - {id: g.c, limits: {low_warn: 3, high_warn: 1}}\n", 8, "high_warn 1 is below"},
		{"a group twice", channel(good) + "  - id: g\n    channels: []\n", 5, "second"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseDictionary([]byte(tc.in))
			var de *DictionaryError
			if !errors.As(err, &de) || de.Line != tc.line || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want line %d and %q", err, tc.line, tc.want)
			}
		})
	}
}

func TestDictionaryOfAMachine(t *testing.T) {
	d := DefaultDictionary()
	rock, micro := d.For("hardrock"), d.For("micro")
	if a, b := d.Channel("thrust.total").Limits.HighAlarm, rock.Channel("thrust.total").Limits.HighAlarm; a != 19000 || b != 32000 {
		t.Errorf("thrust alarms at %v kN, in rock at %v", a, b)
	}
	if c := rock.Channel("thrust.total"); c.Hysteresis != 200 || c.Max != 40000 || c.Name != "Total thrust" || c.Group != "thrust" {
		t.Errorf("what is not given otherwise has changed: %+v", c)
	}
	if micro.Channel("chamber.pressure_2") != nil || micro.Channel("chamber.pressure_1").Name != "Slurry pressure" {
		t.Error("the small machine has the wrong chamber")
	}
	if g := rock.Geometry(); g.Diameter != 7.93 || g.Cutters != 52 {
		t.Errorf("geometry is %+v", g)
	}
	if d.For("mole") != d || d.Geometry() != (Geometry{}) {
		t.Error("an unknown machine does not have the common dictionary")
	}
	b, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		Machines []struct {
			ID       string
			Without  []string
			Channels []struct {
				ID     string
				Limits map[string]float64
			}
		}
	}
	if err := json.Unmarshal(b, &back); err != nil || len(back.Machines) != 3 || len(back.Machines[2].Without) == 0 || back.Machines[1].Channels[0].Limits["high_warn"] != 4.5 {
		t.Errorf("JSON has the machines %+v, %v", back.Machines, err)
	}
}
