package store

import (
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// Beside is what is written in the transaction of an act, so that there is no act without its traces: the line of the audit
// log, and what administrators are told. Nil is neither.
type Beside struct {
	Audit  *AuditEntry
	Notice *Notice
}

func (b Beside) queue(tx *sqldb.Tx, now time.Time) {
	if b.Audit != nil {
		b.Audit.queue(tx, now)
	}
	if b.Notice != nil {
		b.Notice.queue(tx, now)
	}
}
