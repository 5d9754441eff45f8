package roles

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// An hour of 10 Hz is 36,000 readings, each due at its own time, however long the work takes.
func TestTickerDoesNotDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		tick := ticker{start: start, period: 100 * time.Millisecond}
		n := 0
		for {
			at, skipped, ok := tick.next(t.Context())
			if !at.Before(start.Add(time.Hour)) {
				break
			}
			if !ok || skipped != 0 {
				t.Fatalf("reading %d: skipped %d, ok %v", n, skipped, ok)
			}
			if want := start.Add(time.Duration(n) * 100 * time.Millisecond); !at.Equal(want) {
				t.Fatalf("reading %d is due at %v, want %v", n, at, want)
			}
			n++
			time.Sleep(time.Duration(n%120) * time.Millisecond) // the work; sometimes longer than the period
		}
		if n != 36_000 {
			t.Errorf("%d readings in an hour", n)
		}
	})
}

func TestTickerAfterAStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		tick := ticker{start: start, period: 100 * time.Millisecond}
		if _, _, ok := tick.next(t.Context()); !ok {
			t.Fatal("no reading")
		}
		time.Sleep(time.Minute)
		at, skipped, ok := tick.next(t.Context())
		if !ok || skipped != 599 || !at.Equal(start.Add(time.Minute)) {
			t.Errorf("at %v, skipped %d, %v", at.Sub(start), skipped, ok)
		}
	})
}

func TestTickerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		tick := ticker{start: time.Now(), period: 100 * time.Millisecond}
		if _, _, ok := tick.next(ctx); !ok {
			t.Error("the first is due at once")
		}
		if _, _, ok := tick.next(ctx); ok {
			t.Error("a reading after the end")
		}
	})
}
