package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// What a client library takes for a placeholder differs; what each does with these is in docs/CLIENTS.md.
var hostileBinary = []struct {
	name, in    string // the packet's JSON
	attachments int
	want        error // nil: safe; errAny: any error
}{
	{"one", `["e",{"_placeholder":true,"num":0}]`, 1, nil},
	{"the other way round, with spaces", ` [ "e" , { "num" : 0 , "_placeholder" : true } ] `, 1, nil},
	{"two, in another order", `["e",{"_placeholder":true,"num":1},[{"a":{"_placeholder":true,"num":0}}]]`, 2, nil},
	{"ten", `["e"]`, 10, nil},
	{"one that nothing names", `["e",{"num":5,"b":[]}]`, 1, nil},
	{"the key as a string", `["_placeholder",{"a":"_placeholder"}]`, 1, nil},
	{"numbers of any kind", `["e",-0.5e-300,1e308,[0,-1,12345678901234567890123],{"n":1E2}]`, 1, nil},
	{"equal keys in different objects", `["e",{"a":{"a":1},"b":{"a":2}},{"a":1}]`, 1, nil},
	{"256 levels", `["e",` + strings.Repeat("[", 255) + strings.Repeat("]", 255) + `]`, 1, nil},

	{"mark 1 and no such attachment", `["e",{"b":{"_placeholder":true,"num":0},"x":{"_placeholder":1,"num":99}}]`, 1, errMark},
	{"mark false", `["e",{"_placeholder":false,"num":0}]`, 1, errMark},
	{"mark null", `["e",{"_placeholder":null}]`, 1, errMark},
	{"mark a string", `["e",{"_placeholder":"true","num":0}]`, 1, errMark},
	{"mark an object", `["e",{"_placeholder":{"_placeholder":true,"num":0},"num":0}]`, 1, errMark},
	{"mark an array", `["e",{"_placeholder":[],"num":0}]`, 1, errMark},
	{"an escaped mark", `["e",{"\u005fplaceholder":1,"num":0}]`, 1, errMark},
	{"a first mark that is another", `["e",{"_placeholder":1,"_placeholder":true,"num":0}]`, 1, errMark},
	{"a last mark that is another", `["e",{"_placeholder":true,"num":0,"_placeholder":1}]`, 1, errMark},
	{"the mark twice", `["e",{"_placeholder":true,"_placeholder":true}]`, 1, errDuplicate},
	{"no num", `["e",{"_placeholder":true}]`, 1, errKeys},
	{"another key", `["e",{"_placeholder":true,"num":0,"a":1}]`, 1, errKeys},
	{"two nums", `["e",{"_placeholder":true,"num":0,"num":99}]`, 1, errDuplicate},
	{"an escaped second num", `["e",{"_placeholder":true,"num":0,"n\u0075m":99}]`, 1, errDuplicate},
	{"num of another attachment", `["e",{"_placeholder":true,"num":1}]`, 1, errAny},
	{"num negative", `["e",{"_placeholder":true,"num":-1}]`, 1, errAny},
	{"num a fraction", `["e",{"_placeholder":true,"num":0.0}]`, 1, errAny},
	{"num with an exponent", `["e",{"_placeholder":true,"num":0e0}]`, 1, errAny},
	{"num a string", `["e",{"_placeholder":true,"num":"0"}]`, 1, errAny},
	{"num true", `["e",{"_placeholder":true,"num":true}]`, 1, errAny},
	{"num an object", `["e",{"_placeholder":true,"num":{"_placeholder":true,"num":0}}]`, 1, errAny},
	{"num beyond any number", `["e",{"_placeholder":true,"num":99999999999999999999}]`, 1, errAny},
	{"one attachment twice", `["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}]`, 1, errAny},
	{"hasOwnProperty", `["e",{"b":{"_placeholder":true,"num":0},"x":{"hasOwnProperty":1}}]`, 1, errOwn},
	{"equal keys", `["e",{"a":1,"b":2,"a":3}]`, 1, errDuplicate},
	{"equal keys, one escaped", `["e",{"é":1,"\u00e9":3}]`, 1, errDuplicate},
	{"equal keys of many", `["e",{` + keyList(100) + `,"k50":1}]`, 1, errDuplicate},
	{"a number beyond a double", `["e",1e400]`, 1, errRange},
	{"a long number beyond a double", `["e",{"n":1` + strings.Repeat("0", 400) + `}]`, 1, errRange},
	{"eleven", `["e"]`, 11, errAny},
}

