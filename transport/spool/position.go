package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

const ackName = "ack"

// markSlot is the size of a slot. Each is a sector of its own, so that a torn write spoils one of them at most.
const markSlot = 512

// mark is the file of the position below which everything is acknowledged. It is written in place, into two slots in
// turn, so that on most file systems a full disk does not keep it from being written.
type mark struct {
	dir  string
	file *os.File // nil: there is none yet
	slot int64    // that is written next
}

// load reads the position, 0 if there is none yet. ok is false if there is a file, but no position can be read from it.
func (m *mark) load() (position uint64, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(m.dir, ackName))
	if os.IsNotExist(err) {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, err
	}
	for slot := range int64(2) {
		from := min(slot*markSlot, int64(len(b)))
		p, whole := parsePosition(b[from:min(from+markSlot, int64(len(b)))])
		if whole && (!ok || p >= position) {
			position, ok, m.slot = p, true, 1-slot
		}
	}
	return position, ok, nil
}

func parsePosition(slot []byte) (position uint64, ok bool) {
	text := bytes.TrimRight(slot, "\x00")
	if _, err := fmt.Sscanf(string(text), "acknowledged below %d ", &position); err != nil {
		return 0, false
	}
	return position, bytes.Equal(positionText(position), text) && position>>63 == 0
}

func positionText(position uint64) []byte {
	text := fmt.Appendf(nil, "acknowledged below %d", position)
	return fmt.Appendf(text, " %08x\n", crc32.Checksum(text, castagnoli))
}

// save writes the position. Without sync a power cut may leave an older one, or none that can be read: records are then
// returned again, and none is lost.
func (m *mark) save(position uint64, sync bool) error {
	if m.file == nil {
		if err := m.create(position); err != nil {
			return err
		}
	} else {
		slot := make([]byte, markSlot)
		copy(slot, positionText(position))
		if _, err := m.file.WriteAt(slot, m.slot*markSlot); err != nil {
			return err
		}
	}
	m.slot = 1 - m.slot
	if sync {
		return m.file.Sync()
	}
	return nil
}

// create opens the file, or makes it with both of its slots: later writes then need no more space.
func (m *mark) create(position uint64) error {
	path := filepath.Join(m.dir, ackName)
	_, err := os.Lstat(path)
	fresh := os.IsNotExist(err)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	both := make([]byte, 2*markSlot)
	if !fresh { // the slot that is not written keeps its position
		if _, err := f.ReadAt(both, 0); err != nil && !errors.Is(err, io.EOF) {
			_ = f.Close()
			return err
		}
		clear(both[m.slot*markSlot:][:markSlot])
	}
	copy(both[m.slot*markSlot:], positionText(position))
	if _, err := f.WriteAt(both, 0); err != nil {
		_ = f.Close()
		if fresh {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	}
	m.file = f
	return nil
}

func (m *mark) close() error {
	if m.file == nil {
		return nil
	}
	return m.file.Close()
}
