package wire

import (
	"bytes"
	"encoding/base64"
)

// DecodeBase64 decodes b in place. It takes what Node's decoder takes and clients send: white space (Java and Android
// end with a line feed, and break lines), the URL-safe alphabet, and no padding. Other characters are an error, where
// Node leaves them out.
func DecodeBase64(b []byte) ([]byte, error) {
	if bytes.ContainsAny(b, " \t\r\n\v\f-_") {
		n := 0
		for _, c := range b {
			switch c {
			case ' ', '\t', '\r', '\n', '\v', '\f':
				continue
			case '-':
				c = '+'
			case '_':
				c = '/'
			}
			b[n] = c
			n++
		}
		b = b[:n]
	}
	b = bytes.TrimRight(b, "=")
	n, err := base64.RawStdEncoding.Decode(b, b)
	return b[:n], err
}
