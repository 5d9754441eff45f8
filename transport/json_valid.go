package transport

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// validJSON tells whether data is one JSON value, in valid UTF-8 and no deeper than maxDepth. It is
// what [checkJSON] asks first: every event passes here, so it goes over the bytes once. commas is the
// number of commas between the elements of the outermost array, levels how deep arrays and objects nest.
func validJSON(data []byte) (commas, levels int, ok bool) {
	var objects [maxDepth/64 + 1]uint64 // bit d: what is open at depth d is an object
	depth := 0
	i := skipSpace(data, 0)
value:
	if i >= len(data) {
		return 0, 0, false
	}
	switch c := data[i]; {
	case c == '"':
		if i = validString(data, i+1); i < 0 {
			return 0, 0, false
		}
	case c == '{':
		if depth++; depth > maxDepth {
			return 0, 0, false
		}
		objects[depth/64] |= 1 << (depth % 64)
		levels = max(levels, depth)
		if i = skipSpace(data, i+1); i >= len(data) || data[i] != '}' {
			goto key
		}
		i++
		depth--
	case c == '[':
		if depth++; depth > maxDepth {
			return 0, 0, false
		}
		objects[depth/64] &^= 1 << (depth % 64)
		levels = max(levels, depth)
		if i = skipSpace(data, i+1); i >= len(data) || data[i] != ']' {
			goto value
		}
		i++
		depth--
	case c == '-' || c >= '0' && c <= '9':
		if i = validNumber(data, i); i < 0 {
			return 0, 0, false
		}
	case c == 't' || c == 'n':
		if len(data)-i < 4 || string(data[i:i+4]) != "true" && string(data[i:i+4]) != "null" {
			return 0, 0, false
		}
		i += 4
	case c == 'f':
		if len(data)-i < 5 || string(data[i:i+5]) != "false" {
			return 0, 0, false
		}
		i += 5
	default:
		return 0, 0, false
	}
after:
	if i < len(data) && data[i] <= ' ' {
		i = skipSpace(data, i)
	}
	if depth == 0 {
		return commas, levels, i == len(data)
	}
	if i >= len(data) {
		return 0, 0, false
	}
	if objects[depth/64]>>(depth%64)&1 == 0 {
		switch data[i] {
		case ',':
			if depth == 1 {
				commas++
			}
			i = skipSpace(data, i+1)
			goto value
		case ']':
			i++
			depth--
			goto after
		}
		return 0, 0, false
	}
	switch data[i] {
	case ',':
		i = skipSpace(data, i+1)
	case '}':
		i++
		depth--
		goto after
	default:
		return 0, 0, false
	}
key:
	if i >= len(data) || data[i] != '"' {
		return 0, 0, false
	}
	if i = validString(data, i+1); i < 0 {
		return 0, 0, false
	}
	if i = skipSpace(data, i); i >= len(data) || data[i] != ':' {
		return 0, 0, false
	}
	i = skipSpace(data, i+1)
	goto value
}

// Eight bytes at a time: a high bit for each byte that is not plain text in a string.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

func notPlain(w uint64) uint64 {
	quote := w ^ ones*'"'
	escape := w ^ ones*'\\'
	// A byte below n borrows from its high bit when n is taken from it, one that is zero when one is.
	// A borrow can mark a byte above the first that is marked, never one below it.
	return ((w - ones*0x20) | (quote - ones) | (escape - ones) | w) & highs
}

// validString returns the index after the string whose text begins at data[i], -1 if it is none.
func validString(data []byte, i int) int {
	for i < len(data) {
		for len(data)-i >= 8 {
			if m := notPlain(binary.LittleEndian.Uint64(data[i:])); m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(data) {
			return -1
		}
		switch c := data[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			if i++; i >= len(data) {
				return -1
			}
			switch data[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
				i++
			case 'u':
				if len(data)-i < 5 {
					return -1
				}
				for _, h := range data[i+1 : i+5] {
					if (h < '0' || h > '9') && (h|0x20 < 'a' || h|0x20 > 'f') {
						return -1
					}
				}
				i += 5
			default:
				return -1
			}
		case c < 0x20:
			return -1
		case c < utf8.RuneSelf:
			i++
		default:
			_, size := utf8.DecodeRune(data[i:])
			if size == 1 {
				return -1
			}
			i += size
		}
	}
	return -1
}

// validNumber returns the index after the number that begins at data[i], -1 if it is none.
func validNumber(data []byte, i int) int {
	digits := func() bool {
		from := i
		for i < len(data) && data[i]-'0' <= 9 {
			i++
		}
		return i > from
	}
	if data[i] == '-' {
		i++
	}
	if i < len(data) && data[i] == '0' {
		i++
	} else if !digits() {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		if i++; !digits() {
			return -1
		}
	}
	if i < len(data) && data[i]|0x20 == 'e' {
		if i++; i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if !digits() {
			return -1
		}
	}
	return i
}
