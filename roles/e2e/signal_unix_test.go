//go:build unix

package e2e

import "syscall"

// askSummary asks a logger for its summary, and waits for it.
func askSummary(logger *process) {
	_ = logger.cmd.Process.Signal(syscall.SIGUSR1)
	logger.logged("summary")
}
