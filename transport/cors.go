package transport

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// originPolicy decides which pages in a browser may talk to the server. Clients that are no
// browser send no Origin and are not concerned.
type originPolicy struct {
	any       bool
	localhost bool
	exact     map[string]bool // "scheme://host[:port]", "file://" or "null"
	anyPort   map[string]bool // "scheme://host"
}

func newOriginPolicy(origins []string) (*originPolicy, error) {
	p := &originPolicy{localhost: origins == nil, exact: map[string]bool{}, anyPort: map[string]bool{}}
	for _, o := range origins {
		if o == "*" {
			p.any = true
			continue
		}
		key, anyPort, err := parseOrigin(o)
		if err != nil {
			return nil, err
		}
		if anyPort {
			p.anyPort[key] = true
		} else {
			p.exact[key] = true
		}
	}
	return p, nil
}

// Origins without a host. Electron and boards with the Arduino client send the first; a browser sends the second for a
// page from a file, or in a sandbox.
const (
	originFile = "file://"
	originNull = "null"
)

// CheckOrigin returns an error if o is not a valid element of [ServerOptions.Origins].
func CheckOrigin(o string) error {
	if o == "*" {
		return nil
	}
	_, _, err := parseOrigin(o)
	return err
}

func parseOrigin(o string) (key string, anyPort bool, err error) {
	if o == originFile || o == originNull {
		return o, false, nil
	}
	base, anyPort := strings.CutSuffix(o, ":*")
	u, err := url.Parse(base)
	if err != nil || u.Scheme == "" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", false, fmt.Errorf("origin %q: use scheme://host, scheme://host:port, scheme://host:*, file://, null or *", o)
	}
	return strings.ToLower(u.Scheme + "://" + u.Host), anyPort, nil
}

func (p *originPolicy) allows(origin string, r *http.Request) bool {
	if p.any {
		return true
	}
	if origin == originFile || origin == originNull {
		return p.exact[origin]
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	// Only the host is held against the request's: a proxy may have ended TLS.
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	if p.lists(u) {
		return true
	}
	if !p.localhost {
		return false
	}
	if strings.EqualFold(u.Hostname(), "localhost") {
		return true
	}
	ip := net.ParseIP(u.Hostname())
	return ip != nil && ip.IsLoopback()
}

// lists reports whether the origin is one of those that the policy was made with.
func (p *originPolicy) lists(u *url.URL) bool {
	return p.exact[strings.ToLower(u.Scheme+"://"+u.Host)] || p.anyPort[strings.ToLower(u.Scheme+"://"+u.Hostname())]
}

// apply sets the headers of cross-origin resource sharing (https://fetch.spec.whatwg.org/#http-cors-protocol).
// A page from elsewhere is refused altogether: browsers do not hold WebSockets against CORS, nor
// a POST of plain text.
func (p *originPolicy) apply(w http.ResponseWriter, r *http.Request) error {
	origin := r.Header.Get("Origin")
	h := w.Header()
	h.Add("Vary", "Origin")
	if origin == "" {
		return nil
	}
	if !p.allows(origin, r) {
		return ErrForbidden
	}
	// Clients of version 2 send credentials, and then "*" is not enough.
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Credentials", "true")
	if r.Method != http.MethodOptions {
		return nil
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	h.Set("Access-Control-Max-Age", "600")
	return nil
}
