package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/minio/highwayhash"
	"github.com/nats-io/nats-server/v2/server"
)

// A server that opens a journal writes its index anew and mends what is damaged. So one that is only to be read is
// served from a mirror: a directory within the journal's own, in which the files that no server writes to any more are
// links, the others copies.
const mirrorPrefix = "reading-"

// makeMirror needs the lock of the directory.
func makeMirror(dir, stream string) (string, error) {
	mirror, err := os.MkdirTemp(dir, mirrorPrefix)
	if err != nil {
		return "", err
	}
	from := filepath.Join(dir, server.JetStreamStoreDir)
	err = filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		to := filepath.Join(mirror, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(to, 0o700)
		case !d.Type().IsRegular():
			return nil
		case isSealed(path) && os.Link(path, to) == nil:
			return nil
		}
		return copyFile(to, path)
	})
	if err == nil {
		err = liftAge(mirror, stream)
	}
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(mirror))
	}
	return mirror, nil
}

// removeMirrors removes those of readers that were killed. It needs the lock of the directory.
func removeMirrors(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, mirrorPrefix+"*"))
	for _, m := range left {
		err = errors.Join(err, os.RemoveAll(m))
	}
	return err
}

// isSealed tells whether a file holds messages, and no server writes to it any more: it is not the last one that does, and nothing in it
// has to be mended.
func isSealed(path string) bool {
	var n int
	if _, err := fmt.Sscanf(filepath.Base(path), "%d.blk", &n); err != nil || filepath.Ext(path) != ".blk" {
		return false
	}
	messages := filepath.Dir(path)
	if _, err := os.Stat(filepath.Join(messages, fmt.Sprintf("%d.blk", n+1))); err != nil {
		return false
	}
	return isWhole(path, filepath.Base(filepath.Dir(messages)), n)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// metaFiles are the two files of a stream that hold its settings and their checksum, of which a stream without settings has none.
func metaFiles(dir, stream string) (meta, sum string, err error) {
	found, err := filepath.Glob(filepath.Join(dir, server.JetStreamStoreDir, "*", "streams", stream, server.JetStreamMetaFile))
	if err != nil || len(found) != 1 {
		return "", "", errors.Join(ErrNoJournal, err)
	}
	return found[0], filepath.Join(filepath.Dir(found[0]), server.JetStreamMetaFileSum), nil
}

// readMeta returns a stream's settings, as JSON. They are damaged if they are not those that were summed up.
func readMeta(meta, sum, stream string) ([]byte, error) {
	data, err := os.ReadFile(meta)
	if err != nil {
		return nil, err
	}
	want, err := os.ReadFile(sum)
	if err != nil {
		return nil, err
	}
	if got, err := metaSum(data, stream); err != nil || got != string(want) {
		return nil, errors.Join(fmt.Errorf("%s: %w", meta, errMetaDamaged), err)
	}
	return data, nil
}

var errMetaDamaged = errors.New("the settings of the journal's stream are damaged; a server that opens it makes them again")

// metaSum is the checksum that NATS keeps of a stream's settings.
func metaSum(data []byte, stream string) (string, error) {
	key := sha256.Sum256([]byte(stream))
	h, err := highwayhash.New64(key[:])
	if err != nil {
		return "", err
	}
	_, _ = h.Write(data) // a hash takes anything
	return hex.EncodeToString(h.Sum(nil)), nil
}

// liftAge takes the limit of age, which journals of earlier versions have, out of a stream's settings.
func liftAge(dir, stream string) error {
	meta, sum, err := metaFiles(dir, stream)
	if err != nil {
		return err
	}
	data, err := readMeta(meta, sum, stream)
	if err != nil {
		return err
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(data, &settings); err != nil {
		return fmt.Errorf("%s: %w", meta, err)
	}
	if string(settings["max_age"]) == "0" {
		return nil
	}
	settings["max_age"] = json.RawMessage("0")
	if data, err = json.Marshal(settings); err != nil {
		return err
	}
	checksum, err := metaSum(data, stream)
	if err != nil {
		return err
	}
	if err := os.WriteFile(meta, data, 0o600); err != nil {
		return err
	}
	return os.WriteFile(sum, []byte(checksum), 0o600)
}

// liftAge lets the server give up nothing by the wall clock as it starts, before its settings can be changed.
func (m *embedded) liftAge() error {
	if err := liftAge(m.root, m.opts.Stream); !errors.Is(err, ErrNoJournal) {
		return err
	}
	return nil
}
