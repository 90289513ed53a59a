package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// Message is the index row of a message.
type Message struct {
	ID             MessageID
	Tenant         TenantID
	Mailbox        MailboxID
	MailboxAddress string
	Folder         FolderID
	FolderName     string
	UID            uint32
	ModSeq         int64
	// Key, SizeBytes and Digest (SHA-256, hex) describe the object, Pieces the digests of its pieces, if it is long.
	Key       string
	SizeBytes int64
	Digest    string
	Pieces    string
	Received  time.Time

	// What the message says of itself.
	Subject         string
	From            []mail.Person
	ReplyTo         []mail.Person
	To              []mail.Person
	Cc              []mail.Person
	Date            time.Time // zero when missing
	HeaderMessageID string
	InReplyTo       string
	Preview         string
	HasAttachments  bool
	// Parts locate the MIME entities in the object.
	Parts   []mail.Part
	Defects []string
	// Omitted says that subject, preview and names of files are not in the index: they are empty, and in the object.
	Omitted bool

	// What SMTP and the milter said.
	EnvelopeFrom, EnvelopeRcpt string
	QueueID, QueueHost         string
	Verdict                    string
	Score                      float64
	Tags                       []string
	// Flags are IMAP's names, such as \Seen.
	Flags []string
}

const selectMessages = `SELECT m.id, m.tenant_id, m.mailbox_id, b.address, m.folder_id, f.name, m.uid, m.modseq,
	m.object_key, m.size_bytes, m.digest, m.pieces, m.received_us, m.sent_us, m.subject, m.preview, m.summary, m.has_attachments,
	m.envelope_from, m.envelope_rcpt, m.queue_id, m.queue_host, m.verdict, m.score_milli, m.tags, m.flags
	FROM messages m JOIN mailboxes b ON b.id = m.mailbox_id JOIN folders f ON f.id = m.folder_id
	WHERE ($1 = 1 OR m.tenant_id = $2) AND ($3 = '' OR EXISTS (
		SELECT 1 FROM mailbox_access a WHERE a.user_id = $3 AND a.mailbox_id = m.mailbox_id))`

func scanMessage(scan sqldb.Scan) (Message, error) {
	var m Message
	var received, attachments, score, flags int64
	var sent *int64
	var summary, tags string
	err := scan(&m.ID, &m.Tenant, &m.Mailbox, &m.MailboxAddress, &m.Folder, &m.FolderName, &m.UID, &m.ModSeq,
		&m.Key, &m.SizeBytes, &m.Digest, &m.Pieces, &received, &sent, &m.Subject, &m.Preview, &summary, &attachments,
		&m.EnvelopeFrom, &m.EnvelopeRcpt, &m.QueueID, &m.QueueHost, &m.Verdict, &score, &tags, &flags)
	if err != nil {
		return m, err
	}
	more, err := decodeSummary(summary)
	if err != nil {
		return m, fmt.Errorf("message %s: %w", m.ID, err)
	}
	if err := json.Unmarshal([]byte(tags), &m.Tags); err != nil {
		return m, fmt.Errorf("message %s: decode tags: %w", m.ID, err)
	}
	m.From, m.ReplyTo, m.To, m.Cc = more.From, more.ReplyTo, more.To, more.Cc
	m.HeaderMessageID, m.InReplyTo, m.Parts, m.Defects = more.MessageID, more.InReplyTo, more.Parts, more.Defects
	m.Omitted = more.Omitted
	m.Received, m.Date = fromMicros(received), fromNull(sent)
	m.HasAttachments, m.Score, m.Flags = attachments == 1, float64(score)/1000, flagNames(flags)
	return m, nil
}

