// Package dashboard is the web application, the machine on a page, and the handler that serves it
// or any other build in its place. It must not know the command line, nor what the page talks about
// with the server over Socket.IO.
package dashboard

import (
	"embed"
	"io/fs"
)

// What ng build writes stands below dist/app and is not part of the repository: a program that was
// built without it serves dist/placeholder, which says how to build it.
//
//go:embed all:dist
var dist embed.FS

// Embedded returns the files of the application that this program was built with; built is false
// if they are the placeholder's.
func Embedded() (files fs.FS, built bool) {
	dir := "dist/placeholder"
	if _, err := fs.Stat(dist, "dist/app/index.html"); err == nil {
		dir, built = "dist/app", true
	}
	files, err := fs.Sub(dist, dir)
	if err != nil { // cannot be: the names are valid paths
		panic(err)
	}
	return files, built
}
