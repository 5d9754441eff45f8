package roles

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"tbmsock/roles/dashboard"
	"tbmsock/transport"
)

func webFlags() []cli.Flag {
	return []cli.Flag{
		textFlag("web", "web application that is served at /: embedded, off, or the directory of another build", "embedded"),
		textFlag("web-csp", "Content-Security-Policy of the directory's pages: auto, off, or the policy itself", "auto"),
	}
}

// newWeb makes what answers at "/", nil if nothing does.
func newWeb(c *cli.Context, log *logrus.Logger) (http.Handler, error) {
	opts := dashboard.Options{Policy: dashboard.PolicyOther}
	switch web := c.String("web"); web {
	case "off":
		return nil, nil
	case "embedded":
		files, built := dashboard.Embedded()
		if !built {
			log.Info("this program was built without the web application: its page says how to build it")
		}
		opts = dashboard.Options{Files: files, Policy: dashboard.PolicyOwn, Views: dashboard.Views()}
	default:
		files, err := dashboard.OpenDir(web)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("--web %s: there is no such directory; use embedded, off, or a directory with index.html", web)
		}
		if err != nil {
			return nil, fmt.Errorf("--web %s: %w", web, unwrapPath(err))
		}
		opts.Files = files
		switch csp := c.String("web-csp"); csp {
		case "auto":
		case "off":
			opts.Policy = ""
		default:
			if strings.ContainsAny(csp, "\r\n\x00") {
				return nil, errors.New("--web-csp: the policy must be one line")
			}
			opts.Policy = csp
		}
	}
	h, err := dashboard.NewHandler(opts)
	if err != nil {
		return nil, fmt.Errorf("--web %s: %w", c.String("web"), err)
	}
	return h, nil
}

// unwrapPath leaves out of a file's error the operation and the path, which the flag has named.
func unwrapPath(err error) error {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// endpoints are what the server answers over HTTP beside Socket.IO.
type endpoints struct {
	sio        *transport.Server
	dictionary http.Handler
	web        http.Handler // nil: nothing at "/"
	hosts      *hostNames
	namespaces []string
	answerTime time.Duration // in which a request must have been answered
	started    time.Time
	stopping   atomic.Bool
	trouble    atomic.Pointer[string] // why the journal takes nothing; nil: it does, or there is none
	apart      atomic.Pointer[string] // why there is no connection to other nodes; nil: there is, or there are none
	cluster    *transport.Cluster     // nil for a single node
}

// bodyTime is how long the rest of a request's body may take that nobody reads.
const bodyTime = 5 * time.Second

// ServeHTTP goes by the path. Socket.IO has its own wherever the operator has put it.
func (e *endpoints) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !e.hosts.allows(r) {
		if r.ContentLength != 0 { // nobody reads the body
			w.Header().Set("Connection", "close")
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		}
		e.sio.RefuseHost(w, r)
		return
	}
	p := r.URL.Path
	if p == e.sio.Path() || p+"/" == e.sio.Path() {
		e.socketIO(w, r)
		return
	}
	if r.ContentLength != 0 {
		// No other path takes a body. Without these the answer waits for it, and then the connection does.
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	}
	switch {
	case p == "/healthz":
		text(w, r, http.StatusOK, "ok\n")
	case p == "/readyz":
		if err := e.notReady(); err != nil {
			text(w, r, http.StatusServiceUnavailable, err.Error()+"\n")
			return
		}
		text(w, r, http.StatusOK, "ready\n")
	case p == "/dictionary":
		e.sio.AllowOrigins(e.dictionary).ServeHTTP(w, r)
	case p == "/status":
		e.sio.AllowOrigins(http.HandlerFunc(e.status)).ServeHTTP(w, r)
	case e.web != nil:
		e.web.ServeHTTP(w, r)
	case getOnly(w, r):
		http.NotFound(w, r)
	}
}

// socketIO bounds the time for a body. It is the time after which no answer can be written: a POST over a slow link
// that takes longer is of no use, and its session has missed its heartbeats.
func (e *endpoints) socketIO(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 {
		e.sio.ServeHTTP(w, r)
		return
	}
	body := http.NewResponseController(w)
	if r.Header.Get("Upgrade") != "" { // a deadline would hold for the WebSocket too
		w.Header().Set("Connection", "close")
		_ = body.SetReadDeadline(time.Now().Add(bodyTime))
		transport.WriteHTTPError(w, transport.ErrBadRequest)
		return
	}
	_ = body.SetReadDeadline(time.Now().Add(e.answerTime))
	e.sio.ServeHTTP(w, r)
	_ = body.SetReadDeadline(time.Now().Add(bodyTime)) // for what nobody has read, as for an unknown session
}

