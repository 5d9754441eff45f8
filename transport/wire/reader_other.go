//go:build !unix

package wire

const canReadRaw = false

func (r *frameReader) takeRaw(uintptr) bool { return true }
