package bench

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets about 1.5 % wide. Adding costs an increment.
type histogram struct {
	buckets [64 * subBuckets]uint32
	n       uint64
	max     time.Duration
}

const (
	subBits    = 6
	subBuckets = 1 << subBits
)

func bucketOf(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < subBuckets {
		return int(v)
	}
	exp := bits.Len64(v) - subBits - 1
	return (exp+1)*subBuckets + int(v>>exp) - subBuckets
}

// upper is the largest duration that the bucket holds.
func upper(bucket int) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket)
	}
	exp := bucket/subBuckets - 1
	return time.Duration((uint64(bucket%subBuckets+subBuckets)+1)<<exp) - 1
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.n++
	if d > h.max {
		h.max = d
	}
}

// quantile returns a duration that the given part of all is not above.
func (h *histogram) quantile(q float64) time.Duration {
	if h.n == 0 {
		return 0
	}
	want := uint64(q * float64(h.n))
	seen := uint64(0)
	for i, n := range h.buckets {
		if seen += uint64(n); seen > want || seen == h.n {
			return min(upper(i), h.max)
		}
	}
	return h.max
}
