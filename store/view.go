package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// Entry is a message as an IMAP folder view needs it.
type Entry struct {
	UID       uint32
	ID        MessageID
	ModSeq    int64
	Flags     []string
	SizeBytes int64
	Received  time.Time
}

const selectEntries = `SELECT m.uid, m.id, m.modseq, m.flags, m.size_bytes, m.received_us FROM messages m
	WHERE m.deleted_us IS NULL AND ($1 = 1 OR m.tenant_id = $2) AND ($3 = '' OR EXISTS (
		SELECT 1 FROM mailbox_access a WHERE a.user_id = $3 AND a.mailbox_id = m.mailbox_id))
	AND m.folder_id = $4`

func (s *Store) entries(ctx context.Context, query string, args []any) ([]Entry, error) {
	var list []Entry
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var e Entry
		var flags, received int64
		err := scan(&e.UID, &e.ID, &e.ModSeq, &flags, &e.SizeBytes, &received)
		e.Flags, e.Received = flagNames(flags), fromMicros(received)
		list = append(list, e)
		return err
	})
	return list, err
}

// Entries lists the messages of a folder by UID, those above the given one, at most limit of them.
func (s *Store) Entries(ctx context.Context, sc Scope, folder FolderID, above uint32, limit int) ([]Entry, error) {
	return s.entries(ctx, selectEntries+` AND m.uid > $5 ORDER BY m.uid LIMIT $6`,
		append(sc.args(), string(folder), int64(above), limit))
}

// ChangedSince lists the messages of a folder whose mod-sequence is above the given one, by UID.
func (s *Store) ChangedSince(ctx context.Context, sc Scope, folder FolderID, modSeq int64) ([]Entry, error) {
	return s.entries(ctx, selectEntries+` AND m.modseq > $5 ORDER BY m.uid`, append(sc.args(), string(folder), modSeq))
}

// ExpungedSince lists the UIDs that left a folder at a mod-sequence above the given one, ascending. None for a folder
// that the scope hides.
func (s *Store) ExpungedSince(ctx context.Context, sc Scope, folder FolderID, modSeq int64) ([]uint32, error) {
	var uids []uint32
	const query = `SELECT uid FROM expunged WHERE modseq > $5
		AND folder_id = (SELECT f.id FROM folders f WHERE f.id = $4 AND ` + folderInScope + `) ORDER BY uid`
	err := s.each(ctx, query, append(sc.args(), string(folder), modSeq), func(scan sqldb.Scan) error {
		var uid uint32
		err := scan(&uid)
		uids = append(uids, uid)
		return err
	})
	return uids, err
}

// FolderByID reads a folder's counters, in one cheap query. ErrNotFound, also for what the scope hides.
func (s *Store) FolderByID(ctx context.Context, sc Scope, id FolderID) (*Folder, error) {
	const query = `SELECT f.id, f.name, f.uidvalidity, f.uidnext, f.modseq, f.messages FROM folders f WHERE f.id = $4 AND ` + folderInScope
	var f Folder
	err := s.get(ctx, query, append(sc.args(), string(id)), &f.ID, &f.Name, &f.UIDValidity, &f.UIDNext, &f.ModSeq, &f.Messages)
	if err != nil {
		return nil, err
	}
	return &f, nil
}

// MessagesByUID reads the index rows of messages of a folder with these UIDs, by UID. What is gone is left out.
func (s *Store) MessagesByUID(ctx context.Context, sc Scope, folder FolderID, uids []uint32) ([]Message, error) {
	var list []Message
	values := make([]any, 0, len(uids))
	for _, uid := range uids {
		values = append(values, int64(uid))
	}
	err := chunks(values, 1, func(piece []any, n int) error {
		args := append(append(sc.args(), string(folder)), piece...)
		query := selectMessages + ` AND m.deleted_us IS NULL AND m.folder_id = $4 AND m.uid IN (` + placeholders(5, n) + `) ORDER BY m.uid`
		return s.each(ctx, query, args, func(scan sqldb.Scan) error {
			m, err := scanMessage(scan)
			list = append(list, m)
			return err
		})
	})
	return list, err
}
