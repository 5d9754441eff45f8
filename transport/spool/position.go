package spool

import (
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

const ackName = "ack"

// loadPosition reads the position below which everything is acknowledged; 0 if there is none yet. ok is false if
// there is a file that says nothing.
func loadPosition(dir string) (position uint64, ok bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, ackName))
	if os.IsNotExist(err) {
		return 0, true, nil
	}
	if err != nil {
		return 0, false, err
	}
	if _, err := fmt.Sscanf(string(b), "acknowledged below %d ", &position); err != nil || string(positionText(position)) != string(b) || position>>63 != 0 {
		return 0, false, nil
	}
	return position, true, nil
}

func positionText(position uint64) []byte {
	text := fmt.Appendf(nil, "acknowledged below %d", position)
	return fmt.Appendf(text, " %08x\n", crc32.Checksum(text, castagnoli))
}

// savePosition replaces the file. Without sync a power cut may leave an old position, or one that cannot be read:
// records then come again, and none is lost.
func savePosition(dir string, position uint64, sync bool) (err error) {
	path := filepath.Join(dir, ackName)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(positionText(position))
	if err == nil && sync {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		_ = os.Remove(path + ".new")
		return err
	}
	return os.Rename(path+".new", path)
}
