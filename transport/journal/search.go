package journal

import (
	"cmp"
	"context"
	"slices"
)

// A message that is looked for costs the reading of a whole file of the store, 8 MiB, where none of that file is in memory. So
// the heads of some blocks are kept, about one every markBytes of what was written, read or looked at.
const (
	markBytes = 4 << 20
	maxMarks  = 4096
)

// mark keeps the head of a block. j.mu is held.
func (j *Journal) mark(b *block) {
	i, known := slices.BinarySearchFunc(j.marks, b.seq, func(m *block, seq uint64) int { return cmp.Compare(m.seq, seq) })
	if known {
		return
	}
	if len(j.marks) >= maxMarks { // every other one will do
		n := 0
		for i := 0; i < len(j.marks); i += 2 {
			j.marks[n] = j.marks[i]
			n++
		}
		clear(j.marks[n:])
		j.marks = j.marks[:n]
		j.mark(b)
		return
	}
	j.marks = slices.Insert(j.marks, i, &block{base: b.base, count: b.count, stored: b.stored, seq: b.seq})
}

// narrow looks among the marks of blocks from first to last: it returns what is left to be searched, and best, the
// first known block for which found is true.
func (j *Journal) narrow(first, last uint64, found func(*block) bool) (uint64, uint64, *block) {
	j.mu.Lock()
	defer j.mu.Unlock()
	bySeq := func(m *block, seq uint64) int { return cmp.Compare(m.seq, seq) }
	from, _ := slices.BinarySearchFunc(j.marks, first, bySeq)
	to, _ := slices.BinarySearchFunc(j.marks, last+1, bySeq)
	within := j.marks[from:max(to, from)]
	i, _ := slices.BinarySearchFunc(within, true, func(m *block, _ bool) int {
		if found(m) {
			return 0
		}
		return -1
	})
	if i > 0 {
		first = within[i-1].seq + 1
	}
	if i < len(within) {
		return first, within[i].seq - 1, within[i]
	}
	return first, last, nil
}

// forgetMarks forgets those before the first block of the stream.
func (j *Journal) forgetMarks(first uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	gone, _ := slices.BinarySearchFunc(j.marks, first, func(m *block, seq uint64) int { return cmp.Compare(m.seq, seq) })
	j.marks = slices.Delete(j.marks, 0, gone)
}

// search returns the head of the first block in the stream for which found says true; that must be so of
// all behind it too. It returns nil if there is none.
func (j *Journal) search(ctx context.Context, found func(*block) bool) (*block, error) {
	x, err := j.store.extent(ctx)
	if err != nil {
		return nil, err
	}
	j.forgetMarks(x.first)
	return j.searchIn(ctx, x.first, x.last, found)
}

// searchIn is search among the blocks from first to last.
func (j *Journal) searchIn(ctx context.Context, first, last uint64, found func(*block) bool) (*block, error) {
	first, last, best := j.narrow(first, last, found)
	for first <= last {
		middle := first + (last-first)/2
		b, err := j.head(ctx, middle)
		if err != nil {
			return nil, err
		}
		switch {
		case b == nil || b.seq > last:
			last = middle - 1
		case found(b):
			best = b
			last = middle - 1
		default:
			first = b.seq + 1
		}
	}
	return best, nil
}

// head reads the head of the first block at or behind a sequence number.
func (j *Journal) head(ctx context.Context, seq uint64) (*block, error) {
	for {
		messages, err := j.store.fetch(ctx, seq, 1, 1)
		if err != nil || len(messages) == 0 {
			return nil, err
		}
		b, err := parseBlock(messages[0].data, false)
		if err == nil {
			b.seq = messages[0].seq
			j.mu.Lock()
			j.mark(b)
			j.mu.Unlock()
			return b, nil
		}
		seq = messages[0].seq + 1 // not one of ours
	}
}
