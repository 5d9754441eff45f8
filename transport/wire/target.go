package wire

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"tbmsock/transport"
)

// maxRedirects is how many redirects are followed in a row.
const maxRedirects = 10

// maxErrorBody is how much of an answer's body is read to tell why a WebSocket's handshake was refused.
const maxErrorBody = 1000

// target is where a client's request goes, and the header that is sent there. Credentials are in the header, so that
// neither errors nor logs that name the URL have them.
type target struct {
	url    url.URL
	header http.Header // shared; nobody writes to it
}

func newTarget(u *url.URL, header http.Header) target {
	t := target{url: *u, header: header.Clone()}
	t.url.User, t.url.Fragment = nil, ""
	if u.User != nil && t.header.Get("Authorization") == "" {
		if t.header == nil {
			t.header = http.Header{}
		}
		t.header.Set("Authorization", basic(u.User))
	}
	return t
}

// basic is the header field of Basic authentication (RFC 7617).
func basic(user *url.Userinfo) string {
	password, _ := user.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
}

// response is an HTTP answer that is not the one hoped for.
type response struct {
	code     int
	status   string
	location string
	body     []byte
}

// readResponse reads the answer to a WebSocket's handshake.
func readResponse(r io.Reader) *response {
	res, err := http.ReadResponse(bufio.NewReader(r), &http.Request{Method: http.MethodGet})
	if err != nil {
		return nil
	}
	out := &response{code: res.StatusCode, status: res.Status, location: res.Header.Get("Location")}
	if !out.redirect(http.MethodGet) {
		out.body, _ = io.ReadAll(io.LimitReader(res.Body, maxErrorBody)) // as far as it comes
	}
	return out
}

// redirect reports whether a request with the method may be made again at the location.
func (r *response) redirect(method string) bool {
	switch r.code {
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther:
		return method == http.MethodGet // a POST would become a GET
	}
	return false
}

// err is the error that the answer stands for.
func (r *response) err() error {
	var he struct{ Code *int }
	if json.Unmarshal(r.body, &he) == nil && he.Code != nil && *he.Code == transport.ErrVersion.Code {
		return transport.ErrUnsupportedVersion
	}
	if bytes.Contains(r.body, []byte("unsupported version")) { // python-engineio
		return transport.ErrUnsupportedVersion
	}
	return failed(fmt.Errorf("%s: %.200q", r.status, bytes.TrimSpace(r.body)))
}

func failed(err error) error {
	return &transport.DisconnectError{Reason: transport.ReasonTransportError, Err: err}
}

// follow makes a request by try, which returns nil if it has succeeded, and makes it again where redirects lead. It
// returns the target that the last request went to.
func (t target) follow(method string, try func(target) (*response, error)) (target, error) {
	for range maxRedirects + 1 {
		res, err := try(t)
		if res == nil || err != nil {
			return t, err
		}
		if !res.redirect(method) {
			return t, res.err()
		}
		if t, err = t.redirected(res.location); err != nil {
			return t, failed(fmt.Errorf("%s: %w", res.status, err))
		}
	}
	return t, failed(fmt.Errorf("more than %d redirects", maxRedirects))
}

// redirected is where a redirect leads. Its errors do not quote the location, in which there may be credentials.
func (t target) redirected(location string) (target, error) {
	if location == "" {
		return t, errors.New("a redirect without a location")
	}
	next, err := t.url.Parse(location)
	if err != nil {
		return t, errors.New("a redirect whose location is not a URL")
	}
	switch next.Scheme {
	case "ws":
		next.Scheme = "http"
	case "wss":
		next.Scheme = "https"
	}
	switch {
	case next.Scheme != "http" && next.Scheme != "https" || next.Hostname() == "":
		return t, fmt.Errorf("a redirect to scheme %q, host %q", next.Scheme, next.Host)
	case t.url.Scheme == "https" && next.Scheme == "http":
		return t, fmt.Errorf("a redirect from https to http, host %q", next.Host)
	}
	next.User, next.Fragment, next.RawFragment = nil, "", ""
	to := target{url: *next, header: t.header}
	if !sameSite(&t.url, next) {
		to.header = t.header.Clone()
		for _, secret := range []string{"Authorization", "Cookie", "Cookie2", "Proxy-Authorization"} {
			to.header.Del(secret)
		}
	}
	return to, nil
}

// sameSite reports whether credentials for one URL may be sent to the other: scheme, host and port are the same, or
// differ only in the change from http to https on the default ports.
func sameSite(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	if from.Scheme == to.Scheme {
		return portOf(from) == portOf(to)
	}
	return portOf(from) == "80" && portOf(to) == "443"
}

// portOf is the port that is connected to.
func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	switch u.Scheme {
	case "https":
		return "443"
	case "socks5", "socks5h":
		return "1080"
	}
	return "80"
}
