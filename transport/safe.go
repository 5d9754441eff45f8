package transport

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// What stock clients do with a packet that has attachments differs by library, and several of them end the connection,
// the process, or hear nothing more, on JSON that is valid. The rules here are those under which every library reads
// the same: docs/CLIENTS.md lists the libraries, their limits and where they stand in the source.

// SafeAttachments is how many attachments every client takes: the parsers of current socket.io-client releases refuse
// more. Socket.IO's own server has the same limit.
const SafeAttachments = 10

var (
	errMark      = errors.New(`a key "_placeholder" in an event with attachments has a value other than true`)
	errKeys      = errors.New(`a placeholder is not {"_placeholder":true,"num":N}`)
	errOwn       = errors.New(`a key "hasOwnProperty" in an event with attachments, on which socket.io-client 3 fails`)
	errDuplicate = errors.New("two equal keys in one object of an event with attachments")
	errRange     = errors.New("a number beyond the range of a double in an event with attachments")
)

// checkBinary reports why data, the valid JSON of a packet with so many attachments, is not the same to every library:
// in it a placeholder has the mark true and the index of an attachment, and nothing else; nothing else has the mark.
// No attachment is named twice, as no encoder does: a receiver that copies the bytes into their places would need many
// times what it was sent.
func checkBinary(data []byte, attachments int) error {
	c := binaryCheck{data: data, attachments: attachments}
	_, err := c.value(skipSpace(data, 0), 0)
	return err
}

// checkSafe reports why a packet of this data and so many attachments is not sent to, or not taken from, a client.
func checkSafe(data []byte, attachments int) error {
	switch {
	case attachments == 0:
		return nil // nothing in it is taken for a placeholder
	case attachments > SafeAttachments:
		return &AckError{Code: CodeTooManyAttachments,
			Message: fmt.Sprintf("%d attachments, and clients take %d", attachments, SafeAttachments)}
	}
	if err := checkBinary(data, attachments); err != nil {
		return &AckError{Code: CodeBadArguments, Message: err.Error()}
	}
	return nil
}

type binaryCheck struct {
	data        []byte
	attachments int
	named       [maxAttachments / 64]uint64 // bit n: attachment n has its placeholder
	keys        [][]byte                    // of the objects around, the innermost last
}

// value checks the value at data[i] and returns the index after it and the white space behind it.
func (c *binaryCheck) value(i, depth int) (int, error) {
	switch {
	case i >= len(c.data):
		return i, errJSON // cannot be: data is valid
	case depth > maxDepth:
		return i, errDepth
	}
	switch b := c.data[i]; {
	case b == '"':
		i = stringEnd(c.data, i)
	case b == '{':
		return c.object(i, depth+1)
	case b == '[':
		i = skipSpace(c.data, i+1)
		for i < len(c.data) && c.data[i] != ']' {
			var err error
			if i, err = c.value(i, depth+1); err != nil {
				return i, err
			}
			if i < len(c.data) && c.data[i] == ',' {
				i = skipSpace(c.data, i+1)
			}
		}
		i++
	default:
		end := valueEnd(c.data, i)
		if end == i {
			return i, errJSON
		}
		if b != 't' && b != 'f' && b != 'n' && !inRange(c.data[i:end]) {
			return i, errRange
		}
		i = end
	}
	return skipSpace(c.data, i), nil
}

func (c *binaryCheck) object(i, depth int) (int, error) {
	first := len(c.keys)
	marked, num := false, -1
	i = skipSpace(c.data, i+1)
	for i < len(c.data) && c.data[i] != '}' {
		end := stringEnd(c.data, i)
		key := c.data[i:end]
		if bytes.IndexByte(key, '\\') >= 0 { // a receiver's decoder undoes escapes before it looks
			key = []byte(`"` + keyText(key) + `"`)
		}
		c.keys = append(c.keys, key)
		i = skipSpace(c.data, skipSpace(c.data, end)+1) // the colon
		from := i
		var err error
		if i, err = c.value(i, depth); err != nil {
			return i, err
		}
		switch string(key[1 : len(key)-1]) {
		case placeholderMark:
			if !bytes.HasPrefix(c.data[from:], []byte("true")) {
				return i, errMark
			}
			marked = true
		case "num":
			num = plainIndex(c.data[from:valueEnd(c.data, from)])
		case "hasOwnProperty":
			return i, errOwn
		}
		if i < len(c.data) && c.data[i] == ',' {
			i = skipSpace(c.data, i+1)
		}
	}
	keys := c.keys[first:]
	c.keys = c.keys[:first]
	if duplicate(keys) {
		return i, errDuplicate
	}
	if marked {
		if len(keys) != 2 {
			return i, errKeys
		}
		if err := c.name(num); err != nil {
			return i, err
		}
	}
	return skipSpace(c.data, i+1), nil
}

// name notes that an attachment has its placeholder.
func (c *binaryCheck) name(num int) error {
	if num < 0 || num >= c.attachments || num >= maxAttachments {
		return fmt.Errorf("a placeholder's num is not the index of one of %d attachments", c.attachments)
	}
	if c.named[num/64]>>(num%64)&1 != 0 {
		return fmt.Errorf("two placeholders for attachment %d", num)
	}
	c.named[num/64] |= 1 << (num % 64)
	return nil
}

// duplicate reports whether two keys are equal.
func duplicate(keys [][]byte) bool {
	if len(keys) <= 16 {
		for i, k := range keys {
			for _, other := range keys[:i] {
				if bytes.Equal(k, other) {
					return true
				}
			}
		}
		return false
	}
	seen := make(map[string]bool, len(keys))
	for _, k := range keys {
		if seen[string(k)] {
			return true
		}
		seen[string(k)] = true
	}
	return false
}

// inRange reports whether a number is within the range of a double.
func inRange(number []byte) bool {
	if len(number) < 300 && bytes.IndexAny(number, "eE") < 0 {
		return true
	}
	_, err := strconv.ParseFloat(string(number), 64)
	return err == nil
}

// maxDigits is how many digits of an integer Python converts (sys.int_info.default_max_str_digits): its clients lose an
// event with a longer one.
const maxDigits = 4300

// longInteger reports whether data, valid JSON, has a number with more than maxDigits digits in a row.
func longInteger(data []byte) bool {
	if len(data) <= maxDigits {
		return false
	}
	digits := 0
	for i := 0; i < len(data); {
		switch b := data[i]; {
		case b == '"':
			i, digits = stringEnd(data, i), 0
		case b >= '0' && b <= '9':
			if digits++; digits > maxDigits {
				return true
			}
			i++
		default:
			digits = 0
			i++
		}
	}
	return false
}
