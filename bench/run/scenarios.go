//go:build linux

package main

import "slices"

// peer is a server that is measured.
type peer struct {
	name    string
	command []string
	engine  string
}

// with is the same server with further arguments, under another name.
func (p peer) with(name string, args ...string) peer {
	return peer{name: name, engine: p.engine, command: slices.Concat(p.command, args)}
}

// The servers. Tables list them in this order.
var (
	tbmsock = peer{name: "tbmsock", engine: "4", command: []string{"bin/tbmsock", "server", "--listen", "127.0.0.1:0", "--log-level", "warn", "--web", "off", "--data-dir", "off"}}
	tbm3    = peer{name: "tbmsock, Engine.IO 3", engine: "3", command: tbmsock.command}
	bare    = peer{name: "bare loop", engine: "bare", command: []string{"bin/bare"}}
	node    = peer{name: "socket.io on Node", engine: "4", command: []string{"node", "bench/peers/node/server.js"}}
	python  = peer{name: "python-socketio on eventlet", engine: "4", command: []string{"/usr/bin/python3", "bench/peers/python/server.py"}}
)

// freshDir stands in a command for an empty directory of the run's own.
const freshDir = "{directory}"

// row is one server under one load: a line of a table.
type row struct {
	peer
	load []string // further arguments of the load
}

// rows puts servers under the scenario's own load.
func rows(peers ...peer) []row {
	out := make([]row, len(peers))
	for i, p := range peers {
		out[i].peer = p
	}
	return out
}

// scenario is one load, and the table that its results make.
type scenario struct {
	name    string // of --only
	title   string
	text    string   // below the title, if any
	load    []string // arguments of the load
	rows    []row
	columns []column
	once    bool // a figure that does not change from run to run, or a long one: one round is enough
	files   int  // open files that the server and the load need, each
}

