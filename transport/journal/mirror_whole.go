package journal

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/minio/highwayhash"
)

// How a record stands in a file of NATS's (server/filestore.go): its length, whose highest bit says that it has headers, its number and
// time, the length of its subject; then subject, headers behind their length, message, and a checksum.
const (
	recordHead    = 22
	recordSum     = 8
	recordHeaders = 1 << 31
	recordMost    = 32 << 20
)

// isWhole tells whether each record of a file is what was written. At one that is not, a server cuts the file off, and what stands
// behind it is lost. One that is in a form not known here is not whole either.
func isWhole(path, stream string, index int) bool {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, index))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	r := bufio.NewReaderSize(f, 256<<10)
	var head [recordHead]byte
	var record, sum []byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return errors.Is(err, io.EOF)
		}
		size, subject := binary.LittleEndian.Uint32(head[:]), int(binary.LittleEndian.Uint16(head[20:]))
		skip := 0 // the length of headers is in no checksum
		if size&recordHeaders != 0 {
			size, skip = size&^recordHeaders, 4
		}
		left := int(size) - recordHead
		if size > recordMost || left < subject+skip+recordSum {
			return false
		}
		if cap(record) < left {
			record = make([]byte, left)
		}
		record = record[:left]
		if _, err := io.ReadFull(r, record); err != nil {
			return false
		}
		h.Reset()
		_, _ = h.Write(head[4:20]) // a hash takes anything
		_, _ = h.Write(record[:subject])
		_, _ = h.Write(record[subject+skip : left-recordSum])
		if sum = h.Sum(sum[:0]); !bytes.Equal(sum, record[left-recordSum:]) {
			return false
		}
	}
}