var errAny = errors.New("any error")

func keyList(n int) string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":[%d]`, i, i)
	}
	return strings.Join(keys, ",")
}

func TestCheckSafe(t *testing.T) {
	for _, tc := range hostileBinary {
		t.Run(tc.name, func(t *testing.T) {
			if _, _, ok := validJSON([]byte(tc.in)); !ok {
				t.Fatal("the case itself is not valid JSON")
			}
			err := checkSafe([]byte(tc.in), tc.attachments)
			switch {
			case tc.want == nil && err != nil:
				t.Fatalf("refused: %v", err)
			case tc.want == nil:
			case err == nil:
				t.Fatal("not refused")
			case tc.want != errAny && !strings.Contains(err.Error(), tc.want.Error()):
				t.Errorf("refused for %q, want %q", err, tc.want)
			}
			// An event without attachments has nothing that is taken for a placeholder.
			if err := checkSafe([]byte(tc.in), 0); err != nil {
				t.Errorf("refused without attachments: %v", err)
			}
		})
	}
}

// What pythonReads and javascriptReads say of a value: which attachments it names, as the libraries decide it.
func pythonReads(v any, attachments int) error {
	switch n := v.(type) {
	case []any:
		for _, x := range n {
			if err := pythonReads(x, attachments); err != nil {
				return err
			}
		}
	case map[string]any:
		num, has := n["num"]
		if has && truthy(n["_placeholder"]) {
			if f, ok := num.(float64); !ok || f != float64(int(f)) || int(f) >= attachments || int(f) < -attachments {
				return fmt.Errorf("python-socketio fails on %v", n)
			}
			return nil
		}
		for _, x := range n {
			if err := pythonReads(x, attachments); err != nil {
				return err
			}
		}
	}
	return nil
}

func truthy(v any) bool {
	switch x := v.(type) {
	case nil:
		return false
	case bool:
		return x
	case float64:
		return x != 0
	case string:
		return x != ""
	case []any:
		return len(x) > 0
	case map[string]any:
		return len(x) > 0
	}
	return true
}

func javascriptReads(v any, attachments int) error {
	switch n := v.(type) {
	case []any:
		for _, x := range n {
			if err := javascriptReads(x, attachments); err != nil {
				return err
			}
		}
	case map[string]any:
		if n["_placeholder"] == true {
			if f, ok := n["num"].(float64); !ok || f < 0 || f >= float64(attachments) {
				return fmt.Errorf("socket.io-parser fails on %v", n)
			}
			return nil
		}
		if _, ok := n["hasOwnProperty"]; ok {
			return fmt.Errorf("socket.io-parser 4.0 fails on %v", n)
		}
		for _, x := range n {
			if err := javascriptReads(x, attachments); err != nil {
				return err
			}
		}
	}
	return nil
}

// FuzzCheckSafe: what is let through has the same placeholders for each library, and none of them fails.
func FuzzCheckSafe(f *testing.F) {
	for _, tc := range hostileBinary {
		f.Add([]byte(tc.in), uint8(tc.attachments))
	}
	f.Fuzz(func(t *testing.T, data []byte, attachments uint8) {
		if _, _, ok := validJSON(data); !ok || checkSafe(data, int(attachments)) != nil || attachments == 0 {
			return
		}
		var tree any
		if err := json.Unmarshal(data, &tree); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		for _, reads := range []func(any, int) error{pythonReads, javascriptReads} {
			if err := reads(tree, int(attachments)); err != nil {
				t.Fatalf("%q with %d attachments: %v", data, attachments, err)
			}
		}
	})
}

