package transport

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Value is one argument of an event as it stands on the wire: JSON in which a placeholder
// object stands for each binary part, and those parts. Passed to an Emit it goes out byte for
// byte as it came in. Nobody may change its bytes.
type Value struct {
	JSON        json.RawMessage
	Attachments [][]byte
}

// Bytes returns the attachment if the value is nothing but one.
func (v Value) Bytes() ([]byte, bool) {
	if len(v.Attachments) == 0 {
		return nil, false
	}
	var b []byte
	found := false
	eachPlaceholder(v.JSON, func(start, end, num int) {
		if start == 0 && end == len(v.JSON) && num >= 0 && num < len(v.Attachments) {
			b, found = v.Attachments[num], true
		}
	})
	return b, found
}

// Decode stores the value into dst as encoding/json does. Binary parts become []byte where dst
// has such a field, or is an *any or *[]byte.
func (v Value) Decode(dst any) error {
	if b, ok := v.Bytes(); ok {
		switch d := dst.(type) {
		case *[]byte:
			*d = b
			return nil
		case *any:
			*d = b
			return nil
		}
	}
	if d, ok := dst.(*any); ok && len(v.Attachments) > 0 {
		var tree any
		if err := json.Unmarshal(v.JSON, &tree); err != nil {
			return err
		}
		*d = v.fill(tree)
		return nil
	}
	data := []byte(v.JSON)
	if len(v.Attachments) > 0 {
		// encoding/json reads a []byte from base64, so each binary part becomes that.
		data = rewritePlaceholders(data, func(out []byte, num int) []byte {
			if num < 0 || num >= len(v.Attachments) {
				return append(out, "null"...)
			}
			out = append(out, '"')
			out = base64.StdEncoding.AppendEncode(out, v.Attachments[num])
			return append(out, '"')
		})
	}
	return json.Unmarshal(data, dst)
}

// fill replaces the placeholders in a decoded tree.
func (v Value) fill(node any) any {
	switch n := node.(type) {
	case []any:
		for i := range n {
			n[i] = v.fill(n[i])
		}
	case map[string]any:
		if n["_placeholder"] == true {
			if f, ok := n["num"].(float64); ok && f >= 0 && int(f) < len(v.Attachments) {
				return v.Attachments[int(f)]
			}
		}
		for k := range n {
			n[k] = v.fill(n[k])
		}
	}
	return node
}

// MarshalJSON gives the value with its binary parts as base64 strings.
func (v Value) MarshalJSON() ([]byte, error) {
	if len(v.JSON) == 0 {
		return []byte("null"), nil
	}
	return rewritePlaceholders(v.JSON, func(out []byte, num int) []byte {
		if num < 0 || num >= len(v.Attachments) {
			return append(out, "null"...)
		}
		out = append(out, '"')
		out = base64.StdEncoding.AppendEncode(out, v.Attachments[num])
		return append(out, '"')
	}), nil
}

// appendArgs appends the JSON array elements for args, each preceded by a comma unless first is
// true, and collects their binary parts.
func appendArgs(dst []byte, attachments [][]byte, first bool, args []any) ([]byte, [][]byte, error) {
	for i, arg := range args {
		if !first || i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, attachments, err = appendArg(dst, attachments, arg); err != nil {
			return nil, nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return dst, attachments, nil
}

func appendArg(dst []byte, attachments [][]byte, arg any) ([]byte, [][]byte, error) {
	switch a := arg.(type) {
	case Value:
		if len(a.JSON) == 0 {
			return append(dst, "null"...), attachments, nil
		}
		if len(a.Attachments) == 0 {
			return append(dst, a.JSON...), attachments, nil
		}
		return a.appendTo(dst, attachments)
	case []byte:
		dst = appendPlaceholder(dst, len(attachments))
		return dst, append(attachments, a), nil
	case json.RawMessage:
		if err := checkJSON(a); err != nil {
			return nil, nil, err
		}
		return append(dst, a...), attachments, nil
	case string:
		return appendQuoted(dst, a), attachments, nil
	case map[string]any, []any:
		a, attachments = lift(a, attachments, 0)
		data, err := marshal(a)
		if err != nil {
			return nil, nil, err
		}
		return append(dst, data...), attachments, nil
	default:
		data, err := marshal(a)
		if err != nil {
			return nil, nil, err
		}
		return append(dst, data...), attachments, nil
	}
}

// appendTo appends the value's JSON, and those of its attachments that it has placeholders for: the arguments of one
// event share the attachments of its packet. Where it does not begin with other numbers its bytes stay as they are.
func (v Value) appendTo(dst []byte, attachments [][]byte) ([]byte, [][]byte, error) {
	var place [maxAttachments]uint16 // 1 + the new number of each attachment that is named; 0: none
	missing := false
	eachPlaceholder(v.JSON, func(_, _, num int) {
		if num < 0 || num >= len(v.Attachments) || num >= maxAttachments {
			missing = true
			return
		}
		place[num] = 1
	})
	if missing {
		return nil, nil, errMissing
	}
	same := true
	for num, a := range v.Attachments[:min(len(v.Attachments), maxAttachments)] {
		if place[num] == 0 {
			continue
		}
		place[num] = uint16(1 + len(attachments))
		same = same && len(attachments) == num
		attachments = append(attachments, a)
	}
	if same {
		return append(dst, v.JSON...), attachments, nil
	}
	return append(dst, rewritePlaceholders(v.JSON, func(out []byte, num int) []byte {
		return appendPlaceholder(out, int(place[num])-1)
	})...), attachments, nil
}

var errMissing = errors.New("a placeholder for an attachment that is not there")

// sameSlice reports whether a and b are the same attachments.
func sameSlice(a, b [][]byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }

// lift returns node with each []byte in it replaced by a placeholder. It copies what it changes.
func lift(node any, attachments [][]byte, depth int) (any, [][]byte) {
	if depth > maxDepth {
		return node, attachments // a cycle; marshal will refuse it
	}
	switch n := node.(type) {
	case []byte:
		return json.RawMessage(appendPlaceholder(nil, len(attachments))), append(attachments, n)
	case []any:
		out := make([]any, len(n))
		for i := range n {
			out[i], attachments = lift(n[i], attachments, depth+1)
		}
		return out, attachments
	case map[string]any:
		out := make(map[string]any, len(n))
		for k := range n {
			out[k], attachments = lift(n[k], attachments, depth+1)
		}
		return out, attachments
	}
	return node, attachments
}

// Args are the arguments of an event or of an acknowledgement.
type Args []Value

// Decode stores the arguments into dst, in order. Fewer arguments than dst are an error; more
// are left alone.
func (a Args) Decode(dst ...any) error {
	if len(a) < len(dst) {
		return fmt.Errorf("%d arguments, %d wanted", len(a), len(dst))
	}
	for i, d := range dst {
		if err := a[i].Decode(d); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return nil
}

var errEventName = errors.New("an event needs a name that is not one of the protocol's own (connect, connect_error, disconnect, disconnecting)")

// CheckEvent reports whether an event can have the name: any but those that Socket.IO keeps for itself.
func CheckEvent(name string) error {
	switch strings.TrimSpace(name) {
	case "", "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return fmt.Errorf("event %q: %w", name, errEventName)
	}
	return nil
}
