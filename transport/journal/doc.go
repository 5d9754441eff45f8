// Package journal is the ordered, durable log of log_telemetry events (a [transport.Journal]) on NATS JetStream:
// in a server of its own within the process, which opens no port, or in an outside cluster.
//
// How it works:
//
//   - A block is one message of a JetStream stream; it holds the entries that waited while the block before it
//     was written. So any number of appends share one fsync, one replication, and one message's costs, and a
//     single one waits for nothing.
//   - Each block says which offset its first entry has, and is published with the sequence number of the block
//     before it as a condition. Whoever writes has therefore seen all that was written before: offsets
//     have no holes, and whether (source, boot, seq) is there already is known exactly, whichever node
//     wrote it and however long ago. When another node was faster, its blocks are read and the own one is
//     made again. An acknowledgement that got lost is found again in the same way, so that a block is never
//     written twice.
//   - What is known of each (source, boot) is the table: which ranges of seq are there. It is stored now and then, in a
//     stream of its own, so that a start reads only the blocks since then. JetStream's own duplicate window is
//     not used: it remembers every message for a time, which costs more memory than the table and forgets sooner.
//   - The last few blocks are kept in memory; those that follow the journal read there, and from the stream
//     when they have fallen behind.
//
// The package does not know what a packet means, who is connected, or how a log line is written.
package journal
