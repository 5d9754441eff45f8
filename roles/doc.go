// Package roles holds what the tbmsock command can be: a file for each subcommand, from its flags
// to its run. It is the only package that knows the command line and how logging is set up; what
// the roles do is done by the packages below it.
package roles
