package roles

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/transport"
	"tbmsock/transport/bus"
)

// openCluster connects the server to the others of its NATS cluster, if it has one.
func (s *serverRole) openCluster(ctx context.Context, c *cli.Context) error {
	url := c.String("nats")
	if url == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, journalOpenTimeout)
	defer cancel()
	b, err := bus.Open(ctx, bus.Options{
		URL:       url,
		OnHealth:  s.busHealth,
		OnWarning: func(text string) { s.log.WithField("bus", text).Warn("NATS has something to say") },
	})
	if err != nil {
		return fmt.Errorf("other nodes: %w", err)
	}
	cluster, err := transport.NewCluster(s.sio, b, transport.ClusterOptions{
		OnNode: s.nodeSeen,
		Report: func(err error) { s.log.WithError(err).Warn("other nodes") },
	})
	if err != nil {
		b.Close(ctx)
		return err
	}
	s.bus, s.cluster = b, cluster
	s.ends.cluster = cluster
	s.log.WithField("node", shortID(cluster.Node())).Info("one hub with the other nodes of the NATS cluster")
	return nil
}

// shortID is enough of a random id to tell nodes, or clients, apart.
func shortID(id string) string { return id[:min(len(id), shownSid)] }

// busHealth tells the log when the other nodes cannot be reached, and when they can again.
func (s *serverRole) busHealth(err error) {
	if err != nil {
		s.log.WithError(err).Error("no connection to the other nodes: until it is back, they get none of the events that are not in the journal")
		why := err.Error()
		s.ends.apart.Store(&why)
		return
	}
	s.ends.apart.Store(nil)
	s.log.Info("connected to the other nodes again")
}

func (s *serverRole) nodeSeen(id string, here bool) {
	entry := s.log.WithFields(logrus.Fields{"node": shortID(id)})
	if here {
		entry.Info("another node is there")
	} else {
		entry.Warn("another node has gone: its clients come to those that are left")
	}
}

// closeNodes ends what connects the server to others: the bus, then the journal, which writes what waits.
func (s *serverRole) closeNodes() error {
	if s.bus != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.bus.Close(ctx)
	}
	return s.closeJournal()
}

// clusterStatus is what a node knows of the others, in /status.
type clusterStatus struct {
	Node      string `json:"node"`      // beginning of this node's id
	Nodes     int    `json:"nodes"`     // this one included
	Clients   uint64 `json:"clients"`   // connections on all nodes
	Connected bool   `json:"connected"` // to the NATS cluster
	Sent      uint64 `json:"sent"`
	Lost      uint64 `json:"lost"` // not sent: no connection, or too large
	Received  uint64 `json:"received"`
	Missed    uint64 `json:"missed"` // sent by others, and not received
	Malformed uint64 `json:"malformed"`
}

func (e *endpoints) clusterStatus() *clusterStatus {
	if e.cluster == nil {
		return nil
	}
	n := e.cluster.Stats()
	return &clusterStatus{Node: shortID(e.cluster.Node()), Nodes: n.Nodes, Clients: n.Clients, Connected: e.apart.Load() == nil,
		Sent: n.Sent, Lost: n.Lost, Received: n.Received, Missed: n.Missed, Malformed: n.Malformed}
}

// notReady says why no client should be sent here; nil if one may.
func (e *endpoints) notReady() error {
	if e.stopping.Load() {
		return errors.New("the server is stopping")
	}
	if why := e.trouble.Load(); why != nil {
		return errors.New(*why)
	}
	if why := e.apart.Load(); why != nil {
		return errors.New(*why)
	}
	return nil
}
