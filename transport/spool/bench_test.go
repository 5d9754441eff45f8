package spool

import (
	"context"
	"testing"
	"time"
)

// A record of 1 KiB appended, taken and acknowledged.
func BenchmarkRecord(b *testing.B) {
	for name, sync := range map[string]time.Duration{"fsync=always": 0, "fsync=interval": time.Second} {
		b.Run(name, func(b *testing.B) {
			s, _, err := Open(Options{Dir: b.TempDir(), SyncInterval: sync})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			record := make([]byte, 1024)
			b.SetBytes(1024)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Append(record); err != nil {
					b.Fatal(err)
				}
				p, _, err := s.Next(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				if err := s.Ack(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
