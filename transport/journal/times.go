package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// Blocks bear the time of the wall clock of the node that wrote them. That clock may be set back: a little, and the
// stamps wait for it; by more, and the stamps follow it, or all of them would be the same until it has caught up. Each
// step back begins a new era, so that a time can still be found by binary search within each of them.

// held is how far the stamps wait for a clock that was set back. In a cluster the clocks of nodes differ.
const (
	held        = time.Second
	heldCluster = time.Minute
)

// maxEras bounds what is remembered. Beyond it the oldest are one, in which nothing is searched for.
const maxEras = 256

// era is a range of blocks, up to the next one's first, whose stamps do not decrease.
type era struct {
	seq         uint64 // of its first block
	first, last int64  // the lowest and the highest stamp
	mixed       bool   // its stamps stand in no order
}

// stamp returns the time of the next block. It must be called with mu held.
func (j *Journal) stamp() time.Time {
	now, limit := j.opts.Now().UnixNano(), held
	if j.opts.URL != "" {
		limit = heldCluster
	}
	if behind := j.table.stored - now; behind > 0 && behind <= int64(limit) {
		now = j.table.stored
	}
	return time.Unix(0, now).UTC()
}

// turnsTold is the time between two warnings: nodes whose clocks differ by much write in turns.
const turnsTold = time.Minute

// tellTurn warns of a block with which a new era begins. It must be called with mu held.
func (j *Journal) tellTurn(b *block) {
	last := time.Unix(0, j.table.stored).UTC()
	if j.loading || j.table.stored == 0 || !b.stored.Before(last) {
		return
	}
	if !j.turned.IsZero() && time.Since(j.turned) < turnsTold {
		return
	}
	j.turned = time.Now()
	j.opts.OnWarning(fmt.Sprintf(
		"the clock went back by %v: entries from offset %d on are stamped %s, those before up to %s",
		last.Sub(b.stored).Round(time.Millisecond), b.base, b.stored.Format(time.RFC3339), last.Format(time.RFC3339)))
}

// addStamp takes in the stamp of a block. A block of which nothing is known but that it comes first begins an era.
func (t *table) addStamp(seq uint64, stamp int64) {
	if n := len(t.eras); n > 0 && stamp >= t.eras[n-1].last {
		t.eras[n-1].last = stamp
		return
	}
	t.eras = append(t.eras, era{seq, stamp, stamp, false})
	if len(t.eras) > maxEras {
		a, b := t.eras[0], t.eras[1]
		t.eras[1] = era{a.seq, min(a.first, b.first), max(a.last, b.last), true}
		t.eras = slices.Delete(t.eras, 0, 1)
	}
}

// erasFrom returns the eras of the blocks from first on.
func (j *Journal) erasFrom(first uint64) []era {
	j.mu.Lock()
	defer j.mu.Unlock()
	gone := 0
	for gone+1 < len(j.table.eras) && j.table.eras[gone+1].seq <= first {
		gone++
	}
	j.table.eras = slices.Delete(j.table.eras, 0, gone)
	return slices.Clone(j.table.eras)
}

// eraRange is an era with the range of blocks that the stream has of it.
type eraRange struct {
	era
	from, to uint64
}

// ranges returns the eras of which the stream has blocks.
func (j *Journal) ranges(x extent) []eraRange {
	var all []eraRange
	eras := j.erasFrom(x.first)
	for i, e := range eras {
		r := eraRange{e, max(e.seq, x.first), x.last}
		if i == 0 {
			r.from = x.first
		}
		if i+1 < len(eras) {
			r.to = min(r.to, eras[i+1].seq-1)
		}
		if r.from <= r.to {
			all = append(all, r)
		}
	}
	return all
}

