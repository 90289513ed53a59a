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
	return s.edit(ctx, sc, ids, "", func(e *edit) error {
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
			e.flagged = append(e.flagged, string(m.id), flags, string(raw), e.folders[m.folder].next())
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
	return s.edit(ctx, sc, ids, folder, func(e *edit) error {
		for _, m := range e.messages {
			target := e.targets[m.mailbox]
			if target == m.folder || m.deleted {
				continue
			}
			e.expunge(m)
			e.place(m, target)
		}
		return nil
	})
}

// DeleteMessages hides messages that the scope owns, from lists, API and IMAP, until they are undeleted or purged, and
// returns how many it found.
func (s *Store) DeleteMessages(ctx context.Context, sc Scope, ids []MessageID) (int, error) {
	return s.edit(ctx, sc, ids, "", func(e *edit) error {
		for _, m := range e.messages {
			if m.deleted {
				continue
			}
			e.expunge(m)
			e.deleted = append(e.deleted, string(m.id), micros(s.now()), e.folders[m.folder].modSeq)
		}
		return nil
	})
}

// UndeleteMessages brings deleted messages back into their folders, with new UIDs, and returns how many it found.
func (s *Store) UndeleteMessages(ctx context.Context, sc Scope, ids []MessageID) (int, error) {
	return s.edit(ctx, sc, ids, "", func(e *edit) error {
		for _, m := range e.messages {
			if m.deleted {
				e.place(m, m.folder)
			}
		}
		return nil
	})
}

// edit is one change of messages under way: their folders are locked, and what is to be written is collected. Deliveries
// wait for these folders, so while they are locked there are two round trips to PostgreSQL, whatever the number of messages.
type edit struct {
	places
	tx       *sqldb.Tx
	messages []editMessage
	folders  map[FolderID]*editFolder
	// The rows of the statements below.
	expunged, flagged, placed, deleted []any
}

// places says which folders a change needs.
type places struct {
	// wanted are those in which its messages are, or were a moment ago, and the targets.
	wanted map[FolderID]bool
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
	uidNext, modSeq int64
	added           int64
	changed         bool
}

// next takes the folder's next mod-sequence.
func (f *editFolder) next() int64 {
	f.modSeq++
	f.changed = true
	return f.modSeq
}

const (
	// maxEdit bounds one change, so that it does not hold the writer for long.
	maxEdit = 1000
	// editAttempts is how often a change is begun whose messages others are moving.
	editAttempts = 4
)

// errMoved says that a message was moved to a folder that is not locked.
var errMoved = errors.New("a message has been moved")

// edit locks the folders of the messages in scope, and that of the name target when it is not empty, lets change
// work, and writes what it has collected. All of it is one transaction.
func (s *Store) edit(ctx context.Context, sc Scope, ids []MessageID, target string, change func(*edit) error) (int, error) {
	if len(ids) > maxEdit {
		return 0, fmt.Errorf("at most %d messages at once", maxEdit)
	}
	list := messageList(ids)
	p := places{wanted: map[FolderID]bool{}, targets: map[MailboxID]FolderID{}}
	for range editAttempts {
		if err := s.findPlaces(ctx, sc, list, target, p); err != nil || len(p.wanted) == 0 {
			return 0, err
		}
		n, err := s.editAt(ctx, sc, list, p, change)
		if !errors.Is(err, errMoved) {
			return n, err
		}
	}
	return 0, fmt.Errorf("%w: the messages are being moved by others", ErrUnavailable)
}

// messageList gives each id once, sorted.
func messageList(ids []MessageID) []any {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = mail.Clean(string(id), maxWord)
	}
	slices.Sort(words)
	list := make([]any, 0, len(words))
	for _, word := range slices.Compact(words) {
		list = append(list, word)
	}
	return list
}

// inOwnScope limits messages m to those that the scope owns; its arguments are those of Scope.args.
const inOwnScope = `($1 = 1 OR m.tenant_id = $2) AND ($3 = '' OR EXISTS (
	SELECT 1 FROM mailbox_access a WHERE a.user_id = $3 AND a.mailbox_id = m.mailbox_id AND a.rights = 'owner'))`

// findPlaces adds to p the folders in which the messages are now, and those of the name target. Nothing is locked meanwhile.
func (s *Store) findPlaces(ctx context.Context, sc Scope, ids []any, target string, p places) error {
	const query = `SELECT DISTINCT m.mailbox_id, m.folder_id FROM messages m WHERE ` + inOwnScope + ` AND m.id IN (%s)`
	boxes := map[MailboxID]bool{}
	err := s.eachIn(ctx, query, sc.args(), ids, func(scan sqldb.Scan) error {
		var mailbox MailboxID
		var folder FolderID
		err := scan(&mailbox, &folder)
		boxes[mailbox], p.wanted[folder] = true, true
		return err
	})
	if err != nil || target == "" {
		return err
	}
	return s.findTargets(ctx, boxes, target, p)
}

