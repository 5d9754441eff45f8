package spool

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"tbmsock/internal/smalldisk"
)

// A full disk is an error of Append's; nothing that was kept is lost, a spool can be opened on it, and it goes on when
// there is room.
func TestFullDisk(t *testing.T) {
	disk := smalldisk.Mount(t, "256k")
	opts := Options{Dir: filepath.Join(disk, "spool"), MaxBytes: 1 << 20, SyncInterval: time.Hour}
	var mu sync.Mutex
	var told []string
	opts.Report = func(err error, what string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(err, ": ", what))
	}
	s, _ := openSpool(t, opts)
	put(t, s, 1, 100)
	ballast := filepath.Join(disk, "ballast")
	fill := func() {
		t.Helper()
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		for err == nil {
			_, err = f.Write(make([]byte, 4096))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	fill()
	kept, err := 100, error(nil)
	for err == nil {
		var n int
		n, err = s.Append(body(kept+1), body(kept+2), body(kept+3))
		kept += n
	}
	if !errors.Is(err, syscall.ENOSPC) || kept == 100 {
		t.Fatalf("%d kept, then %v", kept, err)
	}
	for range 20 {
		if n, err := s.Append(make([]byte, 20_000)); n != 0 || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d, %v", n, err)
		}
	}
	ack(t, s, take(t, s, 1, 50)...)
	eventually(t, "the position that cannot be saved is told", func() bool { mu.Lock(); defer mu.Unlock(); return len(told) == 1 })
	shut(t, s)
	s, found := openSpool(t, opts)
	if found.Records != uint64(kept) || found.Torn != 0 {
		t.Fatalf("found %+v, %d kept", found, kept)
	}
	ack(t, s, take(t, s, 1, kept)...)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	put(t, s, kept+1, kept+100)
	ack(t, s, take(t, s, kept+1, kept+100)...)
	shut(t, s)
	if _, found := openSpool(t, opts); found.Records != 0 {
		t.Errorf("found %+v", found)
	}
}

func TestReadOnlyDisk(t *testing.T) {
	disk := smalldisk.Mount(t, "256k")
	opts := Options{Dir: filepath.Join(disk, "spool")}
	s, _ := openSpool(t, opts)
	put(t, s, 1, 1)
	shut(t, s)
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if s, _, err := Open(opts); !errors.Is(err, syscall.EROFS) {
		if err == nil {
			shut(t, s)
		}
		t.Errorf("Open says %v", err)
	}
}