// firstSince returns the head of the first block that was stored at the time or later; nil if there is none.
func (j *Journal) firstSince(ctx context.Context, at time.Time) (found *block, err error) {
	x, err := j.store.extent(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range j.ranges(x) {
		switch {
		case time.Unix(0, r.last).Before(at):
			continue
		case r.mixed:
			found, err = j.head(ctx, r.from)
		default:
			found, err = j.searchIn(ctx, r.from, r.to, func(b *block) bool { return !b.stored.Before(at) })
		}
		if err != nil || found != nil {
			return found, err
		}
	}
	return nil, nil
}

// LastBefore returns the offset of the last entry that was stored before the time, 0 if there is none. Where the clock
// has been set back, entries before it may have been stored at that time or later.
func (j *Journal) LastBefore(ctx context.Context, at time.Time) (uint64, error) {
	x, err := j.store.extent(ctx)
	if err == nil {
		err = j.reach(ctx, x)
	}
	if err != nil {
		return 0, err
	}
	_, next, err := j.bounds(ctx, x.first)
	if err != nil {
		return 0, err
	}
	for _, r := range slices.Backward(j.ranges(x)) {
		if !time.Unix(0, r.era.first).Before(at) {
			continue
		}
		var until, begin *block // the first block that is not before the time, and that of the era
		if !r.mixed {
			until, err = j.searchIn(ctx, r.from, r.to, func(b *block) bool { return !b.stored.Before(at) })
			if err == nil && until != nil {
				begin, err = j.head(ctx, r.from)
			}
		}
		if err == nil && until == nil && r.to < x.last {
			until, err = j.head(ctx, r.to+1)
		}
		switch {
		case err != nil:
			return 0, err
		case until == nil:
			return next - 1, nil
		case begin == nil || begin.seq < until.seq:
			return until.base - 1, nil
		}
	}
	return 0, nil
}

// appendTimes appends what the table knows of times.
func (t *table) appendTimes(dst []byte) []byte {
	number := func(dst []byte, n protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(dst, n, protowire.VarintType), v)
	}
	fixed := func(dst []byte, n protowire.Number, v int64) []byte {
		return protowire.AppendFixed64(protowire.AppendTag(dst, n, protowire.Fixed64Type), uint64(v))
	}
	dst = fixed(dst, tableFieldLived, int64(t.lived))
	for _, e := range t.eras {
		buf := fixed(fixed(number(nil, 1, e.seq), 2, e.first), 3, e.last)
		if e.mixed {
			buf = number(buf, 4, 1)
		}
		dst = protowire.AppendBytes(protowire.AppendTag(dst, tableFieldEra, protowire.BytesType), buf)
	}
	for _, a := range t.ages {
		buf := number(fixed(nil, 1, int64(a.lived)), 2, a.seq)
		dst = protowire.AppendBytes(protowire.AppendTag(dst, tableFieldAge, protowire.BytesType), buf)
	}
	return dst
}

func (t *table) parseEra(data []byte) error {
	var e era
	err := eachWireField(data, func(num protowire.Number, kind protowire.Type, _ []byte, u uint64) error {
		switch {
		case num == 1 && kind == protowire.VarintType:
			e.seq = u
		case num == 2 && kind == protowire.Fixed64Type:
			e.first = int64(u)
		case num == 3 && kind == protowire.Fixed64Type:
			e.last = int64(u)
		case num == 4 && kind == protowire.VarintType:
			e.mixed = u != 0
		}
		return nil
	})
	t.eras = append(t.eras, e)
	return err
}

func (t *table) parseAge(data []byte) error {
	var a ageMark
	err := eachWireField(data, func(num protowire.Number, kind protowire.Type, _ []byte, u uint64) error {
		switch {
		case num == 1 && kind == protowire.Fixed64Type:
			a.lived = time.Duration(u)
		case num == 2 && kind == protowire.VarintType:
			a.seq = u
		}
		return nil
	})
	t.ages = append(t.ages, a)
	return err
}

// checkTimes refuses what appendTimes does not write. A table of earlier versions has no eras: its blocks are of one.
func (t *table) checkTimes() error {
	if len(t.eras) == 0 && t.applied > 0 {
		t.eras = []era{{seq: 1, first: math.MinInt64, last: t.stored}}
	}
	ordered := slices.IsSortedFunc(t.eras, func(a, b era) int { return cmp.Compare(a.seq, b.seq) }) &&
		slices.IsSortedFunc(t.ages, func(a, b ageMark) int { return cmp.Compare(a.lived, b.lived) }) &&
		slices.IsSortedFunc(t.ages, func(a, b ageMark) int { return cmp.Compare(a.seq, b.seq) })
	if !ordered || len(t.eras) > maxEras || len(t.ages) > maxAges || t.lived < 0 ||
		len(t.eras) > 0 && t.eras[len(t.eras)-1].last != t.stored {
		return errors.New("its times are in no order")
	}
	return nil
}
