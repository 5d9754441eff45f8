package wire

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func TestDecodeBase64(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"padded", "AAECAw==", "\x00\x01\x02\x03"},
		{"not padded", "AAECAw", "\x00\x01\x02\x03"},
		{"half padded", "AAECAw=", "\x00\x01\x02\x03"},
		{"nothing", "", ""},
		{"only white space", " \r\n", ""},
		{"a line feed behind the padding", "AAECAw==\n", "\x00\x01\x02\x03"},
		{"a line end of Windows", "AAEC\r\nAw==\r\n", "\x00\x01\x02\x03"},
		{"white space between the padding", "AAECAw= =\t", "\x00\x01\x02\x03"},
		{"both alphabets", "-_+/", "\xfb\xff\xbf"},
		{"another character", "AA*C", "error"},
		{"padding in the middle", "AA==AA==", "error"},
		{"a lone digit", "AAECA", "error"},
		{"the separator of packets", "AAEC\x1e", "error"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := DecodeBase64([]byte(tc.in))
			if (err != nil) != (tc.want == "error") || err == nil && string(got) != tc.want {
				t.Errorf("got %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

// FuzzDecodeBase64: nothing panics, and what was encoded is decoded, with a line feed anywhere.
func FuzzDecodeBase64(f *testing.F) {
	f.Add([]byte("\x00\x01\xff"), uint16(2))
	f.Add([]byte("AA=\n=-_"), uint16(0))
	f.Fuzz(func(t *testing.T, data []byte, at uint16) {
		_, _ = DecodeBase64(bytes.Clone(data))
		for _, e := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			s := e.EncodeToString(data)
			i := int(at) % (len(s) + 1)
			if got, err := DecodeBase64([]byte(s[:i] + "\n" + s[i:])); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%q became %q, %v", data, got, err)
			}
		}
	})
}
