//go:build race

package simulator

// days is how many days, of different seeds, a test simulates: the race detector makes each ten times as long, and
// there is one goroutine to watch.
const days = 1
