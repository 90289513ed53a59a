package sqldb

import "errors"

// ReplaceDataSync has SQLite flush its files by flush until the returned function is called.
func ReplaceDataSync(flush func(fd int) error) (restore func()) {
	original := dataSync
	dataSync = flush
	return func() { dataSync = original }
}

// Checkpoint copies the log into the database, as is done when enough is in it.
func (db *DB) Checkpoint() error {
	c := db.closers[0].(*checkpointer)
	err := c.checkpoint()
	if err != nil {
		return errors.Join(err, c.writer.copyAnew())
	}
	return nil
}
