// Package printable escapes text of other parties for terminals, logs and tables. A terminal obeys control characters,
// those of C1 (U+0080 to U+009F) too, bidirectional ones show text in another order, and a newline begins a line that
// nobody has written. It knows no format of telemetry.
package printable

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Text returns s with everything that is not printable escaped as in a Go string: control, C1, bidirectional and
// invisible characters, line separators, and bytes that are not UTF-8.
func Text(s string) string {
	if isPrintable(s) {
		return s
	}
	b := make([]byte, 0, len(s)+16)
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == '"' || r == '\\' { // these need an escape between quotation marks only
			b = append(b, s[:n]...)
		} else {
			b = appendEscaped(b, s[:n])
		}
		s = s[n:]
	}
	return string(b)
}

// Name returns s for a table or a line of at most so many columns: as it is, or between quotation marks and escaped if
// it is empty or has characters that are not printable, spaces, quotation marks or backslashes. Thus no name can look
// like several words of a line. A name that is too long is cut, and ends in "…".
func Name(s string, columns int) string {
	shown := s[:prefix(s, columns)]
	if s != "" && isPrintable(shown) && !strings.ContainsAny(shown, ` "\…`) {
		if len(shown) == len(s) {
			return s
		}
		return shown[:prefix(shown, columns-1)] + "…"
	}
	b := []byte{'"'}
	for used := 2; len(s) > 0; {
		_, n := utf8.DecodeRuneInString(s)
		was := len(b)
		b = appendEscaped(b, s[:n])
		room := columns
		if n < len(s) {
			room-- // for "…"
		}
		if used += utf8.RuneCount(b[was:]); used > room {
			return string(b[:was]) + `"…`
		}
		s = s[n:]
	}
	return string(append(b, '"'))
}

// Cut returns s, or its beginning and "…" if it has more than so many characters.
func Cut(s string, most int) string {
	if n := prefix(s, most); n < len(s) {
		return s[:prefix(s, most-1)] + "…"
	}
	return s
}

// JSON returns the same JSON text with everything beyond ASCII that is not printable as \u escapes, as encoding/json
// writes control characters: it is valid, and reads as the same value. It returns b if there is nothing to escape.
func JSON(b []byte) []byte {
	for i := 0; i < len(b); {
		if b[i] < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRune(b[i:])
		if !allowed(r, n) {
			return escapeJSON(b, i)
		}
		i += n
	}
	return b
}

// escapeJSON is JSON for b, whose first i bytes need no escape.
func escapeJSON(b []byte, i int) []byte {
	out := append(make([]byte, 0, len(b)+32), b[:i]...)
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		switch {
		case b[i] < 0x7f || allowed(r, n):
			out = append(out, b[i:i+n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = appendUnit(appendUnit(out, high), low)
		default: // of invalid bytes it is U+FFFD, as which encoding/json reads them
			out = appendUnit(out, r)
		}
		i += n
	}
	return out
}

func appendUnit(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

// Cell returns text for a field of CSV: as a JSON string if it begins with a quotation mark or is not printable. If
// spreadsheet is true, then also what a spreadsheet would take for a formula: text that begins with =, +, - or @, and
// what would begin with one in a spreadsheet that separates fields by semicolons.
func Cell(text string, spreadsheet bool) string {
	if !strings.HasPrefix(text, `"`) && isPrintable(text) && (!spreadsheet || !isFormula(text)) {
		return text
	}
	b, _ := json.Marshal(text)
	return JSONCell(b, spreadsheet)
}

// JSONCell is JSON text, without line breaks, for a field of CSV. In a spreadsheet it is no formula: it begins with a
// bracket, a quotation mark, a letter, or is a number.
func JSONCell(text []byte, spreadsheet bool) string {
	s := string(JSON(text))
	if spreadsheet { // JSON has them in strings only
		s = strings.ReplaceAll(s, ";", `\u003b`)
	}
	return s
}

func isFormula(text string) bool {
	if strings.Contains(text, ";") {
		return true
	}
	text = strings.TrimLeft(text, " ") // some remove them
	r, _ := utf8.DecodeRuneInString(text)
	return text != "" && strings.ContainsRune("=+-@＝＋－＠", r)
}

func isPrintable(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f {
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if !allowed(r, n) {
			return false
		}
		i += n
	}
	return true
}

// allowed reports whether a rune that was decoded from n bytes is printable.
func allowed(r rune, n int) bool {
	return strconv.IsPrint(r) && (r != utf8.RuneError || n > 1)
}

// appendEscaped appends one character as it stands in a Go string.
func appendEscaped(b []byte, char string) []byte {
	was := len(b)
	b = strconv.AppendQuote(b, char)
	return append(b[:was], b[was+1:len(b)-1]...)
}

// prefix returns the length in bytes of the first n characters.
func prefix(s string, n int) int {
	for i := range s {
		if n <= 0 {
			return i
		}
		n--
	}
	return len(s)
}
