package roles

import (
	"context"
	"time"
)

// ticker says when readings are due: the n-th at start + n periods, whatever the time that the
// ones before have taken, so that the rate does not drift. 10 Hz for an hour are 36,000
// readings. Its times have a monotonic reading and ignore steps of the wall clock: their wall time is
// that of the start.
type ticker struct {
	start  time.Time
	period time.Duration
	n      int64
}

// next waits until the next reading is due and returns its time; false if ctx ends first. After
// a stall of more than a second, the readings that could not be taken are left out, and counted in
// skipped: their time is past.
func (t *ticker) next(ctx context.Context) (at time.Time, skipped int64, ok bool) {
	if late := time.Since(t.due()); late > time.Second && late > 2*t.period {
		skipped = int64(late / t.period)
		t.n += skipped
	}
	at = t.due()
	if wait := time.Until(at); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return at, skipped, false
		}
	} else if ctx.Err() != nil {
		return at, skipped, false
	}
	t.n++
	return at, skipped, true
}

func (t *ticker) due() time.Time {
	return t.start.Add(time.Duration(t.n) * t.period)
}
