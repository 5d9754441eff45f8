//go:build race

package transport_test

// allocationsAllowed under the race detector: sync.Pool then forgets some of what it is given, on purpose.
const allocationsAllowed = 1.5
