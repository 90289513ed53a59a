package sqldb

import "os"

// ReplaceDataSync has SQLite flush its files by flush until the returned function is called.
func ReplaceDataSync(flush func(fd int) error) (restore func()) {
	original := dataSync
	dataSync = flush
	return func() { dataSync = original }
}

// ReplaceWriteAt has a log that was left be written again by write until the returned function is called.
func ReplaceWriteAt(write func(*os.File, []byte, int64) (int, error)) (restore func()) {
	original := writeAt
	writeAt = write
	return func() { writeAt = original }
}

// Checkpoint copies the log into the database, as is done when enough is in it.
func (db *DB) Checkpoint() error {
	_, err := db.checkpoints.checkpoint()
	return err
}

// Path is that of the SQLite file.
func (db *DB) Path() string { return db.writer.path }

// Waited is how many times somebody had to wait for a connection that reads.
func (db *DB) Waited() int64 { return db.read.Stats().WaitCount }