// text answers those who look after the process: a load balancer, a supervisor.
func text(w http.ResponseWriter, r *http.Request, status int, body string) {
	if !getOnly(w, r) {
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

func getOnly(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	http.Error(w, "use GET", http.StatusMethodNotAllowed)
	return false
}

// serverStatus is who is there: what the page shows of the line itself.
type serverStatus struct {
	Version    string            `json:"version"`
	Path       string            `json:"path"` // of Socket.IO
	Started    time.Time         `json:"started"`
	Clients    int64             `json:"clients"` // connections open now, those without a namespace too
	EventsIn   uint64            `json:"events_in"`
	EventsOut  uint64            `json:"events_out"`
	Dropped    uint64            `json:"dropped"`
	Refused    uint64            `json:"refused"`
	Rejected   uint64            `json:"rejected"`
	Compressed *compressStatus   `json:"compressed,omitempty"` // nil: nothing has been
	Namespaces []namespaceStatus `json:"namespaces"`
	Cluster    *clusterStatus    `json:"cluster,omitempty"` // of several nodes; all else is this one's
}

// compressStatus is what compression has brought: bytes of packets, each counted once for all receivers.
type compressStatus struct {
	Packets uint64 `json:"packets"`
	From    uint64 `json:"from"`
	To      uint64 `json:"to"`
}

type namespaceStatus struct {
	Name    string         `json:"name"`
	Rooms   []roomStatus   `json:"rooms"`
	Clients []clientStatus `json:"clients"` // the first maxClientsShown
	Count   int            `json:"count"`   // of all clients in it
}

type roomStatus struct {
	Name    string `json:"name"`
	Members int    `json:"members"`
}

type clientStatus struct {
	// ID is the beginning of the sid: enough to tell clients apart, and not enough to speak for
	// one, which clients of Engine.IO 3 could be spoken for with the whole.
	ID        string    `json:"id"`
	Engine    int       `json:"engine"`
	Transport string    `json:"transport"`
	Address   string    `json:"address,omitempty"` // told to this machine alone
	Agent     string    `json:"agent,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Rooms     []string  `json:"rooms"`
}

const (
	maxClientsShown = 200
	shownSid        = 6 // of 22 characters
	shownAgent      = 120
)

// status answers GET /status.
func (e *endpoints) status(w http.ResponseWriter, r *http.Request) {
	if !getOnly(w, r) {
		return
	}
	n := e.sio.Counters()
	out := serverStatus{Version: version(), Path: e.sio.Path(), Started: e.started.UTC(), Clients: n.Sessions.Load(), EventsIn: n.EventsIn.Load(),
		EventsOut: n.EventsOut.Load(), Dropped: n.Dropped.Load(), Refused: n.Refused.Load(),
		Rejected: n.Rejected.Load()}
	if p := n.Compressed.Load(); p > 0 {
		out.Compressed = &compressStatus{Packets: p, From: n.CompressedFrom.Load(), To: n.CompressedTo.Load()}
	}
	addresses := fromThisMachine(r)
	for _, name := range e.namespaces {
		out.Namespaces = append(out.Namespaces, namespaceOf(e.sio.Of(name), addresses))
	}
	out.Cluster = e.clusterStatus()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(out)
}

// fromThisMachine reports whether somebody on this machine asks. Until there is access control only they are shown the
// addresses of clients. A request that a proxy on this machine has passed on comes from elsewhere; so, perhaps, does
// one for another host's name (DNS rebinding). What X-Forwarded-For says is not believed: anybody can send it.
func fromThisMachine(r *http.Request) bool {
	for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "Via"} {
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil || !isLoopback(host) {
		return false
	}
	asked := url.URL{Host: r.Host}
	return isLoopback(asked.Hostname())
}

func namespaceOf(ns *transport.Namespace, addresses bool) namespaceStatus {
	sockets := ns.Sockets()
	slices.SortFunc(sockets, func(a, b *transport.Socket) int { return since(a).Compare(since(b)) })
	out := namespaceStatus{Name: ns.Name(), Rooms: []roomStatus{}, Clients: []clientStatus{}, Count: len(sockets)}
	members := map[string]int{}
	for i, so := range sockets {
		rooms := so.Rooms()
		for _, room := range rooms {
			members[room]++
		}
		if i < maxClientsShown {
			c := clientOf(so, rooms)
			if !addresses {
				c.Address = ""
			}
			out.Clients = append(out.Clients, c)
		}
	}
	for name, count := range members {
		out.Rooms = append(out.Rooms, roomStatus{name, count})
	}
	slices.SortFunc(out.Rooms, func(a, b roomStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func clientOf(so *transport.Socket, rooms []string) clientStatus {
	if rooms == nil {
		rooms = []string{}
	}
	sid, conn := so.Sid(), so.Session().Conn()
	out := clientStatus{ID: shortID(sid), Engine: conn.Revision(), Transport: conn.Transport(), Since: since(so), Rooms: rooms}
	if h := conn.Handshake(); h != nil {
		agent := h.Header.Get("User-Agent")
		out.Address, out.Agent = h.RemoteAddr, strings.ToValidUTF8(agent[:min(len(agent), shownAgent)], "")
	}
	return out
}

// since is when the client's connection was opened.
func since(so *transport.Socket) time.Time {
	if h := so.Session().Handshake(); h != nil {
		return h.Time.UTC()
	}
	return time.Time{}
}
