package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/highwayhash"

	"tbmsock/transport"
)

// fakeTime is a wall clock that stands until it is set, and a steady one that the test drives.
type fakeTime struct {
	mu      sync.Mutex
	wall    time.Time
	elapsed time.Duration
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func newFakeTime(wall time.Time) *fakeTime { return &fakeTime{wall: wall} }

func (f *fakeTime) set(wall time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wall = wall
}

// pass lets time pass.
func (f *fakeTime) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wall, f.elapsed = f.wall.Add(d), f.elapsed+d
}

func (f *fakeTime) options(opts Options) Options {
	opts.Now = func() time.Time { f.mu.Lock(); defer f.mu.Unlock(); return f.wall }
	opts.elapsed = func() time.Duration { f.mu.Lock(); defer f.mu.Unlock(); return f.elapsed }
	opts.poll = time.Millisecond
	return opts
}

func stamps(t *testing.T, j *Journal) []time.Time {
	t.Helper()
	var all []time.Time
	for _, e := range readAll(t, j, 1, ^uint64(0)) {
		all = append(all, e.Stored)
	}
	return all
}

// A server whose clock was ahead for a moment stamped all later entries with that moment, and no time found them.
func TestClockAheadForAMoment(t *testing.T) {
	for _, jump := range []time.Duration{500 * time.Millisecond, 10 * time.Minute, 365 * 24 * time.Hour} {
		t.Run(jump.String(), func(t *testing.T) {
			clock := newFakeTime(noon)
			var mu sync.Mutex
			var told []string
			opts := clock.options(Options{Dir: t.TempDir()})
			opts.OnWarning = func(s string) { mu.Lock(); defer mu.Unlock(); told = append(told, s) }
			j := openJournal(t, opts)
			add := func(from, to uint64) {
				for _, e := range series("tbm-1", "b", from, to) {
					appendOK(t, j, e)
					clock.pass(100 * time.Millisecond)
				}
			}
			add(1, 60)
			clock.set(noon.Add(6*time.Second + jump))
			add(61, 70)
			clock.set(noon.Add(7 * time.Second))
			add(71, 140)
			for _, state := range []string{"as it was written", "opened again", "read"} {
				switch state {
				case "opened again":
					closeJournal(t, j)
					j = openJournal(t, opts)
				case "read":
					closeJournal(t, j)
					r, err := OpenReader(within(t), Options{Dir: opts.Dir})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { closeJournal(t, r) })
					j = r
				}
				got := stamps(t, j)
				last := noon.Add(13900 * time.Millisecond)
				if jump <= held { // the stamps wait until the clock has caught up
					if !slices.IsSortedFunc(got, time.Time.Compare) || !got[139].Equal(last) {
						t.Errorf("%s: the stamps are %v", state, got)
					}
				} else if !got[69].After(noon.Add(jump)) || !got[70].Equal(noon.Add(7*time.Second)) || !got[139].Equal(last) {
					t.Errorf("%s: entry 70 is stamped %v, 71 %v, 140 %v", state, got[69], got[70], got[139])
				}
				for _, tc := range []struct {
					at    time.Duration // since noon
					since uint64        // first entry since then
					until uint64        // last entry before then
				}{
					{-time.Second, 1, 0}, {time.Second, 11, 10}, {14 * time.Second, 141, 140}, {12 * time.Second, 121, 120},
				} {
					if jump > held && tc.at > 6*time.Second {
						tc.since = 61 // what is stamped later comes before it
					}
					since, err := j.Locate(within(t), transport.JournalStart{Time: noon.Add(tc.at)})
					if err != nil || since != tc.since {
						t.Errorf("%s: since %v: offset %d, %v, want %d", state, tc.at, since, err, tc.since)
					}
					until, err := j.LastBefore(within(t), noon.Add(tc.at))
					if err != nil || until != tc.until {
						t.Errorf("%s: until %v: offset %d, %v, want %d", state, tc.at, until, err, tc.until)
					}
				}
			}
			mu.Lock()
			defer mu.Unlock()
			want := 0
			if jump > held {
				want = 1
			}
			if n := strings.Count(strings.Join(told, "\n"), "the clock went back by"); n != want {
				t.Errorf("told %d times: %q", n, told)
			}
		})
	}
}

