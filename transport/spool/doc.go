// Package spool keeps byte records in a directory until somebody has acknowledged them: a bounded queue that
// outlives the process. Records come back in the order in which they were appended, the oldest that nobody has
// acknowledged first.
//
// A directory holds segments, files of records named by the position of their first one; "ack", the position
// below which everything is acknowledged; and "lock", which keeps other processes out. A record carries its
// length, its position and a checksum, so that one that a crash has cut off, or a disk has spoilt, is known and
// costs itself alone. A segment is removed when all in it is acknowledged: the active one only where the disk has no
// room for more. Removing one needs no space and does not depend on the acknowledged position, so that a full disk
// empties as records are acknowledged.
//
// The package does not know what a record says, where it is sent, or how an error is told to people.
package spool
