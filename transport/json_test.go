package transport

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// validByLibrary is what validJSON has to say, said by others.
func validByLibrary(data []byte) bool {
	depth, most, inString := 0, 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
			most = max(most, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return most <= maxDepth && utf8.Valid(data) && json.Valid(data)
}

var jsonSeeds = []string{
	`["log_telemetry",{"source":"tbm-1","boot":"b","seq":1,"time":"2026-11-23T14:30:04.938Z","packet":{"a":-1.5e+3,"b":[1,2,{}],"c":null}}]`,
	`[]`, `{}`, `[1,]`, `[,1]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, `[1 2]`, `[}`, `{]`, `[[`, `]`, `,`, `:`, `"`, `"\`, `"\u12`, `"\u12g4"`,
	`"\ud800"`, `"\x"`, "\"\x1f\"", "\"\x7f\"", "\"\xff\"", "\"\xc3\x28\"", "\"\xed\xa0\x80\"", `"é😀"`, "\ufeff1", `01`, `-`, `-0`, `0.`, `.5`, `1e`, `1e+`, `1E5`, `+1`, `1.5.5`,
	`true`, `tru`, `truex`, `nul`, `null `, ` false`, `falsy`, "\t[\n1\r, 2 ]\n", "[1]\x00", "\x0b1", ``, ` `, `NaN`, `'a'`, `{a:1}`, `[1]]`, `{"a":[{"b":"12345678\"90\\"}]}`,
	strings.Repeat("[", 256) + strings.Repeat("]", 256), strings.Repeat("[", 257) + strings.Repeat("]", 257),
	strings.Repeat(`{"a":`, 256) + "1" + strings.Repeat("}", 256), `"` + strings.Repeat("x", 1000) + `"`,
}

func TestValidJSON(t *testing.T) {
	check := func(data []byte) {
		t.Helper()
		if _, _, got := validJSON(data); got != validByLibrary(data) {
			t.Fatalf("%q: valid %v", data, got)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	const alphabet = "[]{},:\"\\ \n\t0123456789.-+eEtruefalsn\x00\x1f\x7f\x80\xc3\xa9\xf0\x9f\x98\x80"
	for _, s := range jsonSeeds {
		check([]byte(s))
		for range 2000 { // one or two bytes of it changed, put in, or taken out
			b := []byte(s)
			for range 1 + rnd.IntN(2) {
				if len(b) == 0 {
					break
				}
				i := rnd.IntN(len(b))
				switch rnd.IntN(3) {
				case 0:
					b[i] = alphabet[rnd.IntN(len(alphabet))]
				case 1:
					b = append(b[:i], append([]byte{alphabet[rnd.IntN(len(alphabet))]}, b[i:]...)...)
				case 2:
					b = append(b[:i], b[i+1:]...)
				}
			}
			check(b)
		}
	}
}

func FuzzValidJSON(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		commas, _, got := validJSON(data)
		if got != validByLibrary(data) {
			t.Fatalf("%q: valid %v", data, got)
		}
		if (checkJSON(data) == nil) != got {
			t.Fatalf("%q: checkJSON says otherwise", data)
		}
		var elems []json.RawMessage
		if got && json.Unmarshal(data, &elems) == nil && len(elems) > 0 && commas != len(elems)-1 {
			t.Fatalf("%q: %d commas between %d elements", data, commas, len(elems))
		}
	})
}

// The arguments of an event are the same, split by one who has counted them or by one who has not.
func TestArgs(t *testing.T) {
	for _, s := range jsonSeeds {
		for _, event := range []string{`["e",` + s + `]`, ` [ "e" , ` + s + " \n] ", `["e"]`, `[` + s + `]`, `["e",` + s + `,` + s + `]`} {
			p, err := decodePacket([]byte("2" + event))
			if err != nil || p.data[skipSpace(p.data, 0)] != '[' {
				continue
			}
			var want []json.RawMessage
			if err := json.Unmarshal([]byte(event), &want); err != nil {
				t.Fatalf("%q: %v", event, err)
			}
			got := p.args()
			if len(got) != len(want) {
				t.Fatalf("%q: %d arguments, want %d", event, len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i].JSON, want[i]) {
					t.Errorf("%q: argument %d is %q, want %q", event, i, got[i].JSON, want[i])
				}
			}
		}
	}
}
