package transport

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestDecodePacket(t *testing.T) {
	deep := strings.Repeat("[", 257) + strings.Repeat("]", 257)
	for _, tc := range []struct {
		name, in string
		want     string // kind nsp id attachments data, or empty for an error
	}{
		{"connect", `0`, `0 / - 0 `},
		{"connect with auth", `0{"token":"x"}`, `0 / - 0 {"token":"x"}`},
		{"connect to a namespace", `0/admin,`, `0 /admin - 0 `},
		{"connect without the comma", `0/admin`, `0 /admin - 0 `},
		{"connect of revision 4 with a query", `0/admin?token=1&uid=2,`, `0 /admin?token=1&uid=2 - 0 `},
		{"namespace with a query of 1 KB", `0/a?` + strings.Repeat("q", 1<<10) + `,`, `0 /a?` + strings.Repeat("q", 1<<10) + ` - 0 `},
		{"disconnect", `1`, `1 / - 0 `},
		{"event", `2["foo",1]`, `2 / - 0 ["foo",1]`},
		{"event asking for an ack", `212["foo"]`, `2 / 12 0 ["foo"]`},
		{"event in a namespace", `2/admin,456["foo"]`, `2 /admin 456 0 ["foo"]`},
		{"ack", `3/admin,456[]`, `3 /admin 456 0 []`},
		{"binary event", `51-["foo",{"_placeholder":true,"num":0}]`, `5 / - 1 ["foo",{"_placeholder":true,"num":0}]`},
		{"binary event in a namespace with ack", `52-/a,7["foo"]`, `5 /a 7 2 ["foo"]`},
		{"binary ack", `61-/admin,456[{"_placeholder":true,"num":0}]`, `6 /admin 456 1 [{"_placeholder":true,"num":0}]`},
		{"as many arguments as are taken", `2["x"` + strings.Repeat(",0", 1023) + `]`, `2 / - 0 ["x"` + strings.Repeat(",0", 1023) + `]`},
		{"unicode", `2["é😀"]`, `2 / - 0 ["é😀"]`},
		{"as deep as allowed", `2["x",` + deep[2:len(deep)-2] + `]`, `2 / - 0 ["x",` + deep[2:len(deep)-2] + `]`},

		{"empty", ``, ``},
		{"unknown type", `9["x"]`, ``},
		{"event without arguments", `2`, ``},
		{"event that is an object", `2{"a":1}`, ``},
		{"ack without an id", `3[1]`, ``},
		{"ack without arguments", `31`, ``},
		{"broken JSON", `2["foo"`, ``},
		{"two values", `2["foo"]["bar"]`, ``},
		{"too deep", `2` + deep, ``},
		{"more arguments than are taken", `2["x"` + strings.Repeat(",0", 1024) + `]`, ``},
		{"a million levels", `2` + strings.Repeat("[", 1e6), ``},
		{"binary without a number", `5-["foo"]`, ``},
		{"binary without a dash", `51["foo"]`, ``},
		{"a million attachments", `51000000-["foo"]`, ``},
		{"attachments beyond any number", `599999999999999999999999-["foo"]`, ``},
		{"ack id beyond any number", `399999999999999999999999[]`, ``},
		{"invalid UTF-8", "2[\"\xff\"]", ``},
		{"namespace with a query of 9 KB", `0/a?` + strings.Repeat("q", 9<<10) + `,`, ``},
		{"namespace of 300 bytes", `0/` + strings.Repeat("n", 300) + `,`, ``},
		{"disconnect with data", `1{"a":1}`, ``},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := decodePacket([]byte(tc.in))
			if tc.want == "" {
				var d *DisconnectError
				if !errors.As(err, &d) || d.Reason != ReasonParseError {
					t.Fatalf("error is %v, want a parse error", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			id := "-"
			if p.hasID {
				id = fmt.Sprint(p.id)
			}
			got := fmt.Sprintf("%c %s %s %d %s", p.kind, p.nsp, id, p.announced, p.data)
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

func TestPlaceholders(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		nums     string
	}{
		{"none", `{"a":1,"b":"_placeholder"}`, `[]`},
		{"one", `["x",{"_placeholder":true,"num":0}]`, `[0]`},
		{"keys the other way round", `{"num":1,"_placeholder":true}`, `[1]`},
		{"spaces", `{ "_placeholder" : true , "num" : 12 }`, `[12]`},
		{"several", `[{"_placeholder":true,"num":0},{"a":[{"_placeholder":true,"num":1}]}]`, `[0 1]`},
		{"not set", `{"_placeholder":false,"num":0}`, `[]`},
		{"in a string", `"{\"_placeholder\":true,\"num\":0}"`, `[]`},
		// What follows only an attacker sends; receivers would take each for a placeholder.
		{"no number", `{"_placeholder":true}`, `[-1]`},
		{"a fraction", `{"_placeholder":true,"num":0.5}`, `[-1]`},
		{"negative", `{"_placeholder":true,"num":-1}`, `[-1]`},
		{"behind another key", `{"a":1,"_placeholder":true,"num":0}`, `[-1]`},
		{"an escaped key", `{"\u005fplaceholder":true,"num":7}`, `[7]`},
		{"two numbers", `{"_placeholder":true,"num":0,"num":99}`, `[-1]`},
		{"around another", `{"_placeholder":true,"num":{"_placeholder":true,"num":0}}`, `[0 -1]`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			nums := []int{}
			eachPlaceholder([]byte(tc.in), func(start, end, num int) {
				if tc.in[start] != '{' || tc.in[end-1] != '}' {
					t.Errorf("placeholder is %q", tc.in[start:end])
				}
				nums = append(nums, num)
			})
			if got := fmt.Sprint(nums); got != tc.nums {
				t.Errorf("numbers %s, want %s", got, tc.nums)
			}
		})
	}
}

func TestAssembler(t *testing.T) {
	text := func(s string) Message { return Message{Data: []byte(s)} }
	bin := func(s string) Message { return Message{Binary: true, Data: []byte(s)} }
	for _, tc := range []struct {
		name string
		in   []Message
		want string // of the last message
	}{
		{"two attachments", []Message{text(`52-["e",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]`), bin("a"), bin("b")}, "complete"},
		{"still waiting", []Message{text(`52-["e"]`), bin("a")}, "waiting"},
		{"none announced", []Message{text(`50-["e"]`)}, "complete"},
		{"binary out of nowhere", []Message{bin("a")}, "parse error"},
		{"text in between", []Message{text(`51-["e"]`), text(`2["x"]`)}, "parse error"},
		{"placeholder out of range", []Message{text(`51-["e",{"_placeholder":true,"num":1}]`), bin("a")}, "parse error"},
		{"the same attachment twice", []Message{text(`51-["e",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":0}]]`), bin("a")}, "parse error"},
		{"placeholder without attachments", []Message{text(`50-["e",{"_placeholder":true,"num":0}]`)}, "parse error"},
		{"too many bytes", []Message{text(`52-["e"]`), bin("123456"), bin("123456")}, "payload too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := assembler{maxBytes: 10}
			var got string
			for _, m := range tc.in {
				_, complete, err := a.add(m)
				switch {
				case err != nil:
					got = ReasonOf(err, ReasonNone).String()
				case complete:
					got = "complete"
				default:
					got = "waiting"
				}
			}
			if got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}

// A server reads to its end what it refuses: the packets behind it are whole.
func TestAssemblerRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, in    string
		attachments int
		code        string // empty: the connection ends
	}{
		{"a placeholder of another kind", `51-["e",{"_placeholder":true,"num":0},{"_placeholder":1,"num":99}]`, 1, CodeBadArguments},
		{"eleven attachments", `511-["e"]`, 11, CodeTooManyAttachments},
		{"256 attachments", `5256-7["e"]`, 256, CodeTooManyAttachments},
		{"a placeholder without attachments", `50-["e",{"_placeholder":true,"num":0}]`, 0, CodeBadArguments},
		{"257 attachments", `5257-["e"]`, 0, ""},
		{"an ack with a placeholder of another kind", `61-1[{"_placeholder":1,"num":99}]`, 1, ""},
		{"an ack with eleven attachments", `611-1[]`, 11, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := assembler{maxBytes: 1000, strict: true}
			p, complete, err := a.add(Message{Data: []byte(tc.in)})
			if tc.code == "" {
				if ReasonOf(err, ReasonNone) != ReasonParseError {
					t.Fatalf("error is %v, want a parse error", err)
				}
				return
			}
			for i := range tc.attachments {
				if err != nil || complete {
					t.Fatalf("%d of %d attachments: complete %v, %v", i, tc.attachments, complete, err)
				}
				p, complete, err = a.add(Message{Binary: true, Data: []byte{byte(i)}})
			}
			if err != nil || !complete || p.fault == nil || p.fault.Code != tc.code {
				t.Fatalf("complete %v, fault %+v, %v", complete, p.fault, err)
			}
			if len(p.attachments) > 0 {
				t.Errorf("%d attachments of what is refused are kept", len(p.attachments))
			}
			if p, complete, err := a.add(Message{Data: []byte(`2["next"]`)}); err != nil || !complete || p.fault != nil {
				t.Errorf("the next packet: complete %v, fault %v, %v", complete, p.fault, err)
			}
		})
	}
}

// FuzzPacket: nothing panics, and what is accepted survives encoding and decoding.
func FuzzPacket(f *testing.F) {
	for _, s := range []string{`0`, `0/a,{"x":1}`, `2["e",1]`, `2/a,3["e"]`, `31[]`, `51-["e",{"_placeholder":true,"num":0}]`,
		`61-/a,4[{"num":0,"_placeholder":true}]`, `4{"message":"x"}`, `2["\ud800"]`, `2[["]"],{"}":"\\"}]`} {
		f.Add([]byte(s), []byte("att"))
	}
	f.Fuzz(func(t *testing.T, text, attachment []byte) {
		a := assembler{maxBytes: 1 << 20, strict: true}
		p, complete, err := a.add(Message{Data: bytes.Clone(text)})
		for i := 0; err == nil && !complete && i < maxAttachments; i++ {
			p, complete, err = a.add(Message{Binary: true, Data: attachment})
		}
		if err != nil || !complete || p.fault != nil {
			return
		}
		args := p.args()
		for _, v := range args {
			var dst any
			if err := v.Decode(&dst); err != nil {
				t.Fatalf("argument %s of an accepted packet: %v", v.JSON, err)
			}
			EnvelopeOf(v)
		}
		if p.kind != packetEvent && p.kind != packetBinaryEvent || len(args) == 0 {
			return
		}
		var name string
		if args[0].Decode(&name) != nil || CheckEvent(name) != nil {
			return
		}
		rest := make([]any, len(args)-1)
		for i, v := range args[1:] {
			rest[i] = v
		}
		frame, err := eventFrame(string(p.nsp), name, rest, p.id, p.hasID)
		if err != nil {
			t.Fatalf("accepted packet cannot be sent on: %v", err)
		}
		again, err := decodePacket(frame.Text())
		if err != nil {
			t.Fatalf("%q was sent on as %q: %v", text, frame.Text(), err)
		}
		again.attachments = frame.Attachments()
		if err := again.checkPlaceholders(); err != nil || again.announced != len(again.attachments) {
			t.Fatalf("%q was sent on as %q with %d attachments: %v", text, frame.Text(), len(again.attachments), err)
		}
		if got := again.args(); len(got) != len(args) {
			t.Fatalf("%d arguments became %d", len(args), len(got))
		}
	})
}
