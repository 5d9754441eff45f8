package roles

import "time"

// clock reads the time twice at one moment: from the wall clock, which somebody may set, and from one that is steady
// and compares and subtracts with its own readings alone.
type clock func() (wall, steady time.Time)

func systemClock() (wall, steady time.Time) {
	now := time.Now()
	return now.Round(0), now // the monotonic reading stays in steady
}

// Steps of the wall clock below this are not told apart from its being adjusted.
const (
	leastStep = 250 * time.Millisecond
	slewing   = 1000 // at most a 1,000th of the time that passes; NTP takes half of it
)

// stepWatch finds steps of the wall clock: it was set, or the computer slept, which the steady clock does not count.
type stepWatch struct{ wall, steady time.Time }

// step returns by how much the wall clock has gone ahead (back, if negative) of the time that has passed since the
// last call; 0 if that is no step.
func (w *stepWatch) step(wall, steady time.Time) time.Duration {
	last := *w
	*w = stepWatch{wall, steady}
	if last.steady.IsZero() {
		return 0
	}
	passed := steady.Sub(last.steady)
	step := wall.Sub(last.wall) - passed
	if step.Abs() < leastStep+passed/slewing {
		return 0
	}
	return step
}
