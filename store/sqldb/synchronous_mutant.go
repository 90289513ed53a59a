//go:build mairust_mutant_rows

package sqldb

// Never in a release: commits are not flushed, and the power-cut tests must see that mail is lost.
const sqliteSynchronous = "OFF"

// No flush would write it.
const logIsGathered = false
