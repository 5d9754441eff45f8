package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tbmsock/internal/freeport"
	"tbmsock/transport/journal"
)

// natsChild, in the environment, makes the test binary a NATS server: a process that can be killed.
const natsChild = "TBMSOCK_E2E_NATS"

// natsConfig is what a child is told.
type natsConfig struct {
	Name        string
	Port        int
	ClusterPort int
	Routes      []int
	Dir         string
}

// natsServer is the child's main: it serves until it is killed, or until the test that started it is.
func natsServer(config string) int {
	var c natsConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	o := &server.Options{ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, JetStream: true, StoreDir: c.Dir, NoSigs: true, NoLog: true,
		Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: c.ClusterPort}}
	for _, port := range c.Routes {
		o.Routes = append(o.Routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", port)})
	}
	s, err := server.NewServer(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		fmt.Fprintln(os.Stderr, "not ready")
		return 1
	}
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 0
}

// natsCluster is three NATS servers, each a process.
type natsCluster struct {
	t       *testing.T
	configs []natsConfig
	servers []*process
}

func startNATSCluster(t *testing.T) *natsCluster {
	t.Helper()
	c := &natsCluster{t: t, servers: make([]*process, 3)}
	ports := freeport.Below(t, 6)
	for i := range 3 {
		c.configs = append(c.configs, natsConfig{fmt.Sprint("nats-", i), ports[i], ports[3+i], ports[3:], filepath.Join(t.TempDir(), fmt.Sprint(i))})
		c.start(i)
	}
	return c
}

func (c *natsCluster) start(i int) {
	c.t.Helper()
	config, err := json.Marshal(c.configs[i])
	if err != nil {
		c.t.Fatal(err)
	}
	c.servers[i] = startWith(c.t, []string{natsChild + "=" + string(config)}, os.Args[0])
	c.servers[i].lineWith("ready")
}

// urls names all servers, beginning with the i-th.
func (c *natsCluster) urls(i int) string {
	var urls []string
	for n := range 3 {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", c.configs[(i+n)%3].Port))
	}
	return strings.Join(urls, ",")
}

// leader is the server that leads the journal's stream.
func (c *natsCluster) leader() int {
	c.t.Helper()
	nc, err := nats.Connect(c.urls(0))
	if err != nil {
		c.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for end := time.After(patience); ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		stream, err := js.Stream(ctx, "TBM")
		cancel()
		if err == nil && stream.CachedInfo().Cluster != nil {
			for i, config := range c.configs {
				if stream.CachedInfo().Cluster.Leader == config.Name {
					return i
				}
			}
		}
		select {
		case <-again.C:
		case <-end:
			c.t.Fatalf("the stream has no leader: %v", err)
		}
	}
}

// stored is how many entries of the source the journal of the cluster has. Each seq of a boot stands there once, in order.
func (c *natsCluster) stored(source string) int {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	j, err := journal.OpenReader(ctx, journal.Options{URL: c.urls(0)})
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = j.Close(ctx) }()
	state, err := j.State(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	n, offset, seqs := 0, uint64(0), map[string]uint64{}
	for e, err := range j.Read(ctx, 1, state.Last) {
		if err != nil {
			c.t.Fatal(err)
		}
		if e.Offset != offset+1 {
			c.t.Fatalf("the journal: offset %d behind %d", e.Offset, offset)
		}
		offset = e.Offset
		if e.Source != source {
			continue
		}
		n++
		if seqs[e.Boot]++; e.Seq != seqs[e.Boot] {
			c.t.Fatalf("the journal, offset %d, boot %s: seq %d in place %d", e.Offset, e.Boot, e.Seq, seqs[e.Boot])
		}
	}
	return n
}
