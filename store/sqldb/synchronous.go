//go:build !mairust_mutant_rows

package sqldb

// sqliteSynchronous is SQLite's setting with which a commit survives a power cut
// (sqlite.org/pragma.html#pragma_synchronous). The build without it (synchronous_mutant.go) shows that the power-cut
// tests would notice.
const sqliteSynchronous = "FULL"

// logIsGathered: what SQLite writes to its log may wait for the flush that comes at each commit.
const logIsGathered = true
