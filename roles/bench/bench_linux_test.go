package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHistogram(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 20000 {
		d := time.Duration(rnd.ExpFloat64() * float64(time.Millisecond))
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		if got := h.quantile(q); got < want || float64(got) > float64(want)*1.016+1 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	for _, d := range []time.Duration{0, 1, 63, 64, 65, 127, 128, time.Hour, 1<<62 - 1} {
		b := bucketOf(d)
		if upper(b) < d || b > 0 && upper(b-1) >= d {
			t.Errorf("%d is in bucket %d, from %d to %d", d, b, upper(b-1)+1, upper(b))
		}
	}
}

// Frames of all lengths, cut at every place: each is handed on once, with its beginning.
func TestSplit(t *testing.T) {
	var stream []byte
	var want []string
	for i, n := range []int{0, 1, 125, 126, look - 1, look, look + 1, 70000, 5} {
		p := bytes.Repeat([]byte{byte('a' + i)}, n)
		stream = append(stream, serverFrame(p)...)
		want = append(want, fmt.Sprint(opText, string(p[:min(n, look)])))
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		var c conn
		var got []string
		most := 1 + rnd.IntN(1000)*(round%7)
		for rest := stream; len(rest) > 0; {
			n := min(1+rnd.IntN(most), len(rest))
			data := append(slices.Clone(c.carry), rest[:n]...)
			c.carry = c.carry[:0]
			c.split(data, func(op byte, p []byte) { got = append(got, fmt.Sprint(op, string(p[:min(len(p), look)]))) })
			rest = rest[n:]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: got %d frames of %d", round, len(got), len(want))
		}
	}
}

func serverFrame(p []byte) []byte {
	f := appendFrame(nil, opText, p)
	// A server's frame has no mask.
	head := headerSize(f[1])
	return append(append([]byte{f[0], f[1] &^ 0x80}, f[2:head]...), p...)
}

// A message has the size that is asked for and is the JSON of an envelope; its number is found
// however the server writes the JSON down.
func TestMessage(t *testing.T) {
	for _, size := range []int{minSize, 300, 16 << 10, 1 << 17} {
		tmpl := newTemplate("log_telemetry", "BOOTBOOTBOOTBOOTBOOTBOOTBO", "bench-BOOTBOOT", size)
		m := marks{boot: []byte("BOOTBOOTBOOTBOOTBOOTBOOTBO")}
		for _, seq := range []uint64{1, 10, 1<<32 - 1} {
			frame, _ := tmpl.append(nil, nil, seq, true)
			head := headerSize(frame[1])
			if n := payloadSize(frame); len(frame) != head+4+n {
				t.Fatalf("frame of %d bytes says %d", len(frame), n)
			}
			text := frame[head+4:]
			var args []json.RawMessage
			id := fmt.Sprintf("42%d", seq)
			if !bytes.HasPrefix(text, []byte(id)) || json.Unmarshal(text[len(id):], &args) != nil || len(args) != 2 {
				t.Fatalf("message is %.200q", text)
			}
			if len(args[1]) != size {
				t.Errorf("argument has %d bytes, want %d", len(args[1]), size)
			}
			var e struct{ Seq uint64 }
			if err := json.Unmarshal(args[1], &e); err != nil || e.Seq != seq {
				t.Errorf("seq %d, %v: want %d", e.Seq, err, seq)
			}
			sent := append([]byte("42"), text[len(id):]...)
			spaced := bytes.ReplaceAll(bytes.ReplaceAll(sent, []byte(`":`), []byte(`": `)), []byte(`,"`), []byte(`, "`))
			for _, form := range [][]byte{sent, spaced, sent} {
				if got := m.seq(form[:min(len(form), look)]); got != seq {
					t.Errorf("found %d in %.200q, want %d", got, form, seq)
				}
			}
		}
		if got := m.seq([]byte(`42["log_telemetry",{"source":"tbm-1","boot":"another","seq":5,"packet":1}]`)); got != 0 {
			t.Errorf("another source's message counts as number %d", got)
		}
	}
}

// A server that loses, repeats and reorders: the load tells each.
func TestFaultsAreSeen(t *testing.T) {
	const every = 10
	url := faultyServer(t, func(n int, frame []byte, send func([]byte)) {
		switch n % every {
		case 3: // lost
		case 5: // twice
			send(frame)
			send(frame)
		default:
			send(frame)
		}
	})
	res, err := Run(context.Background(), Options{URL: url, Event: "log_telemetry", Revision: Bare, Clients: 3,
		Period: 2 * time.Millisecond, Size: 300, Duration: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	near := func(what string, got, want uint64) {
		// The run may begin and end anywhere in the ten: three clients, and as many messages.
		if slack := 6 + want/10; got+slack < want || got > want+slack {
			t.Errorf("%s %d, want about %d", what, got, want)
		}
	}
	if res.Published < 100 || res.Wanted != 3*res.Published {
		t.Fatalf("published %d, wanted %d", res.Published, res.Wanted)
	}
	near("lost", res.Lost, res.Wanted/every)
	near("late", res.Late, res.Wanted/every)
	if res.Delivered+res.Lost != res.Wanted {
		t.Errorf("%d delivered and %d lost of %d", res.Delivered, res.Lost, res.Wanted)
	}
}

// A server that sends each message twice once doubled the window, and was not waited for at the end.
func TestRepeatsAreNoArrivals(t *testing.T) {
	p, err := newPoller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	a, b := &conn{fd: -1, warm: true, next: 1}, &conn{fd: -1, warm: true, next: 1}
	l := &load{poller: p, opts: Options{Window: 8}, subs: []*conn{a, b}, active: 2, phase: measuring, first: 1, seq: 8}
	for _, tc := range []struct {
		what     string
		do       func()
		room     uint64
		complete bool
	}{
		{"nothing has come", func() {}, 0, false},
		{"four have come twice to both", func() {
			for _, c := range l.subs {
				for seq := range uint64(4) {
					l.message(c, seq+1)
					l.message(c, seq+1)
				}
			}
		}, 4, false},
		{"one has lost three and got the last", func() { l.message(a, 8) }, 6, false},
		{"the other has got all", func() {
			for seq := range uint64(4) {
				l.message(b, seq+5)
			}
		}, 8, false},
		{"the one is ended: nothing is waited for from it", func() { l.lose(a) }, 8, true},
	} {
		tc.do()
		if got := l.room(); got != tc.room || l.complete() != tc.complete {
			t.Errorf("%s: room for %d, want %d; complete: %v, want %v", tc.what, got, tc.room, l.complete(), tc.complete)
		}
	}
	if l.res.Late != 8 || l.delivered != 13 {
		t.Errorf("%d late and %d delivered, want 8 and 13", l.res.Late, l.delivered)
	}
}

// A load that had no time for its messages once published all that were due at once, and did not say so.
func TestLateMessagesAreTold(t *testing.T) {
	fd, err := unix.Open("/dev/null", unix.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	const burst, period = 5, 10 * time.Millisecond
	for _, tc := range []struct {
		name    string
		took    time.Duration // for a delivery
		limited bool
	}{{"server slower than the load", time.Minute, false}, {"load as slow as the server", 50 * time.Millisecond, true}} {
		l := &load{pub: &conn{fd: fd}, tmpl: newTemplate("e", "boot", "room", 300), opts: Options{Period: period}, phase: measuring, first: 1}
		l.start = time.Now().Add(-burst * period)
		if err := l.publish(burst); err != nil {
			t.Fatal(err)
		}
		l.latency.add(tc.took)
		r := l.finish()
		if least := microseconds((burst - 1) * period); r.LateBy.Max < least || r.LateBy.Max > least+microseconds(time.Since(l.start)-(burst-1)*period) || r.LateBy.P50 >= r.LateBy.Max {
			t.Errorf("%s: late by %v", tc.name, r.LateBy)
		}
		if r.Limited != tc.limited {
			t.Errorf("%s: limited %v", tc.name, r.Limited)
		}
	}
}

// faultyServer is a bare relay from the last client to the others, with f between them.
func faultyServer(t *testing.T, f func(n int, frame []byte, send func([]byte))) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var conns []net.Conn
		for {
			c, err := ln.Accept()
			if err != nil {
				for _, c := range conns {
					_ = c.Close()
				}
				return
			}
			r := bufio.NewReader(c)
			req, err := http.ReadRequest(r)
			if err != nil || req.Header.Get("Upgrade") != "websocket" {
				t.Errorf("handshake: %v", err)
			}
			_, _ = fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			others := slices.Clone(conns)
			conns = append(conns, c)
			go func() {
				for n := 0; ; n++ {
					head, err := r.Peek(4)
					if err != nil {
						return
					}
					size := payloadSize(head)
					if _, err := r.Discard(headerSize(head[1]) + 4); err != nil {
						return
					}
					p, err := r.Peek(size)
					if err != nil {
						return
					}
					f(n, serverFrame(p), func(frame []byte) {
						for _, o := range others {
							_, _ = o.Write(frame)
						}
					})
					_, _ = r.Discard(size)
				}
			}()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
	})
	return "http://" + ln.Addr().String()
}

// Many clients connect from several addresses: one has ports for so many only.
func TestSources(t *testing.T) {
	local, err := url.Parse(faultyServer(t, func(_ int, frame []byte, send func([]byte)) { send(frame) }))
	if err != nil {
		t.Fatal(err)
	}
	d := &dialer{opts: Options{Revision: Bare}, url: local}
	for i, want := range map[int]string{0: "127.0.0.1", fromOne - 1: "127.0.0.1", fromOne: "127.1.0.1", 2*fromOne + 5: "127.1.0.2"} {
		o, err := d.open(t.Context(), i, false)
		if err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		if got := o.net.LocalAddr().(*net.TCPAddr).IP.String(); got != want {
			t.Errorf("client %d comes from %s, want %s", i, got, want)
		}
		_ = o.net.Close()
	}
	d.url = &url.URL{Host: "192.0.2.1:80"}
	if a := d.source(fromOne); a != nil {
		t.Errorf("a client of another machine's server comes from %v", a)
	}
}

func TestErrors(t *testing.T) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	ok := Options{URL: "http://127.0.0.1:1", Event: "e", Revision: Engine4, Clients: 2, Window: 1, Size: 300, Duration: time.Second}
	for _, tc := range []struct {
		want string
		with func(*Options)
	}{
		{"http://host:port", func(o *Options) { o.URL = "https://127.0.0.1:1" }},
		{"at least one client", func(o *Options) { o.Clients = 0 }},
		{"to stall", func(o *Options) { o.Stall = 2 }},
		{"at least 200 bytes", func(o *Options) { o.Size = 199 }},
		{"in flight", func(o *Options) { o.Window = 0 }},
		{"open files", func(o *Options) { o.Clients = int(min(files.Cur, 1<<40)) }},
		{"server process", func(o *Options) { o.ServerPID = 1 << 30 }},
		{"client 1 of 2: dial", func(*Options) {}},
	} {
		o := ok
		tc.with(&o)
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("error is %v, want one with %q", err, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	url := faultyServer(t, func(_ int, frame []byte, send func([]byte)) { send(frame); cancel() })
	o := ok
	o.URL, o.Revision, o.Duration = url, Bare, time.Hour
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v after a signal", err)
	}
}
