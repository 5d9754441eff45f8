// Package e2e tries tbmsock with what its users have: socket.io-client 2, 3 and 4 on Node,
// python-socketio, servers of both, and the three scripts that it began as. There is nothing in
// it but tests; a client that is missing fails them in CI, and skips them elsewhere.
package e2e
