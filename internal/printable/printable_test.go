package printable

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// hostile are texts that a terminal or a reader would take for something else.
var hostile = []string{
	"", "tbm-1", "Ölwanne 数 7", "two words", `"quoted"`, `back\slash`, "cut…",
	"\x1b[2J\x1b[31mred", "\x1b]0;title\a", "new\nline", "carriage\rreturn", "tab\tulator", "nul\x00", "delete\x7f",
	"C1 \u009b2J \u0085next", "raw C1 \x9b2J", "\xff\xfe", "bidi \u202egnp.exe\u202c \u2066x\u2069 \u200f\u061c",
	"line\u2028and paragraph\u2029", "zero\u200bwidth\ufeff", "soft\u00adhyphen", "tag \U000e0041", "no-break\u00a0space",
	"=1+1", "+1", "-1", "@x", " =1", "\t=1", "＝1", "x;=1", strings.Repeat("long", 1000), "\ufffd",
}

// unsafe reports what may not be printed, independently of the code under test.
func unsafe(s string) bool {
	return !utf8.ValidString(s) || strings.IndexFunc(s, func(r rune) bool {
		return r < 0x20 || r >= 0x7f && r < 0xa0 || unicode.In(r, unicode.Bidi_Control, unicode.Cf, unicode.Zl, unicode.Zp)
	}) >= 0
}

func FuzzText(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := Text(s)
		if unsafe(out) {
			t.Errorf("%q became %q", s, out)
		}
		if again := Text(out); again != out {
			t.Errorf("%q is escaped again to %q", out, again)
		}
	})
}

func FuzzName(f *testing.F) {
	for i, s := range hostile {
		f.Add(s, uint8(4+i))
	}
	f.Fuzz(func(t *testing.T, s string, columns uint8) {
		most := max(int(columns), 4)
		out := Name(s, most)
		if unsafe(out) || utf8.RuneCountInString(out) > most {
			t.Errorf("%q in %d columns became %q", s, most, out)
		}
		if !strings.HasPrefix(out, `"`) && (out == "" || strings.ContainsAny(out, ` "\`)) {
			t.Errorf("%q became %q, which is not one word", s, out)
		}
		if strings.HasSuffix(out, "…") {
			return
		}
		back := out
		if strings.HasPrefix(out, `"`) {
			var err error
			if back, err = strconv.Unquote(out); err != nil {
				t.Fatalf("%q became %q: %v", s, out, err)
			}
		}
		if back != s {
			t.Errorf("%q became %q, which reads as %q", s, out, back)
		}
	})
}

func FuzzJSON(f *testing.F) {
	for _, s := range hostile {
		b, _ := json.Marshal(map[string]string{s: s})
		f.Add(b)
		f.Add([]byte(`["` + s + `"]`))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out := JSON(in)
		if rest := strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(string(out)); json.Valid(in) && unsafe(rest) {
			t.Errorf("%q became %q", in, out)
		}
		var a, b any
		if json.Unmarshal(in, &a) != nil {
			return
		}
		if err := json.Unmarshal(out, &b); err != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("%q became %q, which is another value: %v", in, out, err)
		}
	})
}

func FuzzCell(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, s string, spreadsheet bool) {
		out := Cell(s, spreadsheet)
		if unsafe(out) {
			t.Errorf("%q became %q", s, out)
		}
		if spreadsheet {
			for part := range strings.SplitSeq(out, ";") {
				if part = strings.TrimSpace(part); part != "" && strings.ContainsAny(part[:1], "=+-@") {
					t.Errorf("%q became %q, which is a formula", s, out)
				}
			}
		}
		back := out
		if strings.HasPrefix(out, `"`) && json.Unmarshal([]byte(out), &back) != nil {
			t.Fatalf("%q became %q", s, out)
		}
		if utf8.ValidString(s) && back != s {
			t.Errorf("%q became %q, which reads as %q", s, out, back)
		}
	})
}

func TestName(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		columns  int
		want     string
	}{
		{"a usual name", "tbm-1", 64, "tbm-1"},
		{"letters of other scripts", "Bohrkopf-Ü", 64, "Bohrkopf-Ü"},
		{"as long as the column", "12345678", 8, "12345678"},
		{"longer than the column", "123456789", 8, "1234567…"},
		{"nothing", "", 8, `""`},
		{"words, which could be those of an alarm", "x ALARM", 64, `"x ALARM"`},
		{"escape sequence and newline", "a\x1b[2J\nb", 64, `"a\x1b[2J\nb"`},
		{"C1 and bidirectional", "\u009b\u202e", 64, `"\u009b\u202e"`},
		{"a raw byte of C1", "\x9b", 64, `"\x9b"`},
		{"long and quoted", "a b c d e f", 8, `"a b c"…`},
		{"no half escape", "\n\n\n\n", 8, `"\n\n"…`},
		{"a mark of its own", "cut…", 64, `"cut…"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Name(tc.in, tc.columns); got != tc.want {
				t.Errorf("got %s want %s", got, tc.want)
			}
		})
	}
}

// A text of usual characters costs nothing.
func TestUsualTextAllocatesNothing(t *testing.T) {
	name, line := "tbm-1", []byte(`{"event":"log_telemetry","name":"Vortriebskraft °C"}`)
	if n := testing.AllocsPerRun(100, func() { _, _, _ = Name(name, 64), JSON(line), Cell(name, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
