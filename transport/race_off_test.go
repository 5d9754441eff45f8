//go:build !race

package transport_test

// allocationsAllowed is what a delivery may allocate: nothing. A collection in between empties the pools, which
// then fill again: a hundredth is for that.
const allocationsAllowed = 0.01
