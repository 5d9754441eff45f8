package engine3

import (
	"context"
	"net/url"

	"tbmsock/transport"
	"tbmsock/transport/wire"
)

// Dialer opens sessions of Engine.IO 3 as a client. The zero value is ready, and safe for
// concurrent use.
type Dialer struct{}

var _ transport.Dialer = Dialer{}

// Revision is 3.
func (Dialer) Revision() int { return 3 }

// Dial implements [transport.Dialer].
func (Dialer) Dial(ctx context.Context, u *url.URL, opts transport.DialOptions, peer transport.Peer) (transport.Conn, error) {
	d, err := wire.DialEngine(ctx, codec{}, 3, u, opts, peer)
	if err != nil {
		return nil, err // not a nil *Dialed in an interface
	}
	return d, nil
}
