package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tbmsock/internal/freeport"
	"tbmsock/telemetry/recording"
	"tbmsock/transport"
	"tbmsock/transport/engine4"
)

// publishSeqs sends envelopes of one run of a source, each acknowledged before it returns.
func publishSeqs(t *testing.T, url string, from, to uint64) {
	t.Helper()
	c, err := transport.NewClient(transport.ClientOptions{URL: url, Dialers: []transport.Dialer{engine4.Dialer{}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(context.Background(), patience*time.Duration(1+(to-from)/10_000)) // each is on the disk before it is acknowledged
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	defer func() { stop(); <-done }()
	for seq := from; seq <= to; seq++ {
		e := map[string]any{"source": "s", "boot": "b", "seq": seq, "time": time.Now().UTC(), "room": "ops", "packet": seq}
		if err := c.Publish(ctx, transport.EventTelemetry, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if s := c.PublishStats(); s.Acked != to-from+1 {
		t.Fatalf("%+v", s)
	}
}

// eachRecord reads a logger's file.
func eachRecord(t *testing.T, file string, f func(*recording.Record)) {
	t.Helper()
	r, err := recording.OpenReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for {
		rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f(rec)
	}
}

// A server comes back with another journal, longer than the one that a logger has followed: the logger says so, takes
// all of it, and writes nothing twice, whether it was there all the time or is started again.
func TestAnotherJournal(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%t", restarted), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "packets.jsonl")
			addr := freeport.Address(t)
			serve := func(data string) *process {
				p := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", filepath.Join(dir, data))
				p.url()
				return p
			}
			log := func() *process {
				return start(t, tbmsock(t), "logger", "--url", "http://"+addr, "--room", "ops", "--output", file)
			}
			server, logger := serve("a"), log()
			logger.logged("joined")
			publishSeqs(t, "http://"+addr, 1, 20)
			logger.lineWith("#20 ")
			if restarted {
				if code := logger.interrupt(); code != 0 {
					t.Fatalf("logger ends with %d", code)
				}
			}
			server.kill()
			server = serve("b")
			publishSeqs(t, "http://"+addr, 11, 60) // as a source does that was not answered
			if restarted {
				logger = log()
			}
			logger.lineWith("#60 ")
			if code := logger.interrupt(); code != 0 {
				t.Errorf("logger ends with %d", code)
			}
			if log := logger.log(); !strings.Contains(log, "another journal than the one that was followed") {
				t.Errorf("the logger does not tell of it:\n%s", log)
			}
			server.interrupt()
			ids := map[string]bool{}
			seq := uint64(0)
			eachRecord(t, file, func(rec *recording.Record) {
				if seq++; rec.Envelope.Seq != seq {
					t.Fatalf("seq %d in place %d", rec.Envelope.Seq, seq)
				}
				ids[rec.Journal] = true
			})
			if seq != 60 || len(ids) != 2 || ids[""] {
				t.Errorf("%d packets of the journals %v", seq, ids)
			}
		})
	}
}

// A logger that has closed many files knows what stands in all of them when it meets another journal.
func TestAnotherJournalAfterRotations(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "packets.jsonl")
	addr := freeport.Address(t)
	serve := func(data string) *process {
		p := start(t, tbmsock(t), "server", "--listen", addr, "--data-dir", filepath.Join(dir, data))
		p.url()
		return p
	}
	log := func() *process {
		return start(t, tbmsock(t), "logger", "--url", "http://"+addr, "--room", "ops", "--output", file, "--rotate-size", "1kB", "--since", "all")
	}
	server := serve("a")
	publishSeqs(t, "http://"+addr, 1, 40)
	logger := log()
	logger.lineWith("#40 ")
	if code := logger.interrupt(); code != 0 {
		t.Fatalf("logger ends with %d", code)
	}
	server.interrupt()
	server = serve("b")
	publishSeqs(t, "http://"+addr, 1, 60)
	logger = log()
	logger.lineWith("#60 ")
	if code := logger.interrupt(); code != 0 {
		t.Fatalf("logger ends with %d", code)
	}
	server.interrupt()
	if log := logger.log(); !strings.Contains(log, "first=1 ") || !strings.Contains(log, "missing=0 ") {
		t.Errorf("the summary is:\n%s", log)
	}
	files, err := filepath.Glob(filepath.Join(dir, "packets*"))
	if err != nil || len(files) < 5 {
		t.Fatalf("files are %q, %v", files, err)
	}
	times := map[uint64]int{}
	for _, name := range files {
		eachRecord(t, name, func(rec *recording.Record) { times[rec.Envelope.Seq]++ })
	}
	for seq := uint64(1); seq <= 60; seq++ {
		if times[seq] != 1 {
			t.Errorf("seq %d is there %d times", seq, times[seq])
		}
	}
}
