// Package dirlock makes a directory one process's own, by a file in it that is named lock. It does not know what the
// directory is for.
package dirlock

const fileName = "lock"
