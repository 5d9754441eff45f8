//go:build !unix

package roles

import "os"

// summarySignal is nil where there is no such signal.
func summarySignal() os.Signal { return nil }
