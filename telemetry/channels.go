package telemetry

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// channelField is a channel's place in a packet.
type channelField struct {
	id    string
	field func(*Packet) *float64 // nil if the packet has no such group
}

// channelFields are all channels of a packet, in order.
var channelFields = func() (all []channelField) {
	for _, g := range groups {
		all = append(all, g.channels...)
	}
	return all
}()

var channelIndex = func() map[string]int {
	m := make(map[string]int, len(channelFields))
	for i, c := range channelFields {
		m[c.id] = i
	}
	return m
}()

// ChannelIDs lists the channels of a packet, in a stable order.
func ChannelIDs() []string {
	ids := make([]string, len(channelFields))
	for i, c := range channelFields {
		ids[i] = c.id
	}
	return ids
}

// ChannelIndex is the channel's place in ChannelIDs, or -1.
func ChannelIndex(id string) int {
	if i, ok := channelIndex[id]; ok {
		return i
	}
	return -1
}

// At is the channel with the index, nil if the packet has no such group: the way to all channels of
// many packets. It points into the packet.
func (p *Packet) At(index int) *float64 { return channelFields[index].field(p) }

// HasGroup tells whether the packet has any channel at all.
func (p *Packet) HasGroup() bool {
	return slices.ContainsFunc(groups, func(g group) bool { return g.has(p) })
}

// Make gives the packet the channel's group if it does not have it.
func (p *Packet) Make(id string) {
	name, _, _ := strings.Cut(id, ".")
	if i := slices.IndexFunc(groups, func(g group) bool { return g.name == name }); i >= 0 {
		groups[i].make(p)
	}
}

// Value returns the channel's value; ok is false if the machine has no such channel.
func (p *Packet) Value(id string) (v float64, ok bool) {
	i, known := channelIndex[id]
	if !known {
		return 0, false
	}
	f := channelFields[i].field(p)
	if f == nil {
		return 0, false
	}
	return *f, true
}

// Set changes the channel's value; false if the packet has no such channel.
func (p *Packet) Set(id string, v float64) bool {
	i, known := channelIndex[id]
	if !known {
		return false
	}
	f := channelFields[i].field(p)
	if f == nil {
		return false
	}
	*f = v
	return true
}

// MatchChannels returns the ids of packet and derived channels that the patterns match, in the order of
// the patterns, each once: an id, or a group with a star, "cutterhead.*". A pattern that matches nothing
// is an error.
func MatchChannels(patterns []string) ([]string, error) {
	all := append(ChannelIDs(), DerivedIDs()...)
	var ids []string
	for _, p := range patterns {
		found := false
		for _, id := range all {
			ok, err := path.Match(p, id)
			if err != nil {
				return nil, fmt.Errorf("channel %q: %w", p, err)
			}
			if !ok {
				continue
			}
			found = true
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		if !found {
			return nil, fmt.Errorf("channel %q: there is none; use ids such as thrust.total, or a group, cutterhead.*", p)
		}
	}
	return ids, nil
}
