package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A record is its length (4 bytes), a checksum over all but itself (4), its position (8), and its bytes;
// numbers are little-endian.
const headerSize = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(header, data []byte) uint32 {
	sum := crc32.Update(0, castagnoli, header[:4])
	sum = crc32.Update(sum, castagnoli, header[8:headerSize])
	return crc32.Update(sum, castagnoli, data)
}

func appendRecord(dst []byte, position uint64, data []byte) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, headerSize)...)
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(data)))
	binary.LittleEndian.PutUint64(dst[at+8:], position)
	binary.LittleEndian.PutUint32(dst[at+4:], checksum(dst[at:], data))
	return append(dst, data...)
}

// scanner reads the records of a segment up to end, which may be moved on between two reads. It holds no more
// than a window of the file.
type scanner struct {
	file io.ReaderAt
	off  int64  // where the next record should begin
	end  int64  // of what may be read
	next uint64 // the next record's position

	window []byte
	at     int64 // of the window in the file
}

const windowSize = 64 << 10

// bytes returns n bytes of the file from off, which lie before end. They are good until the next call.
func (s *scanner) bytes(off int64, n int) ([]byte, error) {
	if off < s.at || off+int64(n) > s.at+int64(len(s.window)) {
		size := int(min(int64(max(n, windowSize)), s.end-off))
		if cap(s.window) < size || cap(s.window) > windowSize && size <= windowSize {
			s.window = make([]byte, size)
		}
		s.window, s.at = s.window[:size], off
		if got, err := s.file.ReadAt(s.window, off); got < size {
			s.window = s.window[:0]
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return s.window[off-s.at:][:n], nil
}

// read returns the next whole record. Where the record that should be there is spoilt, it looks for the one after
// it: positions are then missing. io.EOF: there is none up to end. The data is good until the next read.
func (s *scanner) read() (position uint64, data []byte, err error) {
	for off := s.off; s.end-off >= headerSize; off++ {
		header, err := s.bytes(off, headerSize)
		if err != nil {
			return 0, nil, err
		}
		size := binary.LittleEndian.Uint32(header)
		position := binary.LittleEndian.Uint64(header[8:])
		// Nearly all places where no record begins are told by its position: where bytes are skipped, no more
		// records can be missing than would fit into them.
		if position < s.next || position-s.next > uint64(off-s.off)/headerSize {
			continue
		}
		if size > MaxRecord || int64(size) > s.end-off-headerSize {
			continue
		}
		all, err := s.bytes(off, headerSize+int(size))
		if err != nil {
			return 0, nil, err
		}
		if binary.LittleEndian.Uint32(all[4:]) != checksum(all, all[headerSize:]) {
			continue
		}
		s.off, s.next = off+int64(len(all)), position+1
		return position, all[headerSize:], nil
	}
	return 0, nil, io.EOF
}