// The arguments of one event share its attachments. Passed on, together or alone, each attachment is sent once.
func TestArgsPassedOn(t *testing.T) {
	four := [][]byte{{0}, {1}, {2}, {3}}
	p := packet{kind: packetBinaryEvent, nsp: rootNamespace, attachments: four, data: json.RawMessage(
		`["echo",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":2},{"_placeholder":true,"num":1}],"text",{"_placeholder":true,"num":3}]`)}
	p.commas = 4
	args := p.args()[1:]
	for _, tc := range []struct {
		name string
		args []any
		want string
		sent [][]byte
	}{
		{"all", []any{args[0], args[1], args[2], args[3]}, "54-" + string(p.data), four},
		{"the last alone", []any{args[3]}, `51-["echo",{"_placeholder":true,"num":0}]`, four[3:]},
		{"in another order", []any{args[3], args[0]}, `52-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`,
			[][]byte{{3}, {0}}},
		{"one twice", []any{args[0], args[0]}, `52-["echo",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`,
			[][]byte{{0}, {0}}},
		{"behind bytes of one's own", []any{[]byte{9}, args[1]},
			`53-["echo",{"_placeholder":true,"num":0},[{"_placeholder":true,"num":2},{"_placeholder":true,"num":1}]]`,
			[][]byte{{9}, {1}, {2}}},
		{"without any", []any{args[2]}, `2["echo","text"]`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := eventFrame("/", "echo", tc.args, 0, false)
			if err != nil {
				t.Fatal(err)
			}
			if string(f.Text()) != tc.want {
				t.Errorf("sent as %s\nwant %s", f.Text(), tc.want)
			}
			if got := f.Attachments(); !bytes.Equal(bytes.Join(got, nil), bytes.Join(tc.sent, nil)) || len(got) != len(tc.sent) {
				t.Errorf("attachments %v, want %v", got, tc.sent)
			}
		})
	}
}

// What no client can take is an error for the program that emits it.
func TestEmitRefusesWhatIsNotSafe(t *testing.T) {
	bin := []byte{1}
	eleven := make([]any, 11)
	for i := range eleven {
		eleven[i] = bin
	}
	text := Value{JSON: json.RawMessage(`{"_placeholder":true,"num":0}`)} // of an event without attachments
	for name, args := range map[string][]any{
		"eleven attachments":                eleven,
		"text that reads as a placeholder":  {text, bin},
		"a map that reads as one":           {map[string]any{"_placeholder": 1, "num": 7}, bin},
		"a value without its attachment":    {Value{JSON: json.RawMessage(`[{"_placeholder":true,"num":3}]`), Attachments: [][]byte{bin}}},
		"a key that socket.io-client 3 has": {map[string]any{"hasOwnProperty": bin}},
	} {
		if f, err := eventFrame("/", "e", args, 0, false); err == nil {
			t.Errorf("%s: sent as %s with %d attachments", name, f.Text(), len(f.Attachments()))
		}
	}
	if _, err := eventFrame("/", "e", []any{text, 1}, 0, false); err != nil {
		t.Errorf("text alone is refused: %v", err)
	}
}

func TestNumberName(t *testing.T) {
	for in, want := range map[string]string{"5": "5", "5.0": "5", "-0": "0", "0.1": "0.1", "1e3": "1000", "1e21": "1e+21",
		"1e-7": "1e-7", "-12.50": "-12.5", "1e400": "Infinity", "-1e400": "-Infinity", "9007199254740993": "9007199254740992"} {
		if got := numberName([]byte(in)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// A Python client loses an event with an integer that its interpreter does not convert.
func TestLongInteger(t *testing.T) {
	digits := strings.Repeat("7", maxDigits)
	for _, tc := range []struct {
		name, data string
		want       bool
	}{
		{"the longest", `[` + digits + `,-` + digits + `]`, false},
		{"one more", `{"a":[-` + digits + `7]}`, true},
		{"in a string", `"\"` + digits + `7"`, false},
		{"short numbers", "[" + strings.Repeat("12345,", 2000) + "0]", false},
		{"behind strings", `["` + digits + `",` + digits + `8]`, true},
	} {
		if got := longInteger([]byte(tc.data)); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
	}
}
