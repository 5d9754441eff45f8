package transport

import (
	"fmt"
	"net/http"
	"net/url"
)

// CheckJSONP returns an error if o is not a valid element of [ServerOptions.JSONP].
func CheckJSONP(o string) error {
	if o != "*" && o != originFile && o != originNull {
		if _, _, err := parseOrigin(o); err == nil {
			return nil
		}
	}
	return fmt.Errorf("origin %q: use scheme://host, scheme://host:port or scheme://host:*", o)
}

// isJSONP reports whether a request for the engine polls by script elements, as clients of revision 3 do in browsers
// without cross-origin requests. Any page can load such a script and read what it carries: no browser holds it against
// CORS. An answer to a POST is of no use to the page, but a form is not held against CORS either.
func isJSONP(engine Engine, query url.Values) bool {
	return engine != nil && engine.Revision() == 3 && query.Has("j")
}

// allowJSONP reports whether the request comes from a page of [ServerOptions.JSONP]. A request for a script has no Origin,
// so its Referer counts. Without either it may come from any page: pages can have it left out.
func (s *Server) allowJSONP(r *http.Request) bool {
	u, err := url.Parse(jsonpOrigin(r))
	return err == nil && u.Host != "" && s.jsonp.lists(u)
}

// jsonpOrigin is the origin of the page that sent the request, "" if the request does not tell.
func jsonpOrigin(r *http.Request) string {
	if origin := r.Header.Get("Origin"); origin != "" {
		return origin
	}
	u, err := url.Parse(r.Referer())
	if err != nil || u.Scheme == "" || u.Host == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
