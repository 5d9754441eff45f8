package e2e

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tbmsock/transport"
)

// onceFollower is a client in a process of its own whose lines are read while it runs.
type onceFollower struct {
	*process
	name, room string
	launch     func(t *testing.T) *process
	file       string // of a logger
	readLine   func(text string) (followerLine, error)

	ready chan struct{} // closed when it has joined
	first chan struct{} // closed when it has a packet
	last  chan struct{} // closed when it has that of sourceAtEnd
	over  chan struct{} // closed when its output has ended

	mu       sync.Mutex
	records  []onceRecord // of a stock client
	connects int
	wrong    error
}

// followerLine is a line of node/follower.js and python/follower.py, and the part of a logger's that matters here.
type followerLine struct {
	On     string          `json:"on"`
	Offset uint64          `json:"offset"`
	Value  json.RawMessage `json:"value"`
	Answer struct {
		OK bool `json:"ok"`
	} `json:"answer"`
	Envelope *transport.Envelope `json:"envelope"`
}

type stockOptions struct {
	Version    string   `json:"version,omitempty"`
	URL        string   `json:"url"`
	Transports []string `json:"transports,omitempty"`
	Auth       bool     `json:"auth"` // declares by auth that it will follow, instead of the query
	Room       string   `json:"room,omitempty"`
}

// stockFollower runs a stock client.
func stockFollower(name, kind string, o stockOptions) *onceFollower {
	return &onceFollower{name: name, room: o.Room, readLine: readStockLine, launch: func(t *testing.T) *process {
		opts, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if kind == "python" {
			return start(t, pythonWithSocketIO(t), filepath.Join("python", "follower.py"), string(opts))
		}
		return start(t, "node", filepath.Join(node(t), "follower.js"), string(opts))
	}}
}

// loggerFollower runs a logger. Its file counts; its output only tells how far it is.
func loggerFollower(name, url, room, file string, flags ...string) *onceFollower {
	launch := func(t *testing.T) *process {
		args := []string{"logger", "--url", url, "--output", file, "--format", "json", "--since", "all",
			"--rotate-size", "0", "--rotate-every", "0s", "--log-format", "json"}
		if room != "" {
			args = append(args, "--room", room)
		}
		return start(t, tbmsock(t), append(args, flags...)...)
	}
	return &onceFollower{name: name, room: room, file: file, readLine: readLoggerLine, launch: launch}
}

// start starts the client and reads what it says until it ends.
func (f *onceFollower) start(t *testing.T) {
	f.ready, f.first, f.last, f.over = make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
	f.process = f.launch(t)
	if f.file != "" {
		close(f.ready) // it takes what the journal has, whenever it joins
	}
	lines := f.process.lines
	go func() {
		defer close(f.over)
		for text := range lines {
			f.mu.Lock()
			f.take(text)
			f.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		f.kill()
		<-f.over
	})
}

// take reads one line. f.mu is held.
func (f *onceFollower) take(text string) {
	l, err := f.readLine(text)
	switch {
	case err != nil:
		f.wrong = err
	case l.On == "connect":
		f.connects++
	case l.On == "join" && l.Answer.OK:
		closeOnce(f.ready)
	case l.Envelope != nil:
		closeOnce(f.first)
		if f.file == "" {
			f.records = append(f.records, onceRecord{l.Offset, l.Envelope.Source, l.Envelope.Boot, l.Envelope.Seq})
		}
		if l.Envelope.Source == sourceAtEnd {
			closeOnce(f.last)
		}
	}
}

// closeOnce closes a channel that one goroutine closes.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

func (f *onceFollower) await(done <-chan struct{}, what string) {
	f.t.Helper()
	select {
	case <-f.over:
		f.t.Fatalf("%s has ended:\n%s", f.name, f.log())
	default:
	}
	await(f.t, done, onceWait, f.name+" "+what)
}

// end ends the client and returns what it has.
func (f *onceFollower) end(want map[string]uint64) []onceRecord {
	f.t.Helper()
	if f.file == "" {
		f.kill()
		<-f.over
		if f.wrong != nil {
			f.t.Errorf("%s: %v", f.name, f.wrong)
		}
		return f.records
	}
	if code := f.interrupt(); code != 0 {
		f.t.Errorf("%s ends with %d", f.name, code)
	}
	<-f.over
	f.summaries(want)
	return f.fileRecords()
}

// summaries checks that a logger calls all that was for it complete, and warns of nothing.
func (f *onceFollower) summaries(want map[string]uint64) {
	f.t.Helper()
	complete := map[string]uint64{}
	for line := range strings.Lines(f.log()) {
		var l struct {
			Level, Msg, Source string
			Received           uint64
		}
		if json.Unmarshal([]byte(line), &l) != nil || !strings.HasPrefix(l.Msg, "summary") {
			continue
		}
		if l.Level != "info" || l.Msg != "summary: complete" {
			f.t.Errorf("%s says %s", f.name, line)
		}
		complete[l.Source] += l.Received
	}
	for source, n := range want {
		if complete[source] != n {
			f.t.Errorf("%s calls %d packets of %s complete, want %d", f.name, complete[source], source, n)
		}
	}
}

// connections is how often the client has connected.
func (f *onceFollower) connections() int {
	if f.file == "" {
		return f.connects
	}
	return strings.Count(f.log(), `"msg":"connected"`)
}

// fileRecords reads a logger's file.
func (f *onceFollower) fileRecords() (records []onceRecord) {
	f.t.Helper()
	file, err := os.Open(f.file)
	if err != nil {
		f.t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	s := bufio.NewScanner(file)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		l, err := readLoggerLine(s.Text())
		if err != nil {
			f.t.Fatalf("%s: %.200q: %v", f.file, s.Text(), err)
		}
		if e := l.Envelope; e != nil {
			records = append(records, onceRecord{l.Offset, e.Source, e.Boot, e.Seq})
		}
	}
	if err := s.Err(); err != nil {
		f.t.Fatal(err)
	}
	return records
}

func readLoggerLine(text string) (l followerLine, err error) {
	err = json.Unmarshal([]byte(text), &l)
	return l, err
}

// readStockLine reads a line of a stock client, with the envelope in it.
func readStockLine(text string) (l followerLine, err error) {
	if err := json.Unmarshal([]byte(text), &l); err != nil || l.On != "event" {
		return l, err
	}
	v := transport.Value{JSON: l.Value}
	var binary struct {
		Base64 string `json:"$binary"`
	}
	if json.Unmarshal(l.Value, &binary) == nil && binary.Base64 != "" {
		b, err := base64.StdEncoding.DecodeString(binary.Base64)
		if err != nil {
			return l, err
		}
		v = transport.Value{JSON: json.RawMessage(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{b}}
	}
	if e, ok := transport.EnvelopeOf(v); ok {
		l.Envelope = &e
	}
	return l, nil
}
