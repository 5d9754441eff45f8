// Package yamldoc reads YAML files that people write, strictly, and says at which line one is wrong.
// It does not know what the files are about.
package yamldoc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Error says where a file is wrong, and why.
type Error struct {
	Doc  string // what the file is: "dictionary"
	Line int    // from 1; 0 where it is not known
	Err  error
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return e.Doc + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s, line %d: %v", e.Doc, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Doc is what the file is, as people call it; it stands in every error.
type Doc string

// Wrong is an error at the node's line.
func (d Doc) Wrong(n *yaml.Node, format string, args ...any) error {
	return &Error{string(d), n.Line, fmt.Errorf(format, args...)}
}

// Parse returns the file's root.
func (d Doc) Parse(data []byte) (*yaml.Node, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, &Error{string(d), 0, err} // the text names the line
	}
	if len(doc.Content) == 0 {
		return nil, &Error{string(d), 0, errors.New("the file is empty")}
	}
	return doc.Content[0], nil
}

// Mapping returns the fields of a YAML mapping; with names, only those are allowed.
func (d Doc) Mapping(n *yaml.Node, what string, allowed ...string) (map[string]*yaml.Node, error) {
	if n.Kind != yaml.MappingNode {
		return nil, d.Wrong(n, "%s must be a mapping", what)
	}
	m := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if len(allowed) > 0 && !slices.Contains(allowed, key.Value) {
			return nil, d.Wrong(key, "%s has no field %q; use %s", what, key.Value, strings.Join(allowed, ", "))
		}
		if m[key.Value] != nil {
			return nil, d.Wrong(key, "%s: %s is given twice", what, key.Value)
		}
		m[key.Value] = n.Content[i+1]
	}
	return m, nil
}

// Decode reads a mapping, of which only the allowed fields may be given, into dst.
func (d Doc) Decode(n *yaml.Node, dst any, what string, allowed ...string) (map[string]*yaml.Node, error) {
	m, err := d.Mapping(n, what, allowed...)
	if err != nil {
		return nil, err
	}
	if err := n.Decode(dst); err != nil {
		return nil, &Error{string(d), n.Line, errors.New(strings.ReplaceAll(err.Error(), "\n", " "))}
	}
	return m, nil
}

// Span reads a time with its unit, at least least; "" is 0.
func Span(s string, least time.Duration) (time.Duration, error) {
	if s == "" {
		s = "0s"
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < least {
		return 0, fmt.Errorf("%q: use a time with a unit, such as 500ms or 2s", s)
	}
	return v, nil
}
