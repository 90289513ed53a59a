package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// ErrNoFolder says that the mailbox has no folder of that name.
var ErrNoFolder = errors.New("no such folder")

// Change says what to do to the flags and tags of messages. A name in both lists of a pair is added.
type Change struct {
	// AddFlags and RemoveFlags are IMAP system flags, such as \Seen; others are refused.
	AddFlags, RemoveFlags []string
	AddTags, RemoveTags   []string
}

// ChangeMessages changes flags and tags of the messages that the scope owns, and returns how many it found. Each
// changed message gets a new mod-sequence (RFC 7162), so that IMAP clients notice.
func (s *Store) ChangeMessages(ctx context.Context, sc Scope, ids []MessageID, c Change) (int, error) {
	set, err := flagBits(c.AddFlags)
	clear, err2 := flagBits(c.RemoveFlags)
	if err := errors.Join(err, err2); err != nil {
		return 0, err
	}
	add, remove := mail.CleanTags(c.AddTags), mail.CleanTags(c.RemoveTags)
	return s.edit(ctx, sc, ids, "", func(ctx context.Context, e *edit) error {
		for _, m := range e.messages {
			if m.deleted {
				continue
			}
			flags, tags := m.flags&^clear|set, changeTags(m.tags, add, remove)
			if flags == m.flags && slices.Equal(tags, m.tags) {
				continue
			}
			raw, err := json.Marshal(nonNil(tags))
			if err != nil {
				return fmt.Errorf("encode tags: %w", err)
			}
			const query = `UPDATE messages SET flags = $1, tags = $2, modseq = $3 WHERE id = $4`
			if _, err := e.tx.Exec(ctx, query, flags, string(raw), e.folders[m.folder].next(), string(m.id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// changeTags keeps the order of what was there.
func changeTags(tags, add, remove []string) []string {
	var changed []string
	for _, t := range slices.Concat(tags, add) {
		if !slices.Contains(changed, t) && (slices.Contains(add, t) || !slices.Contains(remove, t)) {
			changed = append(changed, t)
		}
	}
	return changed
}

func flagBits(names []string) (int64, error) {
	var bits int64
	for _, name := range names {
		i := slices.Index(imapFlags[:], name)
		if i < 0 {
			return 0, fmt.Errorf("unknown flag %q: use %v", mail.Clean(name, 40), imapFlags)
		}
		bits |= 1 << i
	}
	return bits, nil
}

// MoveMessages moves messages that the scope owns to a folder of their own mailbox, where each gets a new UID, and
// returns how many it found. ErrNoFolder when a mailbox has no such folder; then nothing is moved.
func (s *Store) MoveMessages(ctx context.Context, sc Scope, ids []MessageID, folder string) (int, error) {
	return s.edit(ctx, sc, ids, folder, func(ctx context.Context, e *edit) error {
		for _, m := range e.messages {
			target := e.targets[m.mailbox]
			if target == m.folder || m.deleted {
				continue
			}
			if err := e.expunge(ctx, m); err != nil {
				return err
			}
			if err := e.place(ctx, m, target); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteMessages hides messages that the scope owns, from lists, API and IMAP, until they are undeleted or purged, and
// returns how many it found.
func (s *Store) DeleteMessages(ctx context.Context, sc Scope, ids []MessageID) (int, error) {
	return s.edit(ctx, sc, ids, "", func(ctx context.Context, e *edit) error {
		for _, m := range e.messages {
			if m.deleted {
				continue
			}
			if err := e.expunge(ctx, m); err != nil {
				return err
			}
			const query = `UPDATE messages SET deleted_us = $1, modseq = $2 WHERE id = $3`
			if _, err := e.tx.Exec(ctx, query, micros(s.now()), e.folders[m.folder].modSeq, string(m.id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// UndeleteMessages brings deleted messages back into their folders, with new UIDs, and returns how many it found.
func (s *Store) UndeleteMessages(ctx context.Context, sc Scope, ids []MessageID) (int, error) {
	return s.edit(ctx, sc, ids, "", func(ctx context.Context, e *edit) error {
		for _, m := range e.messages {
			if !m.deleted {
				continue
			}
			if err := e.place(ctx, m, m.folder); err != nil {
				return err
			}
		}
		return nil
	})
}

// edit is one change of messages under way: their folders are locked.
type edit struct {
	tx       *sqldb.Tx
	messages []editMessage
	folders  map[FolderID]*editFolder
	// targets is the folder of the wanted name in each mailbox.
	targets map[MailboxID]FolderID
}

type editMessage struct {
	id      MessageID
	mailbox MailboxID
	folder  FolderID
	uid     int64
	flags   int64
	tags    []string
	deleted bool
}

type editFolder struct {
	uidNext, modSeq, messages int64
	changed                   bool
}

// next takes the folder's next mod-sequence.
func (f *editFolder) next() int64 {
	f.modSeq++
	f.changed = true
	return f.modSeq
}

// maxEdit bounds one change, so that it does not hold the writer for long.
const maxEdit = 1000

// edit locks the folders of the messages in scope, and that of the name target when it is not empty, lets change
// work, and writes the folders' counters.
func (s *Store) edit(ctx context.Context, sc Scope, ids []MessageID, target string, change func(context.Context, *edit) error) (int, error) {
	if len(ids) > maxEdit {
		return 0, fmt.Errorf("at most %d messages at once", maxEdit)
	}
	found := 0
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		e := &edit{tx: tx, folders: map[FolderID]*editFolder{}, targets: map[MailboxID]FolderID{}}
		if err := e.open(ctx, sc, ids, target); err != nil {
			return err
		}
		found = len(e.messages)
		if err := change(ctx, e); err != nil {
			return err
		}
		return e.count(ctx)
	})
	return found, err
}

// open reads the messages, locks their folders, and reads them again: they may have moved in between.
func (e *edit) open(ctx context.Context, sc Scope, ids []MessageID, target string) error {
	for range 3 {
		if err := e.read(ctx, sc, ids); err != nil {
			return err
		}
		if e.isLocked() && (target == "" || len(e.targets) > 0 || len(e.messages) == 0) {
			return nil
		}
		if err := e.findTargets(ctx, target); err != nil {
			return err
		}
		if err := e.lock(ctx); err != nil {
			return err
		}
	}
	if err := e.read(ctx, sc, ids); err != nil || e.isLocked() {
		return err
	}
	return fmt.Errorf("%w: the messages are being moved by others", ErrUnavailable)
}

const selectForEdit = `SELECT m.id, m.mailbox_id, m.folder_id, m.uid, m.flags, m.tags, CASE WHEN m.deleted_us IS NULL THEN 0 ELSE 1 END
	FROM messages m WHERE ($1 = 1 OR m.tenant_id = $2) AND ($3 = '' OR EXISTS (
		SELECT 1 FROM mailbox_access a WHERE a.user_id = $3 AND a.mailbox_id = m.mailbox_id AND a.rights = 'owner'))
	AND m.id IN (%s) ORDER BY m.id`

func (e *edit) read(ctx context.Context, sc Scope, ids []MessageID) error {
	e.messages = nil
	list := make([]any, 0, len(ids))
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		list = append(list, mail.Clean(string(id), maxWord))
	}
	return eachInAfter(ctx, e.tx, selectForEdit, sc.args(), list, func(scan sqldb.Scan) error {
		var m editMessage
		var tags string
		var deleted int
		if err := scan(&m.id, &m.mailbox, &m.folder, &m.uid, &m.flags, &tags, &deleted); err != nil {
			return err
		}
		m.deleted = deleted == 1
		e.messages = append(e.messages, m)
		return json.Unmarshal([]byte(tags), &e.messages[len(e.messages)-1].tags)
	})
}

func (e *edit) isLocked() bool {
	return !slices.ContainsFunc(e.messages, func(m editMessage) bool { return e.folders[m.folder] == nil })
}

func (e *edit) findTargets(ctx context.Context, name string) error {
	if name == "" {
		return nil
	}
	if fold(name) == fold(Inbox) {
		name = Inbox
	}
	for _, m := range e.messages {
		if e.targets[m.mailbox] != "" {
			continue
		}
		var id FolderID
		const query = `SELECT id FROM folders WHERE mailbox_id = $1 AND name = $2`
		err := e.tx.Get(ctx, query, []any{string(m.mailbox), mail.Clean(name, maxWord)}, &id)
		if errors.Is(err, sqldb.ErrNoRows) {
			return ErrNoFolder
		}
		if err != nil {
			return err
		}
		e.targets[m.mailbox] = id
	}
	return nil
}

// lock locks all folders by id, the order of every transaction.
func (e *edit) lock(ctx context.Context) error {
	wanted := map[string]bool{}
	for _, m := range e.messages {
		wanted[string(m.folder)] = true
	}
	for _, id := range e.targets {
		wanted[string(id)] = true
	}
	var ids []any
	for _, id := range slices.Sorted(maps.Keys(wanted)) {
		ids = append(ids, id)
	}
	query := `SELECT id, uidnext, modseq, messages FROM folders WHERE id IN (%s) ORDER BY id` + e.tx.ForUpdate()
	return eachIn(ctx, e.tx, query, ids, func(scan sqldb.Scan) error {
		var id FolderID
		f := &editFolder{}
		err := scan(&id, &f.uidNext, &f.modSeq, &f.messages)
		e.folders[id] = f
		return err
	})
}

// expunge takes a message out of its folder, as IMAP sees it.
func (e *edit) expunge(ctx context.Context, m editMessage) error {
	f := e.folders[m.folder]
	f.messages--
	const query = `INSERT INTO expunged (folder_id, uid, modseq) VALUES ($1, $2, $3)`
	_, err := e.tx.Exec(ctx, query, string(m.folder), m.uid, f.next())
	return err
}

// place puts a message into a folder under a new UID.
func (e *edit) place(ctx context.Context, m editMessage, folder FolderID) error {
	f := e.folders[folder]
	uid := f.uidNext
	f.uidNext++
	f.messages++
	const query = `UPDATE messages SET folder_id = $1, uid = $2, modseq = $3, deleted_us = NULL WHERE id = $4`
	_, err := e.tx.Exec(ctx, query, string(folder), uid, f.next(), string(m.id))
	return err
}

// count writes the folders' counters.
func (e *edit) count(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(e.folders)) {
		f := e.folders[id]
		if !f.changed {
			continue
		}
		const query = `UPDATE folders SET uidnext = $1, modseq = $2, messages = $3 WHERE id = $4`
		if _, err := e.tx.Exec(ctx, query, f.uidNext, f.modSeq, f.messages, string(id)); err != nil {
			return err
		}
	}
	return nil
}
