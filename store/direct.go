package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// A batch of which nothing is in doubt needs no reading before it writes. Nearly all are such: the tenants are active,
// nobody is over quota, the folders are there and no message came before. PostgreSQL then gets one statement that counts and
// stores, and does nothing when one of that is not so; the batch is then decided copy by copy.

const (
	// knownFolderTime is for how long a folder's id is remembered. It bounds memory only: the statement looks.
	knownFolderTime = time.Hour
	knownFolderSize = 20_000
)

var (
	directTenants   = []sqldb.Column{sqldb.Text("id"), sqldb.Integer("bytes")}
	directMailboxes = []sqldb.Column{sqldb.Text("id"), sqldb.Text("tenant_id"), sqldb.Integer("bytes"), sqldb.Integer("n")}
	directFolders   = []sqldb.Column{
		sqldb.Text("id"), sqldb.Text("mailbox_id"), sqldb.Text("name"), sqldb.Integer("n"), sqldb.Integer("place"),
	}
	directMessages = append([]sqldb.Column{sqldb.Text("folder_id"), sqldb.Integer("place"), sqldb.Integer("behind")}, rowColumns...)
)

// insertion counts tenants, mailboxes and folders, in this order; a stage in which a row is not as it should be stops those
// after it. Every batch takes tenants first, and PostgreSQL meets tenants and folders by id in every plan that was seen, so that neither
// batches nor what else locks folders wait for each other in a circle. A message's place is that of its folder, and behind is how many of the batch
// come from it on in the folder. The look for an earlier delivery is no join, which PostgreSQL might make by reading all there are.
//
// table gives the rows of the columns whose first parameter is $first, and count how many there are.
func insertion(table func(first int, columns []sqldb.Column) string, count func(parameter int) string) string {
	return `WITH t AS (
	UPDATE tenants x SET used_bytes = x.used_bytes + v.bytes FROM ` + table(1, directTenants) + `
	WHERE x.id = v.id AND x.state = '` + tenantActive + `' AND (x.quota_bytes <= 0 OR x.used_bytes + v.bytes <= x.quota_bytes)
	RETURNING 1
), m AS (
	UPDATE mailboxes x SET used_bytes = x.used_bytes + v.bytes, messages = x.messages + v.n FROM ` + table(3, directMailboxes) + `
	WHERE x.id = v.id AND x.tenant_id = v.tenant_id AND (x.quota_bytes <= 0 OR x.used_bytes + v.bytes <= x.quota_bytes)
		AND (SELECT COUNT(*) FROM t) = ` + count(1) + `
	RETURNING 1
), f AS (
	UPDATE folders x SET uidnext = x.uidnext + v.n, modseq = x.modseq + v.n, messages = x.messages + v.n
	FROM ` + table(7, directFolders) + `
	WHERE x.id = v.id AND x.mailbox_id = v.mailbox_id AND x.name = v.name AND (SELECT COUNT(*) FROM m) = ` + count(3) + `
	RETURNING v.place, x.uidnext, x.modseq
), u AS (
	SELECT ARRAY_AGG(uidnext ORDER BY place) AS uidnext, ARRAY_AGG(modseq ORDER BY place) AS modseq
	FROM f HAVING COUNT(*) = ` + count(7) + `
)
INSERT INTO messages (folder_id, uid, modseq, ` + sqldb.Names("", rowColumns) + `)
SELECT v.folder_id, (SELECT uidnext FROM u)[v.place] - v.behind, (SELECT modseq FROM u)[v.place] - v.behind + 1, ` + sqldb.Names("v.", rowColumns) + `
FROM ` + table(12, directMessages) + `
WHERE EXISTS (SELECT 1 FROM u) AND (SELECT 1 FROM messages d WHERE d.delivery_id = v.delivery_id) IS NULL`
}

var (
	insertDirectly = insertion(sqldb.Unnest, func(parameter int) string { return fmt.Sprintf("CARDINALITY($%d)", parameter) })
	// insertOne is for a batch of one message, which is most of them where few come: without joins it takes PostgreSQL less.
	insertOne = insertion(sqldb.Row, func(int) string { return "1" })
)