func (s *Store) findTargets(ctx context.Context, boxes map[MailboxID]bool, name string, p places) error {
	if fold(name) == fold(Inbox) {
		name = Inbox
	}
	var list []any
	for _, id := range slices.Sorted(maps.Keys(boxes)) {
		list = append(list, string(id))
	}
	const query = `SELECT mailbox_id, id FROM folders WHERE name = $1 AND mailbox_id IN (%s)`
	found := 0
	err := s.eachIn(ctx, query, []any{mail.Clean(name, maxWord)}, list, func(scan sqldb.Scan) error {
		var mailbox MailboxID
		var folder FolderID
		err := scan(&mailbox, &folder)
		p.targets[mailbox], p.wanted[folder] = folder, true
		found++
		return err
	})
	if err == nil && found < len(boxes) {
		return ErrNoFolder
	}
	return err
}

// editAt is edit when it is known which folders are wanted. errMoved when others are by now.
func (s *Store) editAt(ctx context.Context, sc Scope, ids []any, p places, change func(*edit) error) (found int, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		e := &edit{places: p, tx: tx, folders: map[FolderID]*editFolder{}}
		tx.KeepPlans()
		e.lock()
		e.read(sc, ids)
		if err := tx.Flush(ctx); err != nil {
			return err
		}
		if !e.isLocked() {
			return errMoved
		}
		found = len(e.messages)
		if err := change(e); err != nil {
			return err
		}
		e.write()
		return nil
	})
	return found, err
}

// lock locks all folders by id, the order of every transaction.
func (e *edit) lock() {
	var ids []any
	for _, id := range slices.Sorted(maps.Keys(e.wanted)) {
		ids = append(ids, string(id))
	}
	const query = `SELECT id, uidnext, modseq FROM folders WHERE id IN (%s) ORDER BY id`
	queueIn(e.tx, query, e.tx.ForUpdate(), ids, func(scan sqldb.Scan) error {
		var id FolderID
		f := &editFolder{}
		err := scan(&id, &f.uidNext, &f.modSeq)
		e.folders[id] = f
		return err
	})
}

const selectForEdit = `SELECT m.id, m.mailbox_id, m.folder_id, m.uid, m.flags, m.tags, CASE WHEN m.deleted_us IS NULL THEN 0 ELSE 1 END
	FROM messages m WHERE ` + inOwnScope + ` AND m.id IN (%s) ORDER BY m.id`

// read reads the messages after their folders are locked: a statement sees what was committed before it began.
func (e *edit) read(sc Scope, ids []any) {
	queueInAfter(e.tx, selectForEdit, "", sc.args(), ids, func(scan sqldb.Scan) error {
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

// isLocked says whether the folder of each message is locked, and its target if there are any.
func (e *edit) isLocked() bool {
	return !slices.ContainsFunc(e.messages, func(m editMessage) bool {
		return e.folders[m.folder] == nil || len(e.targets) > 0 && e.folders[e.targets[m.mailbox]] == nil
	})
}

// expunge takes a message out of its folder, as IMAP sees it.
func (e *edit) expunge(m editMessage) {
	f := e.folders[m.folder]
	f.added--
	e.expunged = append(e.expunged, string(m.folder), m.uid, f.next())
}

// place puts a message into a folder under a new UID.
func (e *edit) place(m editMessage, folder FolderID) {
	f := e.folders[folder]
	uid := f.uidNext
	f.uidNext++
	f.added++
	e.placed = append(e.placed, string(m.id), string(folder), uid, f.next(), nil)
}

var (
	insertExpunged = sqldb.Insert("expunged", sqldb.Text("folder_id"), sqldb.Integer("uid"), sqldb.Integer("modseq"))
	flagMessages   = sqldb.Update("messages", sqldb.Integer("flags"), sqldb.Text("tags"), sqldb.Integer("modseq"))
	placeMessages  = sqldb.Update("messages",
		sqldb.Text("folder_id"), sqldb.Integer("uid"), sqldb.Integer("modseq"), sqldb.Integer("deleted_us"))
	deleteMessages = sqldb.Update("messages", sqldb.Integer("deleted_us"), sqldb.Integer("modseq"))
)

// write queues what was collected, and the folders' counters: they go with the commit.
func (e *edit) write() {
	e.tx.QueueMany(insertExpunged, e.expunged)
	e.tx.QueueMany(flagMessages, e.flagged)
	e.tx.QueueMany(placeMessages, e.placed)
	e.tx.QueueMany(deleteMessages, e.deleted)
	var counters []any
	for _, id := range slices.Sorted(maps.Keys(e.folders)) {
		if f := e.folders[id]; f.changed {
			counters = append(counters, string(id), f.uidNext, f.modSeq, f.added)
		}
	}
	e.tx.QueueMany(countFolders, counters)
}