// Whatever the clock did, a search by time gives the first entry that is stamped so, or an earlier one, and the last.
func TestSearchesWithAnyClock(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			clock := newFakeTime(noon)
			opts := clock.options(Options{Dir: t.TempDir(), SyncInterval: time.Minute, OnWarning: func(string) {}})
			j := openJournal(t, opts)
			steps := 3 + 800*int(seed%2) // every other one is a step back, and some have no entries
			seq := uint64(0)
			for range steps {
				for range r.IntN(6) {
					seq++
					appendOK(t, j, entry("tbm-1", "b", seq))
					clock.pass(time.Duration(r.IntN(3000)) * time.Millisecond)
				}
				clock.set(noon.Add(time.Duration(r.IntN(100_000)) * time.Second))
				if r.IntN(steps) == 0 {
					closeJournal(t, j)
					j = openJournal(t, opts)
				}
			}
			got := stamps(t, j)
			j.mu.Lock()
			eras, mixed := len(j.table.eras), j.table.eras[0].mixed
			j.mu.Unlock()
			if eras > maxEras || mixed != (seed%2 == 1) {
				t.Errorf("%d eras, mixed %v", eras, mixed)
			}
			for range 300 {
				at := noon.Add(time.Duration(r.IntN(110_000)-5000) * time.Second)
				since, until := uint64(len(got)+1), uint64(0)
				for i, s := range got {
					if !s.Before(at) {
						since = min(since, uint64(i+1))
					} else {
						until = uint64(i + 1)
					}
				}
				gotSince, err := j.Locate(within(t), transport.JournalStart{Time: at})
				if err != nil || gotSince > since || !mixed && gotSince != since {
					t.Fatalf("since %v: offset %d, %v, want %d", at, gotSince, err, since)
				}
				gotUntil, err := j.LastBefore(within(t), at)
				if err != nil || gotUntil < until || !mixed && gotUntil != until {
					t.Fatalf("until %v: offset %d, %v, want %d", at, gotUntil, err, until)
				}
			}
		})
	}
}

// A server that boots ten days behind, and whose clock is then set right, gave up at its next start what it had
// acknowledged seconds before.
func TestClockDaysBehindAtBoot(t *testing.T) {
	const days = 24 * time.Hour
	for _, when := range []string{"while it runs", "while it is down", "killed"} {
		t.Run(when, func(t *testing.T) {
			clock := newFakeTime(noon)
			opts := clock.options(Options{Dir: t.TempDir(), RetainAge: 3 * days})
			opts.OnWarning = func(string) {}
			j, err := Open(within(t), opts)
			if err != nil {
				t.Fatal(err)
			}
			appendOK(t, j, series("tbm-1", "before", 1, 10)...)
			closeJournal(t, j)
			clock.set(noon.Add(-10 * days)) // the battery of its clock is empty
			if j, err = Open(within(t), opts); err != nil {
				t.Fatal(err)
			}
			for _, e := range series("tbm-1", "behind", 1, 10) {
				appendOK(t, j, e)
				clock.pass(time.Second)
			}
			switch when {
			case "while it runs":
				clock.set(noon.Add(time.Minute))
				appendOK(t, j, series("tbm-1", "behind", 11, 20)...)
				closeJournal(t, j)
			case "while it is down":
				closeJournal(t, j)
				clock.set(noon.Add(time.Minute))
			case "killed": // what it leaves
				crashed := filepath.Join(t.TempDir(), "crashed")
				copyDir(t, crashed, opts.Dir)
				closeJournal(t, j)
				opts.Dir = crashed
				clock.set(noon.Add(time.Minute))
			}
			backdate(t, opts.Dir, 10*days)
			want := 20
			if when == "while it runs" {
				want = 30
			}
			j = openJournal(t, opts)
			ageNow(t, j, clock)
			if got := readAll(t, j, 1, all); len(got) != want {
				t.Errorf("%d entries of %d are left", len(got), want)
			}
			// Ten days ahead for a moment takes nothing either.
			clock.set(noon.Add(365 * days))
			ageNow(t, j, clock)
			closeJournal(t, j)
			j = openJournal(t, opts)
			ageNow(t, j, clock)
			if got := readAll(t, j, 1, all); len(got) != want {
				t.Errorf("with a clock a year ahead %d entries of %d are left", len(got), want)
			}
		})
	}
}

// Entries are given up when the journal has been open for as long as they may be kept, over restarts and crashes.
func TestRetentionCountsTheTimeLived(t *testing.T) {
	for _, opts := range []Options{{Memory: true}, {Dir: t.TempDir()}} {
		t.Run(fmt.Sprintf("memory %v", opts.Memory), func(t *testing.T) {
			clock := newFakeTime(noon)
			opts := clock.options(opts)
			opts.RetainAge, opts.CacheBytes = 64*time.Hour, 1
			j := openJournal(t, opts)
			var lived time.Duration
			seq := uint64(0)
			for range 200 {
				seq++
				appendOK(t, j, entry("tbm-1", "b", seq))
				clock.pass(time.Hour)
				lived += time.Hour
				ageNow(t, j, clock)
				if seq%50 == 0 && !opts.Memory {
					closeJournal(t, j)
					clock.set(noon.Add(time.Duration(seq) * 1000 * time.Hour)) // a pause of which nothing is known
					j = openJournal(t, opts)
				}
				s, err := j.State(within(t))
				if err != nil {
					t.Fatal(err)
				}
				// Entry n was appended n hours after the first; half an hour is a mark's.
				if kept := s.Last - s.First + 1; s.Last != seq || seq < 64 && kept != seq || seq >= 64 && (kept < 63 || kept > 66) {
					t.Fatalf("after %v the journal has %d to %d", lived, s.First, s.Last)
				}
			}
			if got := readAll(t, j, 1, all); got[0].Offset < 130 || got[len(got)-1].Offset != 200 {
				t.Errorf("entries %d to %d", got[0].Offset, got[len(got)-1].Offset)
			}
		})
	}
}

