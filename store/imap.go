package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// MailboxFolder is a folder of a mailbox that somebody has access to.
type MailboxFolder struct {
	Folder
	Mailbox MailboxID
	// Address is the mailbox's.
	Address string
}

// AccessibleFolders lists the folders of all mailboxes in scope, by address and name, at most limit of them.
func (s *Store) AccessibleFolders(ctx context.Context, sc Scope, limit int) ([]MailboxFolder, error) {
	const query = `SELECT m.id, m.address, f.id, f.name, f.uidvalidity, f.uidnext, f.modseq, f.messages
		FROM mailboxes m JOIN folders f ON f.mailbox_id = m.id WHERE ` + inScope + `
		ORDER BY m.address_fold, f.name LIMIT $4`
	var list []MailboxFolder
	err := s.each(ctx, query, append(sc.args(), limit), func(scan sqldb.Scan) error {
		var f MailboxFolder
		err := scan(&f.Mailbox, &f.Address, &f.ID, &f.Name, &f.UIDValidity, &f.UIDNext, &f.ModSeq, &f.Messages)
		list = append(list, f)
		return err
	})
	return list, err
}

// FolderCounters reads the counters of folders, in no set order. Those that are gone are left out.
func (s *Store) FolderCounters(ctx context.Context, ids []FolderID) ([]Folder, error) {
	values := make([]any, 0, len(ids))
	for _, id := range ids {
		values = append(values, string(id))
	}
	list := make([]Folder, 0, len(ids))
	err := chunks(values, 1, func(piece []any, n int) error {
		query := `SELECT id, uidvalidity, uidnext, modseq, messages FROM folders WHERE id IN (` + placeholders(1, n) + `)`
		return s.each(ctx, query, piece, func(scan sqldb.Scan) error {
			var f Folder
			err := scan(&f.ID, &f.UIDValidity, &f.UIDNext, &f.ModSeq, &f.Messages)
			list = append(list, f)
			return err
		})
	})
	return list, err
}

// folderMessages limits messages m to a folder, $4, that the scope has access to. The scope is looked at once, not
// for each message.
const folderMessages = ` FROM messages m WHERE m.deleted_us IS NULL AND m.folder_id = (
	SELECT f.id FROM folders f WHERE f.id = $4 AND ($1 = 1 OR f.tenant_id = $2) AND ($3 = '' OR EXISTS (
		SELECT 1 FROM mailbox_access a WHERE a.user_id = $3 AND a.mailbox_id = f.mailbox_id)))`

// FlagRow is what every IMAP session has to know of every message of its folder.
type FlagRow struct {
	UID uint32
	// Flags has a bit for each of \Seen, \Answered, \Flagged, \Deleted, \Draft, from the lowest.
	Flags  uint8
	ModSeq int64
}

// FlagNames gives IMAP's names for the bits of FlagRow.Flags.
func FlagNames(bits uint8) []string { return flagNames(int64(bits)) }

// FolderFlags yields the messages of a folder by UID, those with a UID above the first and a mod-sequence above the
// second number.
func (s *Store) FolderFlags(ctx context.Context, sc Scope, folder FolderID, aboveUID uint32, aboveModSeq int64, row func(FlagRow)) error {
	const query = `SELECT m.uid, m.flags, m.modseq` + folderMessages + ` AND m.uid > $5 AND m.modseq > $6 ORDER BY m.uid`
	return s.each(ctx, query, append(sc.args(), string(folder), int64(aboveUID), aboveModSeq), func(scan sqldb.Scan) error {
		var r FlagRow
		err := scan(&r.UID, &r.Flags, &r.ModSeq)
		row(r)
		return err
	})
}

// FolderBytes is the size of all messages of a folder together.
func (s *Store) FolderBytes(ctx context.Context, sc Scope, folder FolderID) (int64, error) {
	var sum int64
	const query = `SELECT CAST(COALESCE(SUM(m.size_bytes), 0) AS BIGINT)` + folderMessages
	err := s.get(ctx, query, append(sc.args(), string(folder)), &sum)
	return sum, err
}

// ObjectRow is what is needed to find and to describe a message's object.
type ObjectRow struct {
	UID       uint32
	ID        MessageID
	Key       string
	SizeBytes int64
	// Digest is SHA-256 in hex; Pieces are the digests of the object's pieces, if it is long.
	Digest   string
	Pieces   string
	Received time.Time
	// Sent is the message's own date; zero when it has none.
	Sent time.Time
}

const selectObjects = `SELECT m.uid, m.id, m.object_key, m.size_bytes, m.digest, m.pieces, m.received_us, m.sent_us` + folderMessages

// FolderObjects yields messages of a folder by UID: those from the first to the last UID.
func (s *Store) FolderObjects(ctx context.Context, sc Scope, folder FolderID, first, last uint32, row func(ObjectRow)) error {
	return s.objects(ctx, selectObjects+` AND m.uid >= $5 AND m.uid <= $6 ORDER BY m.uid`,
		append(sc.args(), string(folder), int64(first), int64(last)), row)
}

// FolderObjectsByUID yields messages of a folder that have one of these UIDs, which must ascend, by UID.
func (s *Store) FolderObjectsByUID(ctx context.Context, sc Scope, folder FolderID, uids []uint32, row func(ObjectRow)) error {
	values := make([]any, 0, len(uids))
	for _, uid := range uids {
		values = append(values, int64(uid))
	}
	return chunks(values, 1, func(piece []any, n int) error {
		query := selectObjects + ` AND m.uid IN (` + placeholders(5, n) + `) ORDER BY m.uid`
		return s.objects(ctx, query, append(append(sc.args(), string(folder)), piece...), row)
	})
}

// FolderSubjects yields the decoded subjects of messages of a folder by UID: those from the first to the last UID. Messages
// whose subject is empty are left out: it may be in the object alone.
func (s *Store) FolderSubjects(ctx context.Context, sc Scope, folder FolderID, first, last uint32, row func(uid uint32, subject string)) error {
	const query = `SELECT m.uid, m.subject` + folderMessages + ` AND m.uid >= $5 AND m.uid <= $6 AND m.subject <> '' ORDER BY m.uid`
	return s.each(ctx, query, append(sc.args(), string(folder), int64(first), int64(last)), func(scan sqldb.Scan) error {
		var uid uint32
		var subject string
		err := scan(&uid, &subject)
		row(uid, subject)
		return err
	})
}

func (s *Store) objects(ctx context.Context, query string, args []any, row func(ObjectRow)) error {
	return s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var r ObjectRow
		var received int64
		var sent *int64
		err := scan(&r.UID, &r.ID, &r.Key, &r.SizeBytes, &r.Digest, &r.Pieces, &received, &sent)
		r.Received, r.Sent = fromMicros(received), fromNull(sent)
		row(r)
		return err
	})
}
