package telemetry

import (
	"math/rand/v2"
	"testing"
)

func BenchmarkProto(b *testing.B) {
	p := randomPacket(rand.New(rand.NewPCG(1, 2)))
	var dst []byte
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dst, _ = p.AppendProto(dst[:0])
		}
	})
	var q Packet
	b.Run("unmarshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := q.UnmarshalProto(dst); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("at", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for i := range channelFields {
				_ = p.At(i)
			}
		}
	})
}