// errInDoubt says that a batch is to be decided copy by copy; nothing of it was stored.
var errInDoubt = errors.New("batch cannot be stored directly")

// directBatch is one statement for all copies of a batch.
type directBatch struct {
	rows  []row
	query string
	args  []any

	tenants   map[TenantID]int64
	mailboxes map[MailboxID]*directMailbox
	folders   map[FolderID]*directFolder
}

type directMailbox struct {
	tenant   TenantID
	bytes, n int64
}

type directFolder struct {
	key      folderKey
	n, place int64
}

// newDirectBatch adds up what the rows need. It is nil when the statement would surely not store all of them, or when the id of a
// folder is not known.
func (s *Store) newDirectBatch(rows []row) *directBatch {
	d := &directBatch{rows: rows, tenants: map[TenantID]int64{}, mailboxes: map[MailboxID]*directMailbox{}, folders: map[FolderID]*directFolder{}}
	seen := map[string]bool{}
	for i := range rows {
		r := &rows[i]
		key := folderKey{r.Target.Mailbox, r.Folder}
		folder, known := s.folderIDs.get(key)
		if !known || r.Recovered || seen[r.DeliveryID] {
			return nil
		}
		seen[r.DeliveryID] = r.DeliveryID != ""
		if d.mailboxes[r.Target.Mailbox] == nil {
			d.mailboxes[r.Target.Mailbox] = &directMailbox{tenant: r.Target.Tenant}
		}
		if d.folders[folder] == nil {
			d.folders[folder] = &directFolder{key: key}
		}
		m, size := d.mailboxes[r.Target.Mailbox], r.Content.SizeBytes
		if m.tenant != r.Target.Tenant || d.folders[folder].key != key || size <= 0 {
			return nil
		}
		d.tenants[r.Target.Tenant] += size
		m.bytes += size
		m.n++
		d.folders[folder].n++
		r.folder = folder
	}
	d.query, d.args = d.statement()
	return d
}

// store runs the statement. errInDoubt wants the transaction rolled back.
func (d *directBatch) store(ctx context.Context, tx *sqldb.Tx) error {
	tx.KeepPlans()
	n, err := tx.Exec(ctx, d.query, d.args...)
	switch {
	case errors.Is(err, sqldb.ErrConflict) || errors.Is(err, sqldb.ErrData):
		return errors.Join(errInDoubt, err) // another node was faster, or one of the messages is poisoned
	case err == nil && n != int64(len(d.rows)):
		return errInDoubt
	}
	return err
}

// statement gives the query with its arguments; it counts the folders down.
func (d *directBatch) statement() (query string, args []any) {
	var tenants, mailboxes, folders, messages []any
	for _, id := range slices.Sorted(maps.Keys(d.tenants)) {
		tenants = append(tenants, string(id), d.tenants[id])
	}
	for _, id := range slices.Sorted(maps.Keys(d.mailboxes)) {
		m := d.mailboxes[id]
		mailboxes = append(mailboxes, string(id), string(m.tenant), m.bytes, m.n)
	}
	for i, id := range slices.Sorted(maps.Keys(d.folders)) {
		f := d.folders[id]
		f.place = int64(i + 1)
		folders = append(folders, string(id), string(f.key.mailbox), f.key.name, f.n, f.place)
	}
	for _, r := range d.rows {
		f := d.folders[r.folder]
		messages = append(append(messages, string(r.folder), f.place, f.n), r.job.rows[r.index]...)
		f.n--
	}
	if len(d.rows) == 1 {
		return insertOne, slices.Concat(tenants, mailboxes, folders, messages)
	}
	return insertDirectly, slices.Concat(sqldb.Arrays(directTenants, tenants), sqldb.Arrays(directMailboxes, mailboxes),
		sqldb.Arrays(directFolders, folders), sqldb.Arrays(directMessages, messages))
}
