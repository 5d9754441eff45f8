package wire

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"
)

const agreedTo = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// What clients offer, and what they are answered; nothing means that the connection is plain.
func TestAcceptOffer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		offers []string // header lines
		answer string
	}{
		{"none", nil, ""},
		{"an empty header", []string{""}, ""},
		{"the shortest", []string{"permessage-deflate"}, agreedTo},
		{"Chromium's", []string{"permessage-deflate; client_max_window_bits"}, agreedTo},
		{"Safari's, once", []string{"x-webkit-deflate-frame"}, ""},
		{"beside another extension", []string{"x-other; a=1, permessage-deflate"}, agreedTo},
		{"on a second line", []string{"x-other", "permessage-deflate; client_max_window_bits=10"}, agreedTo},
		{"both without takeover", []string{agreedTo}, agreedTo},
		{"a small window", []string{"permessage-deflate; server_max_window_bits=10"}, agreedTo + "; server_max_window_bits=10"},
		{"the smallest", []string{"permessage-deflate; server_max_window_bits=8"}, agreedTo + "; server_max_window_bits=8"},
		{"the largest", []string{"permessage-deflate; server_max_window_bits=15"}, agreedTo + "; server_max_window_bits=15"},
		{"a quoted value", []string{`permessage-deflate; server_max_window_bits="9"`}, agreedTo + "; server_max_window_bits=9"},
		{"the first of two", []string{"permessage-deflate; server_max_window_bits=9, permessage-deflate"}, agreedTo + "; server_max_window_bits=9"},
		{"the first that is right", []string{"permessage-deflate; foo, permessage-deflate; server_max_window_bits=9"}, agreedTo + "; server_max_window_bits=9"},
		{"the second of two lines", []string{"permessage-deflate; server_max_window_bits=16", "permessage-deflate"}, agreedTo},
		{"no window at all", []string{"permessage-deflate; server_max_window_bits"}, ""},
		{"a window of 7 bits", []string{"permessage-deflate; server_max_window_bits=7"}, ""},
		{"of 16", []string{"permessage-deflate; server_max_window_bits=16"}, ""},
		{"of 010", []string{"permessage-deflate; server_max_window_bits=010"}, ""},
		{"of +9", []string{"permessage-deflate; server_max_window_bits=+9"}, ""},
		{"of 99999999999999999999", []string{"permessage-deflate; server_max_window_bits=99999999999999999999"}, ""},
		{"a client's window of 16", []string{"permessage-deflate; client_max_window_bits=16"}, ""},
		{"a client's window of nothing", []string{`permessage-deflate; client_max_window_bits=""`}, ""},
		{"a value where none belongs", []string{"permessage-deflate; server_no_context_takeover=1"}, ""},
		{"an empty one", []string{`permessage-deflate; client_no_context_takeover=""`}, ""},
		{"a parameter twice", []string{"permessage-deflate; client_max_window_bits; client_max_window_bits"}, ""},
		{"another twice", []string{"permessage-deflate; server_no_context_takeover; server_no_context_takeover"}, ""},
		{"an unknown parameter", []string{"permessage-deflate; level=9"}, ""},
		{"malformed", []string{"permessage-deflate; ="}, ""},
		{"malformed behind a good one", []string{"permessage-deflate, ;;;"}, ""},
		{"another name", []string{"permessage-deflate2"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := http.Header{}
			for _, o := range tc.offers {
				h.Add(extensionsHeader, o)
			}
			a := acceptOffer(h, 1024)
			got := ""
			if a.on() {
				got = a.answer()
			}
			if got != tc.answer {
				t.Errorf("answered %q, want %q", got, tc.answer)
			}
			if acceptOffer(h, 0).on() {
				t.Error("agreed to, though it is switched off")
			}
		})
	}
}

// What our client asks for, and which answers it goes into.
func TestCheckAnswer(t *testing.T) {
	if offer(0) != nil {
		t.Error("offered, though it is switched off")
	}
	var b strings.Builder
	if _, err := httphead.WriteOptions(&b, offer(1)); err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set(extensionsHeader, b.String())
	if got := acceptOffer(h, 1).answer(); got != agreedTo {
		t.Errorf("our server answers our offer %q with %q", b.String(), got)
	}
	for answer, ok := range map[string]bool{
		"": true, agreedTo: true, agreedTo + "; server_max_window_bits=9": true,
		"permessage-deflate; server_no_context_takeover":                             true,
		"permessage-deflate":                                                         false, // it was asked for
		"permessage-deflate; client_no_context_takeover":                             false,
		"permessage-deflate; server_no_context_takeover; client_max_window_bits=9":   false, // it was not
		"permessage-deflate; server_no_context_takeover; server_max_window_bits=7":   false,
		"permessage-deflate; server_no_context_takeover; server_max_window_bits":     false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover": false,
		"permessage-deflate; server_no_context_takeover; level=9":                    false,
		agreedTo + ", " + agreedTo:                                                   false,
		"x-other":                                                                    false,
	} {
		options, _ := httphead.ParseOptions([]byte(answer), nil)
		a, err := checkAnswer(options, 1)
		if (err == nil) != ok || a.on() != (ok && answer != "") {
			t.Errorf("%q: %v, %v", answer, a, err)
		}
		if err != nil && !errors.Is(err, errAnswer) {
			t.Error(err)
		}
		if _, err := checkAnswer(options, 0); (err == nil) != (answer == "") {
			t.Errorf("nothing offered, answered %q: %v", answer, err)
		}
	}
}

// A message that fits into the peer's window refers to nothing outside of it: only those are compressed.
func TestAgreementPacks(t *testing.T) {
	for _, tc := range []struct {
		a    agreement
		n    int
		want bool
	}{
		{agreement{}, 5000, false},
		{agreement{from: 1024, window: 15}, 1023, false}, {agreement{from: 1024, window: 15}, 1024, true}, {agreement{from: 1024, window: 15}, 1 << 20, true},
		{agreement{from: 100, window: 9}, 512, true}, {agreement{from: 100, window: 9}, 513, false}, {agreement{from: 1024, window: 9}, 1024, false},
	} {
		if got := tc.a.packs(tc.n); got != tc.want {
			t.Errorf("%+v, %d bytes: %v", tc.a, tc.n, got)
		}
	}
}

// FuzzOffer: whatever a client offers, it is answered with nothing or with what RFC 7692 allows, as
// another reader sees it, and only if it named the extension.
func FuzzOffer(f *testing.F) {
	for _, s := range []string{"permessage-deflate; client_max_window_bits", agreedTo, "permessage-deflate; server_max_window_bits=10, permessage-deflate", `a; b="c", permessage-deflate`, ";=,\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a := acceptOffer(http.Header{http.CanonicalHeaderKey(extensionsHeader): {s}}, 1024)
		if !a.on() {
			return
		}
		if !strings.Contains(s, wsflate.ExtensionName) {
			t.Fatalf("%q offers nothing", s)
		}
		options, ok := httphead.ParseOptions([]byte(a.answer()), nil)
		var p wsflate.Parameters
		if !ok || len(options) != 1 || p.Parse(options[0]) != nil || !p.ServerNoContextTakeover || !p.ClientNoContextTakeover ||
			p.ServerMaxWindowBits.Defined() != a.asked || a.asked && uint8(p.ServerMaxWindowBits) != a.window {
			t.Fatalf("%q is answered %q", s, a.answer())
		}
		if a.asked && !strings.Contains(s, serverWindow) {
			t.Fatalf("%q is answered %q", s, a.answer())
		}
	})
}
