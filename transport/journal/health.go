package journal

import (
	"context"
	"errors"
	"time"

	"tbmsock/transport"
)

// reviveAgain is how long an embedded server that has failed again is left alone while nobody appends.
const reviveAgain = 10 * time.Second

// tellHealth tells a change, before those who wait have their answers. It is the writer's.
func (j *Journal) tellHealth(err error) {
	if errors.Is(err, transport.ErrJournalClosed) || errors.Is(err, transport.ErrJournalTooLarge) || (err != nil) == j.ill {
		return
	}
	j.ill = err != nil
	j.opts.OnHealth(err)
}

// probe finds out whether entries can be written again: a node that has said that it takes nothing is sent nothing, so no entry may ever
// come to show it. Storing the table is a write like any other.
func (j *Journal) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, j.opts.AppendTimeout)
	defer cancel()
	m := j.store.embedded
	if m != nil {
		if m.room(2*maxBlockBytes) != nil { // more than any one block, or it would be full again at once
			return
		}
		if m.broken && (time.Since(m.started) < reviveAgain || j.revive(ctx) != nil) {
			return
		}
	}
	if j.unread {
		return
	}
	// That of the blocks may have no leader while that of the table has one.
	x, err := j.store.extent(ctx)
	if err != nil || j.opts.RefuseWhenFull && x.bytes+maxBlockBytes > uint64(j.opts.RetainBytes) {
		return
	}
	if err := j.save(ctx); err != nil {
		if m != nil && errors.Is(err, transport.ErrJournalUnavailable) {
			m.broken = true
		}
		return
	}
	j.tellHealth(nil)
}

// revive starts the embedded server again, which brings it back to what is on the disk.
func (j *Journal) revive(ctx context.Context) error {
	if err := j.store.embedded.room(0); err != nil {
		return err
	}
	j.opts.OnWarning("the embedded NATS server has stopped writing; it is started again")
	j.store.embedded.log.forget()
	j.store.embedded.started = time.Now()
	if err := j.store.restart(ctx); err != nil {
		return err
	}
	j.store.embedded.broken = false
	x, err := j.store.extent(ctx)
	if err != nil {
		return err
	}
	j.mu.Lock()
	applied, missing := j.table.applied, j.table.missing
	j.mu.Unlock()
	if x.last < applied || x.missing > missing || j.unread {
		return j.loadAgain(ctx)
	}
	return j.catchUp(ctx, x.last)
}
