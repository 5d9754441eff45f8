package roles

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// hostNames are the names by which browsers may ask for the server. A page of another name may have been given the address of
// the server as its own (DNS rebinding): its browser takes it for a page of the server then, and no origin helps.
type hostNames struct {
	names     map[string]bool // in lower case
	addresses func() ([]net.Addr, error)
	now       func() time.Time

	mu   sync.Mutex
	own  map[netip.Addr]bool // of this machine
	read time.Time           // when own was read
}

// addressesAge is how old the list of this machine's addresses may be.
const addressesAge = 10 * time.Second

// newHostNames takes the names that the operator gives, and the host of --listen.
func newHostNames(given []string, listen string) *hostNames {
	h := &hostNames{names: map[string]bool{}, addresses: net.InterfaceAddrs, now: time.Now}
	for _, name := range given {
		h.names[normalHost(name)] = true
	}
	if listen != "" {
		h.names[normalHost(listen)] = true
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		name = normalHost(name)
		short, _, _ := strings.Cut(name, ".")
		h.names[name], h.names[short], h.names[short+".local"] = true, true, true // the last by multicast DNS
	}
	return h
}

// checkHost takes what can stand in a URL as the name of a host.
func checkHost(name string) error {
	u, err := url.Parse("http://" + name + "/")
	if _, bad := netip.ParseAddr(name); bad == nil {
		return nil
	}
	if err != nil || name == "" || u.Host != name || u.Hostname() != name || strings.ContainsAny(name, "*, ") {
		return errors.New("use the name or the address alone, such as tbm.example or 192.0.2.7")
	}
	return nil
}

// normalHost writes a host in the one form in which hosts are compared.
func normalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().WithZone("").String()
	}
	return host
}

// requestedHost is the name of the server in the request, without the port.
func requestedHost(r *http.Request) string {
	u := url.URL{Host: r.Host}
	return normalHost(u.Hostname())
}

// fromBrowser reports whether a page may be behind the request. Browsers send Sec-Fetch-* to localhost and over TLS only, and
// no Origin with a GET to what they take for the page's own server: there the other two tell.
func fromBrowser(r *http.Request) bool {
	if r.Header.Get("Origin") != "" || r.Header.Get("Referer") != "" || strings.HasPrefix(r.UserAgent(), "Mozilla/") {
		return true
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "Sec-Fetch-") {
			return true
		}
	}
	return false
}

// allows reports whether a request is answered: one of a browser has to name this server.
func (h *hostNames) allows(r *http.Request) bool {
	if !fromBrowser(r) {
		return true
	}
	host := requestedHost(r)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || h.names[host] {
		return true
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	return a.IsLoopback() || a.IsUnspecified() || h.isOwn(a) // the second as in the line "listening on http://[::]:8080"
}

// isOwn reports whether the address is one of this machine.
func (h *hostNames) isOwn(a netip.Addr) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := h.now(); h.own == nil || now.Sub(h.read) >= addressesAge {
		addresses, err := h.addresses()
		if err == nil {
			h.own = map[netip.Addr]bool{}
		}
		for _, address := range addresses {
			if p, err := netip.ParsePrefix(address.String()); err == nil {
				h.own[p.Addr().Unmap().WithZone("")] = true
			}
		}
		h.read = now
	}
	return h.own[a]
}