// scenarios are all that is measured; quick ones are short and small, to try the command itself.
func scenarios(quick bool) []scenario {
	n := func(full, short string) string {
		if quick {
			return short
		}
		return full
	}
	everyone := rows(tbmsock, tbm3, bare, node, python)
	// With as many messages in flight as the others python-socketio is no faster, and seconds late.
	saturated := rows(tbmsock, tbm3, bare, node)
	saturated = append(saturated, row{python, []string{"--window", "8"}})
	fast := []column{
		{"deliveries/s", perSecond, "%.0f"},
		{"of the bare loop", ratio{bare.name, perSecond}, "%.2f"},
		{"of Node", ratio{node.name, perSecond}, "%.1f"},
		{"of Python", ratio{python.name, perSecond}, "%.0f"},
		{"CPU s a million", cpu, "%.2f"},
		{"lost", lost, "%.0f"},
		{"ended by the server", ended, "%.0f"},
		{"load, % of a core", loadCPU, "%.0f"},
	}
	paced := []column{
		{"CPU s a million", cpu, "%.2f"},
		{"of the bare loop", ratio{bare.name, cpu}, "%.2f"},
		{"of Node", ratio{node.name, cpu}, "%.2f"},
		{"p50, us", p50, "%.0f"},
		{"p99, us", p99, "%.0f"},
		{"p99, of the bare loop", ratio{bare.name, p99}, "%.2f"},
		{"lost", lost, "%.0f"},
		{"ended by the server", ended, "%.0f"},
	}
	idle := []column{
		{"KB a client", perClient, "%.1f"},
		{"of Node", ratio{node.name, perClient}, "%.2f"},
		{"server without clients, MB", before, "%.1f"},
	}
	stalling := []column{
		{"lost", lost, "%.0f"},
		{"ended by the server", ended, "%.0f"},
		{"p50, us", p50, "%.0f"},
		{"p99, us", p99, "%.0f"},
		{"p99, of all read", ratio{allRead, p99}, "%.2f"},
		{"server at most, MB", most, "%.1f"},
	}
	held := []column{
		{"lost", lost, "%.0f"},
		{"ended by the server", ended, "%.0f"},
		{"p50, us", p50, "%.0f"},
		{"p99, us", p99, "%.0f"},
		{"max, us", longest, "%.0f"},
		{"CPU s a million", cpu, "%.2f"},
		{"server at most, MB", most, "%.1f"},
	}
	stalled := []string{"--stall", "1"}
	// The last --data-dir counts.
	journal := func(name string, args ...string) row {
		return row{tbmsock.with(name, append([]string{"--data-dir", freshDir}, args...)...), nil}
	}
	journals := []row{
		{tbmsock.with(journalOff), nil},
		journal("--fsync interval=1s", "--fsync", "interval=1s"),
		journal("--fsync always"),
	}
	stored := []column{
		{"deliveries/s", perSecond, "%.0f"},
		{"of journal off", ratio{journalOff, perSecond}, "%.2f"},
		{"CPU s a million", cpu, "%.2f"},
		{"p50, us", p50, "%.0f"},
		{"p99, us", p99, "%.0f"},
		{"lost", lost, "%.0f"},
		{"ended by the server", ended, "%.0f"},
		{"load, % of a core", loadCPU, "%.0f"},
	}
	return []scenario{
		{
			name: "saturated-100", title: "Saturated, 100 clients",
			text: "64 messages of 300 bytes of JSON are in flight; for Python 8, with which it is as fast.",
			load: []string{"--rate", "max", "--clients", "100", "--duration", n("5s", "1s")},
			rows: saturated, columns: fast,
		},
		{
			name: "saturated-1000", title: "Saturated, 1,000 clients", text: "The same, to ten times as many.",
			load: []string{"--rate", "max", "--clients", n("1000", "200"), "--duration", n("5s", "1s")},
			rows: saturated, columns: fast, files: 1500,
		},
		{
			name: "paced", title: "Paced: 100 messages a second to 100 clients", text: "300 bytes of JSON each. Latency is from the publisher's write to the subscriber's read.",
			load: []string{"--rate", "100hz", "--clients", "100", "--duration", n("5s", "1s")},
			rows: everyone, columns: paced,
		},
		{
			name: "journal-100", title: "With the journal, saturated, 100 clients",
			text: "As above; each message is in the journal before it is delivered. The disk is the machine's.",
			load: []string{"--rate", "max", "--clients", "100", "--duration", n("5s", "1s")},
			rows: journals, columns: stored,
		},
		{
			name: "journal-1000", title: "With the journal, saturated, 1,000 clients", text: "The same, to ten times as many.",
			load: []string{"--rate", "max", "--clients", n("1000", "200"), "--duration", n("5s", "1s")},
			rows: journals, columns: stored, files: 1500,
		},
		{
			name: "journal-paced", title: "With the journal: 1,000 messages a second to 100 clients", text: "Latency includes the message's way into the journal.",
			load: []string{"--rate", "1khz", "--clients", "100", "--duration", n("5s", "1s")},
			rows: journals, columns: stored,
		},
		{
			name: "stalled", title: "One of 100 clients stops reading", text: "100 messages of 16 KiB a second; figures of the other 99. Without a limit the server would hold 25 MB for it in the end.",
			load: []string{"--rate", "100hz", "--clients", "100", "--size", "16KiB", "--duration", n("15s", "1s")},
			rows: []row{
				{tbmsock.with(allRead), nil},
				{tbmsock.with("one stalled, --queue-limit 1MiB"), stalled},
				{tbmsock.with("one stalled, --queue-limit 8MiB", "--queue-limit", "8MiB"), stalled},
			},
			columns: stalling,
		},
		{
			name: "idle", title: "Idle: 5,000 WebSocket clients in a room", text: "Resident memory of the server after half a minute.",
			load: []string{"--rate", "off", "--clients", n("5000", "200"), "--duration", n("30s", "5s")},
			rows: everyone, columns: idle, once: true, files: 5500,
		},
		{
			name: "held", title: "10,000 clients held for a minute", text: "One message a second.",
			load: []string{"--rate", "1hz", "--clients", n("10000", "200"), "--duration", n("60s", "2s")},
			rows: rows(tbmsock), columns: held, once: true, files: 10500,
		},
	}
}

const (
	allRead    = "all read"
	journalOff = "journal off"
)
