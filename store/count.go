package store

import (
	"context"
	"errors"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// Miscount is a set of counters that differs from what it counts.
type Miscount struct {
	// Noun is "tenant", "mailbox" or "folder".
	Noun string
	ID   string
	// Name is for people.
	Name string
	// Has and Want are, in this order, of a tenant: bytes; of a mailbox: bytes, messages; of a folder: messages, the
	// least possible UIDNEXT, the least possible mod-sequence (the latter two may be higher).
	Has, Want []int64
}

// Counted is one page of counters that were compared.
type Counted struct {
	// Seen is how many were compared; 0 is the end. Last is where the next page begins.
	Seen int
	Last string
	Bad  []Miscount
}

// counters is how the counters of a noun are read, compared and mended.
type counters struct {
	noun string
	// page has $1 for the last id and $2 for the number of rows. It gives id, name, what is there and what should be
	// there, width numbers each, from one moment.
	page  string
	width int
	// atLeast is the index of the first number that may be higher than counted.
	atLeast int
	// update has, before the id, what is missing of each number below atLeast, and the least that the others may be.
	update string
}

// Messages are found by their folder: no index has their mailbox.
const (
	tenantCounters = `SELECT t.id, t.name, t.used_bytes,
		(SELECT CAST(COALESCE(SUM(m.used_bytes), 0) AS BIGINT) FROM mailboxes m WHERE m.tenant_id = t.id) FROM tenants t`
	mailboxCounters = `SELECT m.id, m.address, m.used_bytes, m.messages,
		(SELECT CAST(COALESCE(SUM(x.size_bytes), 0) AS BIGINT) FROM folders f JOIN messages x ON x.folder_id = f.id WHERE f.mailbox_id = m.id),
		(SELECT COUNT(*) FROM folders f JOIN messages x ON x.folder_id = f.id WHERE f.mailbox_id = m.id) FROM mailboxes m`
	folderCounters = `SELECT f.id, b.address || '/' || f.name, f.messages, f.uidnext, f.modseq,
		(SELECT COUNT(*) FROM messages x WHERE x.folder_id = f.id AND x.deleted_us IS NULL),
		1 + (SELECT COALESCE(MAX(u.n), 0) FROM (SELECT MAX(x.uid) AS n FROM messages x WHERE x.folder_id = f.id
			UNION ALL SELECT MAX(e.uid) AS n FROM expunged e WHERE e.folder_id = f.id) u),
		(SELECT COALESCE(MAX(u.n), 0) FROM (SELECT MAX(x.modseq) AS n FROM messages x WHERE x.folder_id = f.id
			UNION ALL SELECT MAX(e.modseq) AS n FROM expunged e WHERE e.folder_id = f.id) u)
		FROM folders f JOIN mailboxes b ON b.id = f.mailbox_id`
)

// counted are all counters, in the order in which they are mended: a tenant's are the sum of its mailboxes'.
var counted = [...]counters{
	{
		noun: "folder", width: 3, atLeast: 1,
		page: folderCounters + ` WHERE f.id > $1 ORDER BY f.id LIMIT $2`,
		update: `UPDATE folders SET messages = messages + $1, uidnext = CASE WHEN uidnext < $2 THEN $2 ELSE uidnext END,
			modseq = CASE WHEN modseq < $3 THEN $3 ELSE modseq END + 1 WHERE id = $4`,
	},
	{
		noun: "mailbox", width: 2, atLeast: 2,
		page:   mailboxCounters + ` WHERE m.id > $1 ORDER BY m.id LIMIT $2`,
		update: `UPDATE mailboxes SET used_bytes = used_bytes + $1, messages = messages + $2 WHERE id = $3`,
	},
	{
		noun: "tenant", width: 1, atLeast: 1,
		page:   tenantCounters + ` WHERE t.id > $1 ORDER BY t.id LIMIT $2`,
		update: `UPDATE tenants SET used_bytes = used_bytes + $1 WHERE id = $2`,
	},
}

// countTimeout bounds the counting of a page, all of whose messages are read: three million that are nowhere in memory
// take a good disk ten minutes.
const countTimeout = time.Hour

// CountedNouns are those that have counters, in the order in which they are to be mended.
func CountedNouns() []string {
	var nouns []string
	for _, c := range counted {
		nouns = append(nouns, c.noun)
	}
	return nouns
}

func countersOf(noun string) counters {
	for _, c := range counted {
		if c.noun == noun {
			return c
		}
	}
	return counters{}
}

// CountersAfter compares a page of counters, by id, with what they count. It locks nothing, and mail does not wait for its connection: what takes longer than a
// statement may is begun anew on one of its own. But as long as it counts, PostgreSQL keeps all versions of rows that others change: pages should
// not take long.
func (s *Store) CountersAfter(ctx context.Context, noun, after string, limit int) (Counted, error) {
	c, page, args := countersOf(noun), Counted{}, []any{after, limit}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	row := func(scan sqldb.Scan) error {
		m, err := c.scan(scan)
		page.Seen++
		page.Last = m.ID
		if err == nil && c.isBad(m) {
			page.Bad = append(page.Bad, m)
		}
		return err
	}
	err := s.db.Each(Patient(ctx), c.page, args, row)
	if errors.Is(err, sqldb.ErrUnavailable) && ctx.Err() == nil {
		page = Counted{}
		err = s.db.EachWithin(ctx, countTimeout, c.page, args, row)
	}
	return page, err
}

// MendCounters mends what CountersAfter found, once, before the next noun is counted. Nothing is counted here: whoever adds or removes messages changes the
// counters by as much in the same transaction, so that what was missing of them at the moment of counting is missing still. The row is
// locked for a commit only, and deliveries to it go on, however many messages there are. ErrNotHolder when holder has lost the sweep's lease: another
// one may have mended the same.
func (s *Store) MendCounters(ctx context.Context, holder string, m Miscount) error {
	c := countersOf(m.Noun)
	args := make([]any, 0, c.width+1)
	for i, want := range m.Want {
		if i < c.atLeast {
			want -= m.Has[i]
		}
		args = append(args, want)
	}
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := holdSweep(ctx, tx, holder); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, c.update, append(args, m.ID)...)
		return err
	})
}

