package sqldb

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// checkpointRows is how many rows are changed between two checkpoints, which is about 30 MB of log. Pages that many
// deliveries change are then copied once instead of each time.
const checkpointRows = 4000

// checkpointAgain is how long after a checkpoint that failed the next is made, whatever is written meanwhile, and checkpointRest how long after
// one that could not copy all of the log, since a reader had an old state: what it has copied is flushed with the last of the log only.
const (
	checkpointAgain = time.Minute
	checkpointRest  = 5 * time.Second
	// checkpointPatience is how long deliveries wait for readers once in a checkpoint.
	checkpointPatience = 100 * time.Millisecond
	// checkpointAlarm is how long the log may become before somebody is told: 1 GiB.
	checkpointAlarm = 1 << 30
)

// checkpointer copies the write-ahead log into the database file beside the writer, so that no delivery waits for it
// but for the little that was written meanwhile. SQLite's own checkpoint, within the commit that fills the log, stays
// as the last resort (sqlite.org/wal.html#ckpt).
type checkpointer struct {
	writer *sqliteWriter
	log    *slog.Logger
	once   sync.Once
	stop   chan struct{}
	done   chan struct{}

	mu    sync.Mutex
	fault error // of the last checkpoint
}

func startCheckpointer(w *sqliteWriter, log *slog.Logger) *checkpointer {
	c := &checkpointer{writer: w, log: log, stop: make(chan struct{}), done: make(chan struct{})}
	go c.run()
	return c
}

func (c *checkpointer) run() {
	defer close(c.done)
	var again <-chan time.Time
	for {
		select {
		case <-c.stop:
			return
		case <-c.writer.full:
		case <-again:
		}
		again = nil
		whole, err := c.checkpoint()
		switch {
		case err != nil:
			// Nothing is lost: the log is as durable as the database. The next one tries again, from its beginning (syncDatabase).
			c.log.Warn("checkpoint of the SQLite log", "err", err)
			again = time.After(checkpointAgain)
		case !whole:
			again = time.After(checkpointRest)
			err = c.tooLong()
		}
		c.mu.Lock()
		c.fault = err
		c.mu.Unlock()
	}
}

// tooLong is the fault of readers that keep the log from being begun again.
func (c *checkpointer) tooLong() error {
	if info, err := os.Stat(c.writer.path + "-wal"); err == nil && info.Size() >= checkpointAlarm {
		return fmt.Errorf("the log has %d MiB: a program that reads the database keeps an old state of it", info.Size()>>20)
	}
	return nil
}

// CheckpointFault is the error of SQLite's last checkpoint, nil on PostgreSQL: nothing is lost by it, but the log grows.
func (db *DB) CheckpointFault() error {
	if db.checkpoints == nil {
		return nil
	}
	db.checkpoints.mu.Lock()
	defer db.checkpoints.mu.Unlock()
	return db.checkpoints.fault
}

// checkpoint copies most of the log while the writer goes on, then the rest while it waits, for readers too: when none holds an old state for
// longer than a moment, that is all of it (whole), and the log is begun again.
func (c *checkpointer) checkpoint() (whole bool, err error) {
	conn, err := openSQLiteConn(c.writer.path)
	if err != nil {
		return false, classify(err)
	}
	err = conn.copyLog()
	if closeErr := classify(conn.Close()); err == nil {
		err = closeErr
	}
	if err != nil {
		// The writer may have read pages that the disk has lost: it begins anew, with the log as it is.
		return false, errors.Join(err, c.writer.exclusive(context.Background(), func(*sqliteConn) error {
			c.writer.discard()
			return nil
		}))
	}
	err = c.writer.exclusive(context.Background(), func(conn *sqliteConn) (err error) {
		whole, err = conn.beginLogAnew()
		return err
	})
	return whole, err
}

// Close waits for a checkpoint under way.
func (c *checkpointer) Close() error {
	c.once.Do(func() { close(c.stop) })
	<-c.done
	return nil
}

// copyLog copies what can be copied without waiting for readers.
func (c *sqliteConn) copyLog() error {
	return c.pragma("wal_checkpoint(PASSIVE)")
}

// beginLogAnew copies all of the log, waits until no reader reads it any more, which those that begin meanwhile do not, and begins it again. ok
// is false when a reader took longer.
//
// Without the waiting the log begins again only if nobody happens to read at the next BEGIN: where somebody always does, each for a few
// milliseconds, it grew by ten kilobytes for each row that was written, until the disk was full.
func (c *sqliteConn) beginLogAnew() (ok bool, err error) {
	if err := c.pragma(fmt.Sprintf("busy_timeout = %d", checkpointPatience.Milliseconds())); err != nil {
		return false, err
	}
	err = c.each("PRAGMA wal_checkpoint(RESTART)", nil, func(scan Scan) error {
		var busy, log, copied int64
		err := scan(&busy, &log, &copied)
		ok = busy == 0
		return err
	})
	return ok, errors.Join(err, c.pragma(fmt.Sprintf("busy_timeout = %d", sqliteBusy.Milliseconds())))
}

// pragma runs one whose answer says nothing.
func (c *sqliteConn) pragma(text string) error {
	return c.each("PRAGMA "+text, nil, func(Scan) error { return nil })
}