// imapFlags are the system flags (RFC 9051, 2.3.2), by bit.
var imapFlags = [...]string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`}

func flagNames(bits int64) []string {
	names := []string{}
	for i, name := range imapFlags {
		if bits&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// Message finds a message. ErrNotFound, also for one that is deleted and one that the scope hides.
func (s *Store) Message(ctx context.Context, sc Scope, id MessageID) (*Message, error) {
	var found *Message
	args := append(sc.args(), mail.Clean(string(id), maxWord))
	err := s.each(ctx, selectMessages+` AND m.deleted_us IS NULL AND m.id = $4`, args, func(scan sqldb.Scan) error {
		m, err := scanMessage(scan)
		found = &m
		return err
	})
	if err == nil && found == nil {
		err = ErrNotFound
	}
	return found, err
}

// MessageFilter says which messages of a mailbox to list.
type MessageFilter struct {
	Mailbox MailboxID
	// Folder is a folder's name; empty means all.
	Folder string
	// Before continues a list: messages older than this one; empty means from the newest.
	Before MessageID
	Limit  int
	// Deleted lists the deleted messages instead of those that are not.
	Deleted bool
}

// Messages lists messages of a mailbox, newest first. An unknown mailbox or folder gives an empty list. Those of a whole mailbox are read by
// one statement, so that a message which is moved from folder to folder meanwhile is in the list once.
func (s *Store) Messages(ctx context.Context, sc Scope, f MessageFilter) ([]Message, error) {
	before := mail.Clean(string(f.Before), maxWord)
	if before == "" {
		before = "~" // sorts after every UUID
	}
	if f.Folder == "" {
		return s.list(ctx, listMailbox(f.Deleted), append(sc.args(), string(f.Mailbox), before, f.Limit))
	}
	folders, err := s.folders(ctx, sc, f.Mailbox)
	if err != nil {
		return nil, err
	}
	name := f.Folder
	if fold(name) == fold(Inbox) {
		name = Inbox
	}
	i := slices.IndexFunc(folders, func(f Folder) bool { return f.Name == name })
	if i < 0 {
		return nil, nil
	}
	return s.list(ctx, listFolder(f.Deleted), append(sc.args(), string(folders[i].ID), before, f.Limit))
}

func (s *Store) list(ctx context.Context, query string, args []any) ([]Message, error) {
	var list []Message
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		m, err := scanMessage(scan)
		list = append(list, m)
		return err
	})
	return list, err
}

func listFolder(deleted bool) string {
	state := ` AND m.deleted_us IS NULL`
	if deleted {
		state = ` AND m.deleted_us IS NOT NULL`
	}
	return selectMessages + state + ` AND m.folder_id = $4 AND m.id < $5 ORDER BY m.id DESC LIMIT $6`
}

// listMailbox goes down each folder of a mailbox, from the newest message to the next, as far as the list can be long: an index by mailbox,
// for this alone, would cost each delivery.
//
// Each next message is found by the index of folder and id. Were it "folder_id = ... ORDER BY id", PostgreSQL would go down the ids of all
// folders, where there are few, and to their end for an empty one. IS NULL it takes for rare where it has no statistics yet, as after a restore,
// and would read a folder to its end each time; of the comparison it thinks that it is nearly always true. SQLite compares w.id by the index
// only if it is an expression.
func listMailbox(deleted bool) string {
	state := `CASE WHEN x.deleted_us IS NULL THEN 1 ELSE 0 END <> 0`
	if deleted {
		state = `x.deleted_us IS NOT NULL`
	}
	next := func(folder, before string) string {
		return `(SELECT x.id FROM messages x WHERE x.folder_id >= ` + folder + ` AND (x.folder_id, x.id) < (` + folder + `, ` + before + `)
			AND ` + state + ` ORDER BY x.folder_id DESC, x.id DESC LIMIT 1)`
	}
	return `WITH RECURSIVE newest (folder_id, id, n) AS (
		SELECT f.id, ` + next(`f.id`, `$5`) + `, 1 FROM folders f WHERE f.mailbox_id = $4 AND ` + folderInScope + `
		UNION ALL SELECT w.folder_id, ` + next(`w.folder_id`, `w.id || ''`) + `, w.n + 1 FROM newest w WHERE w.id IS NOT NULL AND w.n < $6
	) ` + selectMessages + ` AND m.id IN (SELECT w.id FROM newest w WHERE w.id IS NOT NULL ORDER BY w.id DESC LIMIT $6) ORDER BY m.id DESC`
}
