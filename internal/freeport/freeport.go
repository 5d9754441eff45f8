// Package freeport gives tests ports that are free now, and that the system gives nobody: for servers whose address others have to know
// before they start, or that come back at the same one. It does not know what listens there.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// given are the ports that a test of this process has: no other gets them, also while nobody listens there.
var given sync.Map

// Listen listens on a port that can be had again after it was closed: one below those that the system lends to outgoing
// connections (32768 on Linux), of which anybody may hold any.
func Listen(t testing.TB) net.Listener {
	t.Helper()
	for range 1000 {
		port := 10_000 + rand.IntN(32_768-10_000)
		if _, taken := given.LoadOrStore(port, true); taken {
			continue
		}
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return ln
		}
	}
	t.Fatal("no port is free")
	return nil
}

// Address is that of such a port, on which nobody listens.
func Address(t testing.TB) string {
	t.Helper()
	ln := Listen(t)
	_ = ln.Close()
	return ln.Addr().String()
}

// Below are n such ports.
func Below(t testing.TB, n int) []int {
	t.Helper()
	ports := make([]int, n)
	for i := range ports {
		ln := Listen(t)
		_ = ln.Close()
		ports[i] = ln.Addr().(*net.TCPAddr).Port
	}
	return ports
}
