package bench

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"
)

// Revision is what a server speaks below its events.
type Revision int

// The revisions. Bare is a WebSocket with nothing above it: every message goes to all others. It is
// there for the mark that a relay with a protocol is held against.
const (
	Bare    Revision = 0
	Engine3 Revision = 3
	Engine4 Revision = 4
)

func (r Revision) String() string {
	if r == Bare {
		return "bare"
	}
	return fmt.Sprint(int(r))
}

// MarshalText makes a result readable.
func (r Revision) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// minSize is the smallest packet that has room for its sequence number.
const minSize = 200

// Options is what a run does.
type Options struct {
	URL      string // http://[user:password@]host:port[/base][?query]; connected to directly, without a proxy
	Path     string // of the Socket.IO endpoint; not used by Bare
	Event    string // that the server relays
	Revision Revision

	Clients int // subscribers, the stalled ones among them
	Stall   int // subscribers that stop reading when the measurement begins

	Period   time.Duration // between messages; 0: as fast as they are delivered
	Idle     bool          // nothing is published: the clients are held, and answer heartbeats
	Window   int           // messages in flight if Period is 0
	Size     int           // bytes of the event's argument
	Ack      bool          // the publisher asks for acknowledgements
	Duration time.Duration

	ServerPID int // whose CPU time and memory are told; 0: nobody's

	// Progress, if not nil, gets a line a second.
	Progress io.Writer
}

// Check tells what of the options cannot be.
func (o *Options) Check() error {
	_, err := o.address()
	return err
}

// shown is the address as a result tells it: without the password, and without the query.
func shown(u *url.URL) string {
	bare := *u
	bare.RawQuery = ""
	return bare.Redacted()
}

func (o *Options) address() (*url.URL, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http":
		return nil, errors.New("url: use http://host:port (TLS is not measured)") // a password may stand in it
	case o.Clients < 1:
		return nil, errors.New("at least one client is needed")
	case o.Stall < 0 || o.Stall >= o.Clients:
		return nil, errors.New("more clients are needed than are to stall")
	case o.Size < minSize:
		return nil, fmt.Errorf("a message has at least %d bytes", minSize)
	case o.Period == 0 && !o.Idle && o.Window < 1:
		return nil, errors.New("at least one message must be in flight")
	}
	u.Fragment = ""
	if u.Port() == "" {
		u.Host += ":80"
	}
	return u, nil
}
