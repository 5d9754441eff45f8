//go:build !unix

package journal

// checkOwner: whose a new file is follows from its directory here.
func checkOwner(string) error { return nil }
