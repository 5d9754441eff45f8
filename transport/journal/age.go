package journal

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// JetStream's own limit of age compares the wall clock with the one of the time when a message was stored. A clock
// that was days behind and has been set right, or is days ahead for a moment, would make it delete entries that have
// just been acknowledged. So an embedded server has no such limit, and the journal counts the time for which it has
// been open: an entry is given up when it has lived through RetainAge of that. An outside cluster has JetStream's
// limit.

// ageMark says how old blocks are: all up to seq were there when the journal had been open for so long.
type ageMark struct {
	lived time.Duration
	seq   uint64
}

const (
	agesKept  = 128 // marks for RetainAge: entries are given up that much too late at most
	maxAges   = 4 * agesKept
	saveLived = 5 * time.Minute // what a crash can take of the time that has been counted
)

// ageing is the writer's.
type ageing struct {
	elapsed time.Duration // when the time was counted last
	saved   time.Duration // what the stored table has counted
	failed  bool          // has been told
}

// countLived counts the time since the last call. It must be called with mu held.
func (j *Journal) countLived() {
	now := j.opts.elapsed()
	j.table.lived += max(now-j.ageing.elapsed, 0)
	j.ageing.elapsed = now
}

// lived is the time that the stored table has not counted. It must be called with mu held.
func (j *Journal) lived() time.Duration {
	j.countLived()
	return j.table.lived - j.ageing.saved
}

// keepsAge reports whether entries are given up by this journal, and not by a cluster.
func (j *Journal) keepsAge() bool { return j.store.embedded != nil && !j.opts.readOnly }

// age gives up what is too old. It is the writer's.
func (j *Journal) age(ctx context.Context) {
	if !j.keepsAge() || j.unread || j.store.embedded.broken {
		return
	}
	step := j.opts.RetainAge / agesKept
	j.mu.Lock()
	j.countLived()
	t := j.table
	if n := len(t.ages); t.applied > 0 && (n == 0 || t.lived-t.ages[n-1].lived >= step && t.applied > t.ages[n-1].seq) {
		t.ages = append(t.ages, ageMark{t.lived, t.applied})
	}
	if len(t.ages) > maxAges { // RetainAge is longer than it was; without a mark its blocks count as younger
		t.ages = slices.Delete(t.ages, 0, 1)
	}
	old, upTo := 0, uint64(0)
	for old < len(t.ages) && t.ages[old].lived <= t.lived-j.opts.RetainAge {
		upTo = t.ages[old].seq
		old++
	}
	due := t.applied > 0 && j.lived() >= max(min(step, saveLived), time.Second) && !j.ill
	j.mu.Unlock()
	if upTo > 0 {
		err := j.store.purge(ctx, upTo)
		switch {
		case err == nil:
			j.mu.Lock()
			if j.table == t {
				t.ages = slices.Delete(t.ages, 0, old)
			}
			j.mu.Unlock()
		case !j.ageing.failed && ctx.Err() == nil:
			j.opts.OnWarning("entries older than the limit of age cannot be given up; retrying: " + err.Error())
		}
		j.ageing.failed = err != nil
	}
	if due {
		if err := j.save(ctx); err != nil && ctx.Err() == nil {
			j.opts.OnWarning(fmt.Sprintf("the journal's table could not be stored: after a crash its entries would count as younger: %v", err))
			j.mu.Lock()
			j.ageing.saved = j.table.lived // it is tried again in a while
			j.mu.Unlock()
		}
	}
}

// keepAges takes over what an earlier table knows of the ages of blocks that are still there.
func (t *table) keepAges(earlier *table, last uint64) {
	t.lived = max(t.lived, earlier.lived)
	t.ages = slices.DeleteFunc(slices.Clone(earlier.ages), func(a ageMark) bool { return a.seq > last })
}
