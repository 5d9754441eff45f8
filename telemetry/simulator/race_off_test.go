//go:build !race

package simulator

// days is how many days, of different seeds, a test simulates.
const days = 3
