package transport_test

import (
	"net/url"
	"strings"
	"testing"

	"tbmsock/transport"
)

// An address that no client could ever connect to was once tried again for ever.
func TestParseServerURL(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:8080": "http://127.0.0.1:8080", "127.0.0.1:8080": "http://127.0.0.1:8080", "tbm.example": "http://tbm.example",
		"wss://tbm.example": "https://tbm.example", "ws://h:1/base": "http://h:1/base", "http://h:65535": "http://h:65535",
		"http://[::1]:8080/": "http://[::1]:8080/", "http://[fe80::1%25eth0]:1": "http://[fe80::1%25eth0]:1", "http://tbm_1.site.": "http://tbm_1.site.",
		"https://u:p%40ss@h?token=a&x=a@b": "https://u:p%40ss@h?token=a&x=a@b", "u:p@h:1": "http://u:p@h:1", "http://3com.example": "http://3com.example",
		// Never to be connected to.
		"ftp://h": "", "http://": "", "": "", "http://:8080": "", "http://u:p@:8080": "", "http://host:": "", "http://h:0": "", "http://h:99999": "",
		"http://h:65536": "", "http://h:-1": "", "http://h:http": "", "unix:/x": "", "unix:///x": "", "file:///x": "", "http:/h": "", "http:h": "",
		"http://a b": "", " http://h": "", "http://h:1 ": "", "http://h\n": "", "http://[::1": "", "http://::1:80": "", "http://1.2.3": "", "http://256.1.1.1": "",
		"http://a..b": "", "http://.h": "", "http://bücher.example": "", "http://h*": "", "http://h%20x": "", "http://h/#x": "", "http://h#": "",
		"http://h?EIO=3": "", "http://h?sid=x": "", "http://h?transport=polling": "", "http://h?a=%zz": "", "http://h?a;b": "",
		"http://u:p/w@h": "", "http://u:1/w@h": "", "http://u:1#w@h": "", "http://" + strings.Repeat("a", 64): "", "http://" + strings.Repeat("a.", 127) + "a": "",
	} {
		u, err := transport.ParseServerURL(in)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q became %s", in, u)
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%q became %v, %v", in, u, err)
		case err != nil && strings.Contains(err.Error(), "w@h"):
			t.Errorf("%q: the error tells the password: %v", in, err)
		}
	}
}

func TestRedactURL(t *testing.T) {
	for in, want := range map[string]string{
		"http://127.0.0.1:8080":              "http://127.0.0.1:8080",
		"h:1":                                "h:1",
		"http://u:secret@h:1/base":           "http://u:xxxxx@h:1/base",
		"http://u:secret@h?token=secret":     "http://u:xxxxx@h",
		"http://h:8080?mail=a@b":             "http://h:8080",
		"http://u@h":                         "http://u@h",
		"u:secret@h:1":                       "u:xxxxx@h:1",
		"http://u:secret@h:99999":            "http://u:xxxxx@h:99999",
		"http://u:sec/ret@h":                 "http://u:xxxxx@h",
		"http://u:1/secret@h":                "http://u:xxxxx@h",
		"http://u:sec#ret@h":                 "http://u:xxxxx@h",
		"http://u:sec?ret@h":                 "http://u:xxxxx@h",
		"http://u:se@cret@h":                 "http://u:xxxxx@h",
		"http://u:%zzsecret@h":               "http://u:xxxxx@h",
		"http://u:sec,ret@h":                 "http://u:xxxxx@h",
		"http://u:se,,cr,et@h,http://h2":     "http://u:xxxxx@h,http://h2",
		"u:sec,ret@h":                        "u:xxxxx@h",
		"http://a:x1@h1,http://b:x2@h2,h3:1": "http://a:xxxxx@h1,http://b:xxxxx@h2,h3:1",
		"http://a:x1@h1?q=1,2,http://h2":     "http://a:xxxxx@h1,http://h2",
	} {
		if got := transport.RedactURL(in); got != want {
			t.Errorf("%q is shown as %q, want %q", in, got, want)
		}
	}
}

// FuzzRedactURL: however a password is written, as long as it makes one address, it is not shown.
func FuzzRedactURL(f *testing.F) {
	for _, password := range []string{"secret", "se:cret", "sec/ret", "1/ret", "s@c", "a,b", "%", "?a", "#"} {
		f.Add(password)
	}
	f.Fuzz(func(t *testing.T, password string) {
		const mark = "Zq7"
		for _, written := range []string{mark + password + mark, url.QueryEscape(password + mark)} {
			if strings.Contains(written, "://") || strings.Contains(written, "=") {
				continue // reads as another address, or as a query
			}
			address := "http://user:" + written + "@host:8080"
			if got := transport.RedactURL(address); strings.Contains(got, mark) {
				t.Errorf("%q is shown as %q", address, got)
			}
			if _, err := transport.ParseServerURL(address); err != nil && strings.Contains(err.Error(), mark) {
				t.Errorf("%q: %v", address, err)
			}
		}
	})
}
