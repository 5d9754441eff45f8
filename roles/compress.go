package roles

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"tbmsock/transport"
)

// compressValue is the size from which messages are compressed: off, on, or so many bytes.
type compressValue struct{ from int64 }

const (
	leastCompress = 64
	mostCompress  = 1e9
)

func (v *compressValue) String() string {
	if v.from == 0 {
		return "off"
	}
	return formatBytes(v.from)
}

func (v *compressValue) Set(s string) error {
	switch s {
	case "off":
		v.from = 0
		return nil
	case "on":
		v.from = transport.DefaultCompress
		return nil
	}
	size := bytesValue{min: leastCompress, max: mostCompress}
	if size.Set(s) != nil {
		return fmt.Errorf("use off, on (from %s), or the size from which to compress, %s to %s",
			formatBytes(transport.DefaultCompress), formatBytes(leastCompress), formatBytes(mostCompress))
	}
	v.from = size.n
	return nil
}

// compressFlag is the same for both ends of a connection: it is compressed if both have it.
func compressFlag() *cli.GenericFlag {
	return valueFlag("compress", "compress messages (permessage-deflate) for who can read that: off, on (from 1KiB, as Socket.IO has it), or the size from which", &compressValue{})
}

func compressOf(c *cli.Context) int { return int(c.Generic("compress").(*compressValue).from) }