func (c counters) scan(scan sqldb.Scan) (Miscount, error) {
	m := Miscount{Noun: c.noun, Has: make([]int64, c.width), Want: make([]int64, c.width)}
	dest := []any{&m.ID, &m.Name}
	for i := range m.Has {
		dest = append(dest, &m.Has[i])
	}
	for i := range m.Want {
		dest = append(dest, &m.Want[i])
	}
	return m, scan(dest...)
}

func (c counters) isBad(m Miscount) bool {
	for i := range m.Has {
		if m.Has[i] < m.Want[i] || i < c.atLeast && m.Has[i] != m.Want[i] {
			return true
		}
	}
	return false
}

// Totals are the sums of all mailboxes' counters.
type Totals struct{ Tenants, Mailboxes, Messages, Bytes int64 }

// Totals reads them.
func (s *Store) Totals(ctx context.Context) (Totals, error) {
	const query = `SELECT (SELECT COUNT(*) FROM tenants WHERE name_fold <> $1), COUNT(*), CAST(COALESCE(SUM(messages), 0) AS BIGINT),
		CAST(COALESCE(SUM(used_bytes), 0) AS BIGINT) FROM mailboxes`
	var t Totals
	err := s.get(ctx, query, []any{TenantSystem}, &t.Tenants, &t.Mailboxes, &t.Messages, &t.Bytes)
	return t, err
}

// MessagesOf is how many messages a mailbox has, as its counter says; 0 when there is no such mailbox.
func (s *Store) MessagesOf(ctx context.Context, mailbox MailboxID) (n int64, err error) {
	err = s.get(ctx, `SELECT messages FROM mailboxes WHERE id = $1`, []any{string(mailbox)}, &n)
	if errors.Is(err, ErrNotFound) {
		err = nil
	}
	return n, err
}

// HasMessages says whether there is any row of a message.
func (s *Store) HasMessages(ctx context.Context) (bool, error) {
	var id string
	err := s.get(ctx, `SELECT id FROM messages ORDER BY id LIMIT 1`, nil, &id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
