package blob

// WithoutUnnamedFiles makes f behave as on a file system that has no O_TMPFILE.
func WithoutUnnamedFiles(f *FS) { f.noTmpfile = true }

// WithoutDirectoryFlush leaves out the fsync of directories, to show that the power-cut test would notice.
func WithoutDirectoryFlush(f *FS) { f.flushNames = false }

// HasJournal says whether small objects go through one.
func HasJournal(f *FS) bool { return f.journal != nil && !f.unjournaled && !f.noTmpfile }

// MaxBodies is how many bytes are on their way through the journal at most.
const MaxBodies = maxBodies
