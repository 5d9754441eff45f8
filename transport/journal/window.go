package journal

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// window lets other processes of the same user read the journal of a running one: a Unix socket in its
// directory, behind which they find the embedded server, with rights to read only. Nothing of it is on the network.
type window struct {
	ln   net.Listener
	dial func() (net.Conn, error) // to the embedded server

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
	wg     sync.WaitGroup
}

func windowPath(dir string) string { return filepath.Join(dir, "journal.sock") }

// openWindow needs the lock of the directory.
func openWindow(dir string, dial func() (net.Conn, error)) (*window, error) {
	path := windowPath(dir)
	// One that a killed process has left behind.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		_ = ln.Close()
		return nil, err
	}
	w := &window{ln: ln, dial: dial, open: map[net.Conn]bool{}}
	w.wg.Add(1)
	go w.serve()
	return w, nil
}

func (w *window) serve() {
	defer w.wg.Done()
	for {
		outer, err := w.ln.Accept()
		if err != nil {
			return
		}
		inner, err := w.dial()
		if err != nil {
			_ = outer.Close()
			continue
		}
		if !w.add(outer, inner) {
			return
		}
	}
}

// add joins two connections until one of them ends.
func (w *window) add(outer, inner net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		_, _ = outer.Close(), inner.Close()
		return false
	}
	w.open[outer], w.open[inner] = true, true
	w.wg.Add(2)
	join := func(to, from net.Conn) {
		defer w.wg.Done()
		_, _ = io.Copy(to, from) // its end is all there is to know
		_, _ = outer.Close(), inner.Close()
		w.mu.Lock()
		delete(w.open, from)
		w.mu.Unlock()
	}
	go join(inner, outer)
	go join(outer, inner)
	return true
}

// close ends all connections and waits for them.
func (w *window) close() {
	w.mu.Lock()
	w.closed = true
	for c := range w.open {
		_ = c.Close()
	}
	w.mu.Unlock()
	_ = w.ln.Close()
	w.wg.Wait()
}

// windowDialer lets the NATS client through a window.
type windowDialer struct{ path string }

func (d windowDialer) Dial(string, string) (net.Conn, error) { return net.Dial("unix", d.path) }

// SkipTLSHandshake tells the client that this is no TCP connection.
func (windowDialer) SkipTLSHandshake() bool { return true }
