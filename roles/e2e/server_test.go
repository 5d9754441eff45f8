package e2e

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"tbmsock/internal/freeport"
	"tbmsock/transport"
	"tbmsock/transport/engine3"
	"tbmsock/transport/engine4"
)

// relay is our server in this process, so that a test reaches its Go side too.
type relay struct {
	t        *testing.T
	addr     string
	compress int // as in EngineOptions
	sio      *transport.Server
	http     *http.Server
	ln       net.Listener
}

// startRelay serves "/" and "/tbm" on a free port until the test ends. setup may add to it.
func startRelay(t *testing.T, setup func(*transport.Server)) *relay {
	t.Helper()
	r := &relay{t: t}
	r.start(setup)
	t.Cleanup(r.stop)
	return r
}

func (r *relay) start(setup func(*transport.Server)) {
	r.t.Helper()
	var ln net.Listener
	var err error
	if r.addr == "" {
		ln = freeport.Listen(r.t)
	} else {
		for range 100 { // another process may look at the port just now
			if ln, err = net.Listen("tcp", r.addr); err == nil {
				break
			}
			<-time.After(100 * time.Millisecond)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
	r.addr, r.ln = ln.Addr().String(), ln
	r.sio, err = transport.NewServer(transport.ServerOptions{
		Engines:       []transport.NewEngine{engine4.New, engine3.New},
		EngineOptions: transport.EngineOptions{DrainTimeout: time.Second, Compress: r.compress},
		Report:        func(err error) { r.t.Errorf("reported: %v", err) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	for _, nsp := range []string{"/", "/tbm"} {
		ns := r.sio.Of(nsp)
		if _, err := transport.NewRelay(ns, transport.RelayOptions{Aliases: []string{"telemetry"}}); err != nil {
			r.t.Fatal(err)
		}
		// The server's question, and the client's answer to it, as the answer to its event.
		ns.On("ask me", func(ctx context.Context, ev *transport.Event) {
			args, err := ev.Socket().EmitAck(ctx, "question", ev.Args[0])
			if err != nil {
				_ = ev.Ack(err.Error())
				return
			}
			if len(args) == 0 { // Python's None is no argument
				args = transport.Args{{}}
			}
			_ = ev.Ack(args[0])
		}, transport.Concurrent())
	}
	if setup != nil {
		setup(r.sio)
	}
	hs := &http.Server{Handler: r.sio}
	r.http = hs
	go func() { _ = hs.Serve(ln) }()
}

func (r *relay) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.sio.Shutdown(ctx); err != nil {
		r.t.Errorf("shutdown: %v", err)
	}
	_ = r.http.Close()
	_ = r.ln.Close() // which the server does not know yet if it has only just been started
}

func (r *relay) url() string { return "http://" + r.addr }
