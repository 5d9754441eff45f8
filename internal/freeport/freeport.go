// Package freeport gives tests ports that are free now, and that the system gives nobody: for servers whose address others have to know
// before they start, or that come back at the same one. It does not know what listens there.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Below are n ports below those that the system gives to whoever asks for any: 32768 on Linux.
func Below(t testing.TB, n int) []int {
	t.Helper()
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports
		}
		port := 10_000 + rand.IntN(32_768-10_000)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		defer func() { _ = ln.Close() }()
		ports = append(ports, port)
	}
	t.Fatal("no port is free")
	return nil
}
