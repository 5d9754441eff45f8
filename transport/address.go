package transport

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// addressUse ends the errors of [ParseServerURL].
const addressUse = "; use an address such as http://127.0.0.1:8080 or https://user:password@tbm.example"

// ParseServerURL reads the address of a server: http, https, ws or wss, a host, and optionally credentials,
// a port, a path and a query. A bare host:port means http. An address to which no client could ever connect
// is an error. The error names the address without its password.
func ParseServerURL(s string) (*url.URL, error) {
	u, err := parseAddress(s)
	if err != nil {
		return nil, fmt.Errorf("url %q: %w", RedactURL(s), err)
	}
	return u, nil
}

func parseAddress(s string) (*url.URL, error) {
	text := s
	if scheme, rest, ok := strings.Cut(s, ":"); !strings.Contains(s, "://") {
		if ok && strings.HasPrefix(rest, "/") { // as in unix:/run/x
			return nil, fmt.Errorf("scheme %q is not http, https, ws or wss"+addressUse, scheme)
		}
		text = "http://" + s
	}
	u, err := url.Parse(text)
	if err != nil {
		// The parser's error quotes the text, and so perhaps the password.
		return nil, errors.New("not a valid URL" + addressUse)
	}
	switch u.Scheme {
	case "http", "https":
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	default:
		return nil, fmt.Errorf("scheme %q is not http, https, ws or wss"+addressUse, u.Scheme)
	}
	if err := checkHost(u.Hostname()); err != nil {
		return nil, err
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("port %q is not a number from 1 to 65535"+addressUse, port)
		}
	}
	if u.Fragment != "" || strings.Contains(s, "#") {
		return nil, errors.New("a fragment (#) is never sent to a server" + addressUse)
	}
	if strings.Contains(u.EscapedPath(), "@") {
		return nil, errors.New("an @ in the path; percent-encode / ? # and @ in a password, and @ in a path")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the query cannot be read; percent-encode its values, and separate them by &")
	}
	for _, own := range []string{"EIO", "transport", "sid"} {
		if query.Has(own) {
			return nil, fmt.Errorf("the query parameter %s belongs to Engine.IO and is set by the client", own)
		}
	}
	return u, nil
}

// checkHost reports why no resolver can know the name (RFC 1123 section 2.1).
func checkHost(host string) error {
	if host == "" {
		return errors.New("the host is missing" + addressUse)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return nil
	}
	name := strings.TrimSuffix(host, ".")
	if len(name) > 253 {
		return errors.New("the host name is longer than 253 characters")
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("host %q: each part of a name has 1 to 63 characters", host)
		}
		for _, r := range label {
			switch {
			case r >= 0x80:
				return fmt.Errorf("host %q: write an international name in its ASCII form (xn--…)", host)
			case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_':
			default:
				return fmt.Errorf("host %q: %q is not allowed in a name", host, r)
			}
		}
	}
	if last := labels[len(labels)-1]; strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("host %q is not an IP address, and a name does not end in a number", host)
	}
	return nil
}

// SplitURLs splits a list of addresses at its commas. A comma within a password or a query separates nothing: an
// address that has credentials, or follows one with a query, must begin with its scheme.
func SplitURLs(list string) []string {
	var urls []string
	head := 0 // index of the last address that began with a scheme, or of the first
	for part := range strings.SplitSeq(list, ",") {
		switch {
		case len(urls) == 0:
		case strings.Contains(part, "://"):
			head = len(urls)
		case strings.Contains(part, "@") && !strings.Contains(urls[head], "@"), strings.ContainsAny(urls[head], "?#"):
			part = strings.Join(append(urls[head:], part), ",")
			urls = urls[:head]
		}
		urls = append(urls, part)
	}
	return urls
}

// RedactURL returns an address, or a list separated by commas, in the form in which logs show it: with the password
// replaced, as [url.URL.Redacted] does, and without the query, in which tokens are often passed. It also handles text
// that is not a valid URL: if in doubt, everything up to the last "@" counts as credentials.
func RedactURL(s string) string {
	urls := SplitURLs(s)
	for i, u := range urls {
		urls[i] = redactOne(u)
	}
	return strings.Join(urls, ",")
}

func redactOne(s string) string {
	start := 0
	if i := strings.Index(s, "://"); i >= 0 {
		start = i + len("://")
	}
	rest := s[start:]
	// A password with a slash or the like, not percent-encoded, may end in what the parser calls the path, but an @ in a
	// parameter of the query is no part of it.
	at := strings.LastIndexByte(rest, '@')
	query := strings.IndexByte(rest, '?')
	if _, err := url.Parse(s); err == nil && query >= 0 && query < at && strings.Contains(rest[query:at], "=") {
		at = strings.LastIndexByte(rest[:query], '@')
	}
	head := s[:start]
	if at >= 0 {
		user, _, hasPassword := strings.Cut(rest[:at], ":")
		switch {
		case hasPassword:
			user += ":xxxxx"
		case start == 0: // perhaps the end of a password with a comma
			user = "xxxxx"
		}
		head += user + "@"
		rest = rest[at+1:]
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	return head + rest
}
