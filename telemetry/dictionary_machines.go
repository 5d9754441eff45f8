package telemetry

import (
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Machine is a kind of machine, and where its channels differ from the others'.
type Machine struct {
	ID, Name string
	Geometry Geometry
	Without  []string  // channels that it does not have
	Channels []Channel // those that differ

	own *Dictionary
}

// For is the dictionary of a kind of machine: its own limits, without the channels that it does not
// have. A kind that is not known has the common one.
func (d *Dictionary) For(machine string) *Dictionary {
	for i := range d.Machines {
		if d.Machines[i].ID == machine {
			return d.Machines[i].own
		}
	}
	return d
}

// Geometry is what is known of the machine's build: zero unless the dictionary is one from For.
func (d *Dictionary) Geometry() Geometry { return d.geometry }

func (d *Dictionary) readMachines(n *yaml.Node, entries map[string]channelEntry) error {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return dictionaryDoc.Wrong(n, "machines must be a list")
	}
	for _, mn := range n.Content {
		m, err := d.readMachine(mn, entries)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(d.Machines, func(o Machine) bool { return o.ID == m.ID }) {
			return dictionaryDoc.Wrong(mn, "machine %s: a second of this id", m.ID)
		}
		d.Machines = append(d.Machines, m)
	}
	return nil
}

func (d *Dictionary) readMachine(n *yaml.Node, entries map[string]channelEntry) (Machine, error) {
	var file struct {
		ID       string      `yaml:"id"`
		Name     string      `yaml:"name"`
		Diameter float64     `yaml:"diameter"`
		Cutters  int         `yaml:"cutters"`
		Without  []string    `yaml:"without"`
		Channels []yaml.Node `yaml:"channels"`
	}
	var m Machine
	nodes, err := dictionaryDoc.Decode(n, &file, "a machine", "id", "name", "diameter", "cutters", "without", "channels")
	if err != nil {
		return m, err
	}
	if err := readID(n, nodes["id"], "machine", &m.ID); err != nil {
		return m, err
	}
	m.Name = file.Name
	m.Geometry = Geometry{Diameter: file.Diameter, Cutters: file.Cutters}
	if !(file.Diameter >= 0 && file.Diameter <= 30) || file.Cutters < 0 {
		return m, dictionaryDoc.Wrong(n, "machine %s: use a diameter from 0 to 30 m, and 0 or more cutters", m.ID)
	}
	for _, id := range file.Without {
		if d.Channel(id) == nil {
			return m, dictionaryDoc.Wrong(nodes["without"], "machine %s: without %s: there is no such channel", m.ID, id)
		}
		m.Without = append(m.Without, id)
	}
	for i := range file.Channels {
		c, err := d.readOverride(&file.Channels[i], entries)
		if err != nil {
			return m, err
		}
		m.Channels = append(m.Channels, c)
	}
	m.own = d.with(m)
	return m, nil
}

// readOverride reads what a kind of machine has otherwise, over what all have.
func (d *Dictionary) readOverride(n *yaml.Node, entries map[string]channelEntry) (Channel, error) {
	m, err := dictionaryDoc.Mapping(n, "a machine's channel", "id", "name", "range", "limits", "hysteresis", "persistence", "stale_after", "frozen_after", "rate_hz")
	if err != nil {
		return Channel{}, err
	}
	id := ""
	if m["id"] != nil {
		id = m["id"].Value
	}
	base := d.Channel(id)
	if base == nil {
		return Channel{}, dictionaryDoc.Wrong(n, "a machine's channel: id %q: there is no such channel; use one such as thrust.total", id)
	}
	e := entries[id]
	e.Range, e.Limits = slices.Clone(e.Range), maps.Clone(e.Limits)
	if m["limits"] != nil {
		e.Limits = nil
	}
	if m["range"] != nil {
		e.Range = nil
	}
	if err := e.read(n); err != nil {
		return Channel{}, err
	}
	e.ID = id[len(base.Group)+1:]
	return e.channel(n, base.Group, true)
}

// with is the dictionary as it is for one kind of machine.
func (d *Dictionary) with(m Machine) *Dictionary {
	own := &Dictionary{geometry: m.Geometry}
	for _, g := range d.Groups {
		g.Channels = slices.DeleteFunc(slices.Clone(g.Channels), func(c Channel) bool { return slices.Contains(m.Without, c.ID) })
		for i := range g.Channels {
			for _, c := range m.Channels {
				if c.ID == g.Channels[i].ID {
					g.Channels[i] = c
				}
			}
		}
		own.Groups = append(own.Groups, g)
	}
	own.index()
	return own
}
