//go:build !linux

package bench

import (
	"context"
	"errors"
)

// Run needs Linux: the load is built on epoll, and the server's figures are read from /proc.
func Run(context.Context, Options) (*Result, error) {
	return nil, errors.New("it runs on Linux only")
}
