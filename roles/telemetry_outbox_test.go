package roles

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"tbmsock/transport"
	"tbmsock/transport/engine4"
	"tbmsock/transport/spool"
)

func TestOutboxRecord(t *testing.T) {
	for _, arg := range []any{json.RawMessage(`{"a":1}`), []byte{0, 'J', 0xff}, []byte{}} {
		got, err := outboxArgument(outboxRecord(arg))
		if err != nil {
			t.Fatal(err)
		}
		switch want := arg.(type) {
		case json.RawMessage:
			if b, ok := got.(json.RawMessage); !ok || !bytes.Equal(b, want) {
				t.Errorf("%T %s, want %s", got, got, want)
			}
		case []byte:
			if b, ok := got.([]byte); !ok || !bytes.Equal(b, want) {
				t.Errorf("%T %v, want %v", got, got, want)
			}
		}
	}
	for _, b := range [][]byte{nil, {}, []byte("X{}")} {
		if got, err := outboxArgument(b); err == nil {
			t.Errorf("%q is read as %v", b, got)
		}
	}
}

func testOutbox(t *testing.T, opts spool.Options) *outbox {
	t.Helper()
	client, err := transport.NewClient(transport.ClientOptions{URL: "http://127.0.0.1:1", Dialers: []transport.Dialer{engine4.Dialer{}}})
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	o, err := openOutbox(opts, client, log)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// While the disk takes nothing, memory is bounded, what is lost follows the policy, and is counted.
func TestOutboxMemoryIsBounded(t *testing.T) {
	for _, policy := range []spool.FullPolicy{spool.DropOldest, spool.Refuse} {
		dir := t.TempDir()
		o := testOutbox(t, spool.Options{Dir: dir, WhenFull: policy, SyncInterval: time.Hour})
		const each, count = 1 << 20, 100 // of which the head's letter makes 63 fit
		for n := range count {
			b := make([]byte, each)
			b[0] = byte(n)
			o.put(b)
		}
		if o.bytes > outboxMemory || len(o.pending) != 63 || o.lost != count-63 {
			t.Fatalf("%d bytes of %d packets wait, %d lost", o.bytes, len(o.pending), o.lost)
		}
		first := byte(0)
		if policy == spool.DropOldest {
			first = count - 63
		}
		if err := o.writeAll(); err != nil {
			t.Fatal(err)
		}
		for n := range 63 {
			_, r, err := o.spool.Next(context.Background())
			if err != nil || r[1] != first+byte(n) {
				t.Fatalf("packet %d is %d, %v", n, r[1], err)
			}
		}
		if f := o.close(); f["dropped"] != uint64(count-63) || f["waiting"] != uint64(63) {
			t.Errorf("%v", f)
		}
	}
}

// What the directory has no room for is counted once, by either policy.
func TestOutboxFull(t *testing.T) {
	for _, policy := range []spool.FullPolicy{spool.DropOldest, spool.Refuse} {
		o := testOutbox(t, spool.Options{Dir: filepath.Join(t.TempDir(), "new"), WhenFull: policy, SyncInterval: time.Hour, MaxBytes: spool.MinBytes})
		for range 3000 {
			o.put([]byte(strings.Repeat("x", 50)))
		}
		o.put(make([]byte, spool.MinBytes)) // never fits
		if err := o.writeAll(); err != nil {
			t.Fatal(err)
		}
		f := o.close()
		if f["dropped"].(uint64)+f["waiting"].(uint64) != 3001 || f["waiting"].(uint64) < 500 || o.bytes != 0 {
			t.Errorf("policy %d: %v, %d bytes in memory", policy, f, o.bytes)
		}
	}
}

// A file in the directory that is not ours stays as it is.
func TestOutboxFileOfAnother(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := testOutbox(t, spool.Options{Dir: dir})
	o.put(json.RawMessage(`1`))
	if err := o.writeAll(); err != nil {
		t.Fatal(err)
	}
	if f := o.close(); f["waiting"] != uint64(1) {
		t.Errorf("%v", f)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "notes.txt")); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
}

// A packet that was sent from memory is written to the disk too, unless the server has answered; and is lost only if
// neither came about.
func TestOutboxCountsWhatWasSentFromMemory(t *testing.T) {
	o := testOutbox(t, spool.Options{Dir: t.TempDir(), SyncInterval: time.Hour})
	var sent []*pending
	for n := range outboxDirect + 10 {
		o.put([]byte{byte(n >> 8), byte(n)})
	}
	for p := o.nextDirect(); p != nil; p = o.nextDirect() {
		sent = append(sent, p)
	}
	if len(sent) != outboxDirect {
		t.Fatalf("%d are under way", len(sent))
	}
	o.mu.Lock()
	for _, i := range []int{0, 2, 3} { // answered, the second not yet
		o.settle(sent[i])
	}
	o.lose(sent[1]) // for want of room
	if len(o.pending) != outboxDirect+10-4 || o.lost != 1 {
		t.Errorf("%d wait, %d lost", len(o.pending), o.lost)
	}
	o.settle(sent[1]) // its answer comes late
	o.settle(sent[1])
	o.lose(sent[1])
	lost := o.lost
	o.mu.Unlock()
	if lost != 0 {
		t.Errorf("%d lost, though the server has all of them", lost)
	}
	if err := o.writeAll(); err != nil {
		t.Fatal(err)
	}
	for n := 4; n < outboxDirect+10; n++ { // in order, those that were sent among them
		_, r, err := o.spool.Next(context.Background())
		if err != nil || !bytes.Equal(r, []byte{recordBinary, byte(n >> 8), byte(n)}) {
			t.Fatalf("record %d is %v, %v", n, r, err)
		}
	}
	if f := o.close(); f["dropped"] != uint64(0) || f["waiting"] != uint64(outboxDirect+6) || o.bytes != 0 {
		t.Errorf("%v, %d bytes in memory", f, o.bytes)
	}
}
