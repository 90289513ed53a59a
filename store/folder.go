package store

import (
	"context"
	"math"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// The folders that MaiRust itself knows. A mailbox may have others.
const (
	Inbox      = "INBOX"
	Quarantine = "Quarantine"
	Archive    = "Archive"
	Trash      = "Trash"
)

// standardFolders are made with every mailbox.
var standardFolders = [...]string{Inbox, Quarantine, Archive, Trash}

// Folder is a folder of a mailbox as IMAP sees it (RFC 9051, 2.3.1.1; RFC 7162).
type Folder struct {
	ID          FolderID
	Name        string
	UIDValidity uint32
	UIDNext     int64
	ModSeq      int64
	Messages    int64
}

// createFolder makes a folder unless it is there. UIDVALIDITY is the time in seconds, so that a folder that
// is made again never has an old one.
func createFolder(ctx context.Context, tx *sqldb.Tx, tenant TenantID, mailbox MailboxID, name string, now time.Time) error {
	const query = `INSERT INTO folders (id, tenant_id, mailbox_id, name, uidvalidity, uidnext, modseq, created_us)
		VALUES ($1, $2, $3, $4, $5, 1, 1, $6) ON CONFLICT (mailbox_id, name) DO NOTHING`
	_, err := tx.Exec(ctx, query, newID(), string(tenant), string(mailbox), name, uidValidityAt(now), micros(now))
	return err
}

// uidValidityAt is the UIDVALIDITY of what is made at a time: its seconds, in 32 bits (RFC 9051, 2.3.1.1), whatever a clock may say, with room
// above for some that are one more.
func uidValidityAt(t time.Time) int64 { return max(1, min(t.Unix(), math.MaxUint32-1<<20)) }

// folderInScope limits folders f; its arguments are those of Scope.args.
const folderInScope = `($1 = 1 OR f.tenant_id = $2) AND ($3 = '' OR EXISTS (
	SELECT 1 FROM mailbox_access a WHERE a.user_id = $3 AND a.mailbox_id = f.mailbox_id))`

func (s *Store) folders(ctx context.Context, sc Scope, mailbox MailboxID) ([]Folder, error) {
	const query = `SELECT f.id, f.name, f.uidvalidity, f.uidnext, f.modseq, f.messages FROM folders f
		WHERE f.mailbox_id = $4 AND ` + folderInScope + ` ORDER BY f.name`
	var list []Folder
	err := s.each(ctx, query, append(sc.args(), string(mailbox)), func(scan sqldb.Scan) error {
		var f Folder
		err := scan(&f.ID, &f.Name, &f.UIDValidity, &f.UIDNext, &f.ModSeq, &f.Messages)
		list = append(list, f)
		return err
	})
	return list, err
}