// A journal of earlier versions has JetStream's limit of age in its settings: the server would apply it as it starts,
// by the wall clock.
func TestLimitOfAgeOfEarlierVersions(t *testing.T) {
	dir := t.TempDir()
	j, err := Open(within(t), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	appendOK(t, j, series("tbm-1", "b", 1, 10)...)
	j.mu.Lock()
	j.table.eras, j.table.ages = nil, nil
	j.mu.Unlock()
	closeJournal(t, j)
	limitAge(t, dir)
	j = openJournal(t, Options{Dir: dir})
	if got := readAll(t, j, 1, all); len(got) != 10 {
		t.Errorf("%d entries of 10 are left", len(got))
	}
	if o, err := j.Locate(within(t), transport.JournalStart{Time: time.Now().Add(-time.Hour)}); err != nil || o != 1 {
		t.Errorf("since an hour ago: offset %d, %v", o, err)
	}
}

// backdate gives the messages of a journal that is not open the times that JetStream would have given them with a
// clock that was behind: it reads the clock itself.
func backdate(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	msgs := filepath.Join(filepath.Dir(blockFileOf(t, dir)), "msgs")
	// It is made again.
	if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(msgs, "*.blk"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		var index int
		if _, err := fmt.Sscanf(filepath.Base(file), "%d.blk", &index); err != nil {
			t.Fatal(err)
		}
		key := sha256.Sum256(fmt.Appendf(nil, "TBM-%d", index))
		h, err := highwayhash.New64(key[:])
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for rest := data; len(rest) > 0; {
			size := binary.LittleEndian.Uint32(rest)
			skip := 0
			if size&recordHeaders != 0 {
				size, skip = size&^recordHeaders, 4
			}
			record := rest[:size]
			rest = rest[size:]
			stamp := int64(binary.LittleEndian.Uint64(record[12:]))
			binary.LittleEndian.PutUint64(record[12:], uint64(stamp-int64(by)))
			body := recordHead + int(binary.LittleEndian.Uint16(record[20:]))
			h.Reset()
			_, _ = h.Write(record[4:20])
			_, _ = h.Write(record[recordHead:body])
			_, _ = h.Write(record[body+skip : size-recordSum])
			copy(record[size-recordSum:], h.Sum(nil))
		}
		if err := os.WriteFile(file, data, 0o600); err != nil || !isWhole(file, "TBM", index) {
			t.Fatalf("%s: %v", file, err)
		}
	}
}

// limitAge gives the stream of a journal that is not open a limit of age, and waits until all in it is older.
func limitAge(t *testing.T, dir string) {
	t.Helper()
	meta, sum, err := metaFiles(dir, "TBM")
	if err != nil {
		t.Fatal(err)
	}
	data, err := readMeta(meta, sum, "TBM")
	if err != nil {
		t.Fatal(err)
	}
	limited := strings.Replace(string(data), `"max_age":0,`, `"max_age":1000000000,`, 1)
	limited = strings.Replace(limited, `"duplicate_window":120000000000,`, `"duplicate_window":1000000000,`, 1)
	checksum, err := metaSum([]byte(limited), "TBM")
	if err != nil || len(limited) == len(data) {
		t.Fatalf("%s: %v", limited, err)
	}
	if err := errors.Join(os.WriteFile(meta, []byte(limited), 0o600), os.WriteFile(sum, []byte(checksum), 0o600)); err != nil {
		t.Fatal(err)
	}
	<-time.After(1100 * time.Millisecond) // JetStream reads the clock itself
}

// ageNow waits until the writer has given up what is too old.
func ageNow(t *testing.T, j *Journal, clock *fakeTime) {
	t.Helper()
	for range 3 { // a pass that has begun counts the time of the next one, at most
		clock.pass(time.Nanosecond)
		want := j.opts.elapsed()
		eventually(t, "the writer has counted the time", func() bool {
			j.mu.Lock()
			defer j.mu.Unlock()
			return j.ageing.elapsed >= want
		})
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for ctx := within(t); !ok(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}
