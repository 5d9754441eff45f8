package journal

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"tbmsock/transport"
)

// record is a packet as big as ours are in JSON.
func record(source string, seq uint64) transport.JournalEntry {
	e := entry(source, "boot-1", seq)
	e.Value.JSON = append(append([]byte(fmt.Sprintf(`{"source":%q,"boot":"boot-1","seq":%d,"packet":"`, source, seq)), bytes.Repeat([]byte("x"), 230)...), `"}`...)
	return e
}

// BenchmarkAppend tells how many appends are acknowledged a second, with so many under way.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []struct {
		name string
		opts Options
	}{
		{"always", Options{}},
		{"interval=1s", Options{SyncInterval: time.Second}},
		{"memory", Options{Memory: true}},
	} {
		for _, inFlight := range []int{1, 16, 256, 4096} {
			b.Run(fmt.Sprintf("%s/inflight=%d", mode.name, inFlight), func(b *testing.B) {
				opts := mode.opts
				if !opts.Memory {
					opts.Dir = b.TempDir()
				}
				j := openJournal(b, opts)
				slots := make(chan struct{}, inFlight)
				var wg sync.WaitGroup
				ctx := context.Background()
				var seq uint64
				e := record("tbm-1", 1)
				b.ReportAllocs()
				for b.Loop() {
					seq++
					e.Seq = seq
					slots <- struct{}{}
					wg.Add(1)
					j.Append(ctx, e, func(_ uint64, duplicate bool, err error) {
						if err != nil || duplicate {
							b.Error(duplicate, err)
						}
						<-slots
						wg.Done()
					})
				}
				wg.Wait()
				b.ReportMetric(float64(seq)/b.Elapsed().Seconds(), "entries/s")
			})
		}
	}
}

// BenchmarkRead tells how many entries are read from the stream a second; the journal was written with so
// many entries in a block.
func BenchmarkRead(b *testing.B) {
	for _, perBlock := range []int{1, 10, 500} {
		b.Run(fmt.Sprintf("block=%d", perBlock), func(b *testing.B) {
			j := openJournal(b, Options{Dir: b.TempDir(), SyncInterval: time.Minute, CacheBytes: 1})
			const n = 50_000
			var entries []transport.JournalEntry
			for seq := uint64(1); seq <= n; seq++ {
				entries = append(entries, record("tbm-1", seq))
				if len(entries) == perBlock {
					appendOK(b, j, entries...)
					entries = entries[:0]
				}
			}
			b.ReportAllocs()
			read := 0
			for b.Loop() {
				for _, err := range j.Read(b.Context(), 1, all) {
					if err != nil {
						b.Fatal(err)
					}
					read++
				}
			}
			if read != b.N*n {
				b.Fatalf("%d entries, want %d", read, b.N*n)
			}
			b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "entries/s")
		})
	}
}

// BenchmarkTail tells how many entries a second are appended and delivered to one who follows, and how long one takes from
// Append to there while 200 a second come.
func BenchmarkTail(b *testing.B) {
	for _, mode := range []struct {
		name string
		opts Options
	}{{"always", Options{}}, {"interval=1s", Options{SyncInterval: time.Second}}} {
		opts := mode.opts
		b.Run(mode.name+"/inflight=256", func(b *testing.B) {
			opts.Dir = b.TempDir()
			j := openJournal(b, opts)
			slots := make(chan struct{}, 256)
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_ = j.Tail(ctx, 1, func(entries []transport.JournalEntry) error {
					for range entries {
						<-slots
					}
					return nil
				})
			}()
			e := record("tbm-1", 1)
			for b.Loop() {
				slots <- struct{}{}
				j.Append(ctx, e, func(_ uint64, _ bool, err error) {
					if err != nil {
						b.Error(err)
					}
				})
				e.Seq++
			}
			for range cap(slots) {
				slots <- struct{}{}
			}
			b.ReportMetric(float64(e.Seq-1)/b.Elapsed().Seconds(), "entries/s")
			cancel()
			<-ended
		})
		b.Run(mode.name+"/latency at 200 Hz", func(b *testing.B) {
			opts.Dir = b.TempDir()
			j := openJournal(b, opts)
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan struct{})
			came := make(chan time.Time, 1)
			go func() {
				defer close(ended)
				_ = j.Tail(ctx, 1, func(entries []transport.JournalEntry) error { came <- time.Now(); return nil })
			}()
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			var took []time.Duration
			e := record("tbm-1", 1)
			for b.Loop() {
				<-tick.C
				begun := time.Now()
				j.Append(ctx, e, func(uint64, bool, error) {})
				took = append(took, (<-came).Sub(begun))
				e.Seq++
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			cancel()
			<-ended
		})
	}
}
