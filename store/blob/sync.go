//go:build !mairust_mutant_objects && !mairust_mutant_names

package blob

import "os"

// syncData and syncNames are the only places where this package asks for bytes and for names to be on disk. The
// builds that leave one of them out (sync_mutant_*.go) show that the power-cut tests would notice.

func syncData(f *os.File) error { return f.Sync() }

func syncNames(dir *os.File) error { return dir.Sync() }
