package transport

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest in what a client sends. Python's decoder,
// which many receivers use, gives up at about a thousand.
const maxDepth = 256

var (
	errJSON  = errors.New("not valid JSON")
	errUTF8  = errors.New("not valid UTF-8")
	errDepth = errors.New("JSON nested deeper than " + strconv.Itoa(maxDepth))
)

// checkJSON tells whether data is one JSON value that may be passed on as it is: valid for
// every receiver, and no deeper than maxDepth. A broken value would make a JavaScript client
// drop its connection, so it must not be relayed.
func checkJSON(data []byte) error {
	if _, _, ok := validJSON(data); ok {
		return nil
	}
	return whyNotJSON(data)
}

// whyNotJSON names what is wrong with data.
func whyNotJSON(data []byte) error {
	if !utf8.Valid(data) {
		return errUTF8
	}
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '"':
			i = stringEnd(data, i) - 1
		case '[', '{':
			if depth++; depth > maxDepth {
				return errDepth
			}
		case ']', '}':
			depth--
		}
	}
	return errJSON
}

// stringEnd returns the index after the string that begins at data[i], or len(data).
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns the index after the value that begins at data[i]. data is valid JSON.
func valueEnd(data []byte, i int) int {
	depth := 0
	for i < len(data) {
		switch data[i] {
		case '"':
			i = stringEnd(data, i)
			if depth == 0 {
				return i
			}
			continue
		case '[', '{':
			depth++
		case ']', '}':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}

// splitArray appends to into the elements of data, a valid JSON array. The elements are parts
// of data. ok is false if data is no array.
func splitArray(data []byte, into []json.RawMessage) (elems []json.RawMessage, ok bool) {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '[' {
		return into, false
	}
	i = skipSpace(data, i+1)
	for i < len(data) && data[i] != ']' {
		end := valueEnd(data, i)
		into = append(into, json.RawMessage(data[i:end:end]))
		i = skipSpace(data, end)
		if i < len(data) && data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
	return into, true
}

// splitPair is splitArray for an array known to have two elements: the second, which may be long, is
// what stands between the comma and the bracket.
func splitPair(data []byte, into []json.RawMessage) []json.RawMessage {
	i := skipSpace(data, skipSpace(data, 0)+1)
	end := valueEnd(data, i)
	into = append(into, json.RawMessage(data[i:end:end]))
	i = skipSpace(data, skipSpace(data, end)+1)
	end = spaceBefore(data, spaceBefore(data, len(data))-1)
	return append(into, json.RawMessage(data[i:end:end]))
}

// spaceBefore returns the index after the last byte before data[end] that is no white space.
func spaceBefore(data []byte, end int) int {
	for end > 0 && skipSpace(data[:end], end-1) == end {
		end--
	}
	return end
}

// eachField calls f with the raw key (with its quotes) and value of each field of the valid
// JSON object that begins at data[0], until f returns false.
func eachField(data []byte, f func(key, value []byte) bool) {
	i := skipSpace(data, 0)
	if i >= len(data) || data[i] != '{' {
		return
	}
	i = skipSpace(data, i+1)
	for i < len(data) && data[i] != '}' {
		keyEnd := stringEnd(data, i)
		key := data[i:keyEnd]
		i = skipSpace(data, keyEnd) + 1 // the colon
		i = skipSpace(data, i)
		end := valueEnd(data, i)
		if !f(key, data[i:end]) {
			return
		}
		i = skipSpace(data, end)
		if i < len(data) && data[i] == ',' {
			i = skipSpace(data, i+1)
		}
	}
}

// placeholderMark is the key of the object that stands for an attachment in binary packets,
// {"_placeholder":true,"num":N} (Socket.IO protocol, "Packet encoding, binary").
const placeholderMark = "_placeholder"

// eachPlaceholder calls f for every placeholder in data, valid JSON no deeper than maxDepth,
// with its place and number, in one pass. The number is -1 if the object is none that a
// Socket.IO encoder makes: receivers take any object with the mark for a placeholder, so such
// a one has to be found, to be refused.
func eachPlaceholder(data []byte, f func(start, end, num int)) {
	// A key can be spelled with escapes; a receiver's decoder undoes them before it looks.
	if !bytes.Contains(data, []byte(placeholderMark)) && bytes.IndexByte(data, '\\') < 0 {
		return
	}
	type level struct {
		start, num, keys int
		mark, plain      bool
	}
	var stack [maxDepth + 2]level
	depth := 0
	for i := 0; i < len(data); i++ {
		switch data[i] {
		case '[', '{':
			if depth++; depth >= len(stack) {
				return
			}
			stack[depth-1].plain = false
			stack[depth] = level{start: i, num: -1, plain: true}
		case ']', '}':
			if top := stack[depth]; top.mark {
				if top.keys != 2 || !top.plain {
					top.num = -1
				}
				f(top.start, i+1, top.num)
			}
			depth--
		case '"':
			end := stringEnd(data, i)
			colon := skipSpace(data, end)
			if colon < len(data) && data[colon] == ':' {
				top := &stack[depth]
				top.keys++
				value := data[skipSpace(data, colon+1):]
				switch keyText(data[i:end]) {
				case placeholderMark:
					top.mark = bytes.HasPrefix(value, []byte("true"))
				case "num":
					top.num = plainIndex(value[:valueEnd(value, 0)])
				}
			}
			i = end - 1
		}
	}
}

// keyText undoes a key's quotes and escapes.
func keyText(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}

// plainIndex reads an index written in digits alone; anything else is -1.
func plainIndex(b []byte) int {
	n, end, err := parseDigits(b, 0)
	if err != nil || end == 0 || end != len(b) {
		return -1
	}
	return int(n)
}

// rewritePlaceholders returns data with every placeholder replaced by what f appends for it.
func rewritePlaceholders(data []byte, f func(dst []byte, num int) []byte) []byte {
	var out []byte
	last := 0
	eachPlaceholder(data, func(start, end, num int) {
		if start < last {
			return
		}
		out = append(out, data[last:start]...)
		out = f(out, num)
		last = end
	})
	if last == 0 {
		return data
	}
	return append(out, data[last:]...)
}

func appendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, `{"_placeholder":true,"num":`...)
	dst = strconv.AppendInt(dst, int64(num), 10)
	return append(dst, '}')
}

// appendQuoted appends s as a JSON string.
func appendQuoted(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= 0x7f {
			q, err := marshal(s)
			if err != nil { // cannot be: a string always marshals
				return append(dst, `""`...)
			}
			return append(dst, q...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// marshal is json.Marshal without the escaping of <, > and & for HTML, which no receiver needs.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
