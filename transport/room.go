package transport

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
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

// NewSid returns an id for a client that others are shown: 128 random bits and 32 that follow from them, as 27
// URL-safe characters. So every node knows the name of a personal room when it sees one, whichever node the client is
// connected to; a room that somebody has named so by chance is as good as impossible.
func NewSid() string {
	var b [16 + 4]byte
	_, _ = rand.Read(b[:16]) // never fails, by its documentation
	binary.BigEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b[:16]))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// sidEncoding takes one spelling of each value only.
var sidEncoding = base64.RawURLEncoding.Strict()

// isSid tells whether the name is one that [NewSid] gives, alone or behind a namespace (Socket.IO protocol, revision 4).
func isSid(name string) bool {
	const length = 27
	if at := len(name) - length - 1; at >= 1 && name[0] == '/' && name[at] == '#' {
		name = name[at+1:]
	}
	if len(name) != length {
		return false
	}
	var b [16 + 4]byte
	if n, err := sidEncoding.Decode(b[:], []byte(name)); err != nil || n != len(b) {
		return false
	}
	return binary.BigEndian.Uint32(b[16:]) == crc32.ChecksumIEEE(b[:16])
}

// NewID returns 128 random bits as 22 URL-safe characters: an Engine.IO session id, a boot id, or
// a node's. Nobody guesses one.
func NewID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return base64.RawURLEncoding.EncodeToString(b[:])
}
