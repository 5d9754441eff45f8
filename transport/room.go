package transport

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"unicode/utf8"
)

// maxNameLen bounds the names of rooms and namespaces, in bytes.
const maxNameLen = 256

// CheckRoom tells whether name can be a room: 1 to 256 bytes of UTF-8. The personal rooms have
// names of this kind too.
func CheckRoom(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("room: the name is empty; use 1 to %d bytes", maxNameLen)
	case len(name) > maxNameLen:
		return fmt.Errorf("room: the name has %d bytes; use 1 to %d", len(name), maxNameLen)
	case !utf8.ValidString(name):
		return fmt.Errorf("room: the name %q is not UTF-8", name)
	}
	return nil
}

// NewID returns 128 random bits as 22 URL-safe characters: a sid, an Engine.IO session id, or a
// boot id. Nobody guesses one.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return base64.RawURLEncoding.EncodeToString(b[:])
}
