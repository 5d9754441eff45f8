package simulator

import (
	"math"
	"math/rand/v2"
)

// lag is a first-order lag with the time constant tau in seconds, solved exactly for each step, so
// that it does not depend on the rate.
type lag struct {
	tau  float64
	x    float64
	h, a float64 // the last step and its factor: most steps are alike
}

func (l *lag) to(target, h float64) float64 {
	if h != l.h {
		l.h, l.a = h, 1-math.Exp(-h/l.tau)
	}
	l.x += (target - l.x) * l.a
	return l.x
}

// wander is an Ornstein-Uhlenbeck process about 0 with the standard deviation sigma, over time or
// over distance, solved exactly for each step.
type wander struct {
	tau, sigma float64
	x          float64
	h, a, b    float64
}

func (w *wander) step(h float64, rnd *rand.Rand) float64 {
	if h <= 0 {
		return w.x
	}
	if h != w.h {
		w.h, w.a = h, math.Exp(-h/w.tau)
		w.b = w.sigma * math.Sqrt(1-w.a*w.a)
	}
	w.x = w.x*w.a + w.b*rnd.NormFloat64()
	return w.x
}

func radians(deg float64) float64 { return deg * math.Pi / 180 }
func degrees(rad float64) float64 { return rad * 180 / math.Pi }

func clamp(v, lo, hi float64) float64 { return min(max(v, lo), hi) }
