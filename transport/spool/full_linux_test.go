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
	shut(t, s)
	mu.Lock()
	if len(told) > 0 { // the position needs no space
		t.Errorf("told %q", told)
	}
	mu.Unlock()
	s, found := openSpool(t, opts)
	if found.Records != uint64(kept)-50 || found.Torn != 0 {
		t.Fatalf("found %+v, %d kept", found, kept)
	}
	ack(t, s, take(t, s, 51, kept)...)
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

// fill appends records from the n-th on until the disk is full, and returns the last one that was kept.
func fill(t *testing.T, s *Spool, n int) int {
	t.Helper()
	for ; ; n++ {
		k, err := s.Append(body(n))
		switch {
		case err == nil && k == 1:
		case errors.Is(err, syscall.ENOSPC):
			return n - 1
		default:
			t.Fatalf("record %d: %d, %v", n, k, err)
		}
	}
}

// A spool that had filled its disk once never removed anything again: the one segment that fits on a small disk was the
// active one, and the acknowledged position could not be saved. A restart repeated that.
func TestFullDiskIsEmptiedByAcks(t *testing.T) {
	for _, sync := range []time.Duration{0, time.Hour} {
		for _, restart := range []string{"none", "while full", "when acknowledged", "crash"} {
			t.Run(fmt.Sprintf("sync %v, restart %s", sync, restart), func(t *testing.T) {
				opts := Options{Dir: filepath.Join(smalldisk.Mount(t, "64k"), "spool"), SyncInterval: sync}
				s, _ := openSpool(t, opts)
				next, first := 1, 0
				for range 4 { // a tmpfs may find one more page for a file that is full of acknowledged records
					last := fill(t, s, next)
					if first == 0 {
						first = last
					}
					if restart == "while full" {
						shut(t, s)
						var found Recovered
						if s, found = openSpool(t, opts); found.Records != uint64(last-next+1) {
							t.Fatalf("found %+v, %d kept", found, last-next+1)
						}
					}
					taken := take(t, s, next, last)
					ack(t, s, taken[:len(taken)-1]...)
					// What a crash leaves now has all that is not acknowledged.
					crashed, _ := openSpool(t, Options{Dir: copyOf(t, opts.Dir)})
					r := ""
					for want := string(body(last)); r != want; {
						_, b, err := crashed.Next(within(t))
						if err != nil {
							t.Fatal(err)
						}
						r = string(b)
					}
					shut(t, crashed)
					ack(t, s, taken[len(taken)-1])
					if restart == "none" { // also where nothing more is appended
						eventually(t, "the acknowledged records are removed", func() bool {
							return s.Stats().Bytes == 0 && len(segmentFiles(t, opts.Dir)) == 0
						})
					}
					if restart == "when acknowledged" || restart == "crash" {
						before := opts.Dir
						if restart == "crash" { // between the removal and what follows it
							eventually(t, "the acknowledged records are removed", func() bool { return len(segmentFiles(t, opts.Dir)) == 0 })
							opts.Dir = filepath.Join(smalldisk.Mount(t, "64k"), "spool")
							if err := os.CopyFS(opts.Dir, os.DirFS(before)); err != nil {
								t.Fatal(err)
							}
						}
						shut(t, s)
						var found Recovered
						if s, found = openSpool(t, opts); found.Records != 0 {
							t.Fatalf("found %+v", found)
						}
					}
					next = last + 1
				}
				if first < 500 || next < 2*first {
					t.Errorf("the disk has taken %d records, then %d more", first, next-1-first)
				}
				put(t, s, next, next+50)
				ack(t, s, take(t, s, next, next+50)...)
				none(t, s)
			})
		}
	}
}

// The disk is filled by somebody else: before the spool is opened for the first time, and while it is in use.
func TestDiskFullOfOthers(t *testing.T) {
	disk := smalldisk.Mount(t, "128k")
	ballast := filepath.Join(disk, "ballast")
	fillUp := func() {
		t.Helper()
		f, err := os.OpenFile(ballast, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		for err == nil {
			_, err = f.Write(make([]byte, 512))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
	}
	room := func() {
		t.Helper()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(disk, "spool"), 0o700); err != nil {
		t.Fatal(err)
	}
	opts := Options{Dir: filepath.Join(disk, "spool")}
	fillUp()
	s, found := openSpool(t, opts)
	if found.AckLost || found.Records != 0 {
		t.Errorf("found %+v", found)
	}
	if n, err := s.Append(body(1)); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%d, %v", n, err)
	}
	room()
	put(t, s, 1, 500)
	ack(t, s, take(t, s, 1, 300)...)
	fillUp()
	last := fill(t, s, 501)
	ack(t, s, take(t, s, 301, last)...)
	eventually(t, "the acknowledged records are removed", func() bool { return s.Stats().Bytes == 0 })
	fillUp() // what became free
	if n, err := s.Append(body(last + 1)); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("%d, %v", n, err)
	}
	shut(t, s)
	if s, found = openSpool(t, opts); found.Records != 0 || found.AckLost {
		t.Errorf("found %+v", found)
	}
	room()
	put(t, s, last+1, last+100)
	take(t, s, last+1, last+100)
}
