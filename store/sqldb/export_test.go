package sqldb

// ReplaceDataSync has SQLite flush its files by flush until the returned function is called.
func ReplaceDataSync(flush func(fd int) error) (restore func()) {
	original := dataSync
	dataSync = flush
	return func() { dataSync = original }
}
