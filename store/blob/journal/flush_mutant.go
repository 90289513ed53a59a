//go:build mairust_mutant_journal

package journal

import "os"

// Datasync does nothing. Never in a release: the journal is not flushed, and the power-cut tests must see that mail is
// lost.
func Datasync(*os.File) error { return nil }
