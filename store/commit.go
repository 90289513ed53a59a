package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// commitBatch decides every job, in one transaction if it can. When that fails they are tried one by one, so that a message which the
// database refuses, or whose mailbox somebody has locked, fails alone. Jobs whose objects are not stored are left to their callers.
func (s *Store) commitBatch(jobs []*deliveryJob) {
	defer func(start time.Time) { s.metrics.commitSeconds.Observe(time.Since(start).Seconds()) }(time.Now())
	err := s.commitJobs(jobs, firstTry)
	if errors.Is(err, errNoObject) {
		s.metrics.late.Inc()
		s.putFirst(slowTime)
		if jobs, _ = awaitObjects(jobs, 0); len(jobs) == 0 {
			return
		}
		err = s.commitJobs(jobs, firstTry)
	}
	if err == nil {
		s.outage.over()
		return
	}
	s.commitSingly(jobs, err)
}

// try says whether an earlier attempt at the same copies may have been committed without our knowing.
type try bool

const (
	firstTry  try = false
	secondTry try = true
)

// errPanic says that a batch has ended at a point that nobody knows.
var errPanic = errors.New("panic")

// commitJobs sets the results of all jobs, or returns an error and has set none that count.
func (s *Store) commitJobs(jobs []*deliveryJob, t try) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// A panic is one message's doing; as an error it costs that message alone.
			s.log.Error("panic in a batch of deliveries", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	rows := rowsOf(jobs)
	stored := func() error {
		_, err := awaitObjects(jobs, s.putPatience)
		return err
	}
	results, err := s.commitDirectly(rows, t, stored)
	if results == nil && err == nil {
		results, err = s.commitDecided(rows, t, stored)
	}
	if err != nil {
		return err
	}
	s.metrics.batchSize.Observe(float64(len(rows)))
	for i, r := range rows {
		r.job.results[r.index] = results[i]
	}
	return nil
}

// commitDirectly stores all rows, or nothing: without results and error they are to be decided one by one. They are committed
// when stored, which waits for their objects, has returned nil.
func (s *Store) commitDirectly(rows []row, t try, stored func() error) ([]Result, error) {
	if s.db.Backend() != sqldb.Postgres || t == secondTry {
		return nil, nil
	}
	d := s.newDirectBatch(rows)
	if d == nil {
		return nil, nil
	}
	err := s.write(context.Background(), func(ctx context.Context, tx *sqldb.Tx) error {
		tx.Guard(s.lockPatience(t))
		if err := d.store(ctx, tx); err != nil {
			return err
		}
		return stored()
	})
	if errors.Is(err, errInDoubt) {
		s.doubt(rows)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s.metrics.direct.WithLabelValues(resultStored).Inc()
	results := make([]Result, len(rows))
	for i, r := range rows {
		results[i].ID = r.ID
	}
	return results, nil
}

// doubt has the next batch with one of these rows decided at once.
func (s *Store) doubt(rows []row) {
	for _, r := range rows {
		s.folderIDs.forget(folderKey{r.Target.Mailbox, r.Folder})
	}
	s.metrics.direct.WithLabelValues(resultInDoubt).Inc()
}

// commitDecided reads what there is, decides each row, and commits when stored has returned nil.
func (s *Store) commitDecided(rows []row, t try, stored func() error) ([]Result, error) {
	var b *deliveryBatch
	// Not the session's context: its end must not leave the outcome unknown.
	err := s.write(context.Background(), func(ctx context.Context, tx *sqldb.Tx) error {
		tx.Guard(s.lockPatience(t))
		b = newBatch(tx, rows, s.now())
		if err := b.run(ctx, t); err != nil {
			return err
		}
		return stored()
	})
	if err != nil {
		return nil, err
	}
	for i, r := range b.rows {
		key := folderKey{r.Target.Mailbox, r.Folder}
		if f := b.folders[key]; f != nil && b.results[i].ID == r.ID {
			s.folderIDs.put(key, f.id, s.folderIDs.asOf())
		}
	}
	return b.results, nil
}

// deliveryBatch is one transaction of deliveries. Rows are locked in one order (tenants, mailboxes, folders, each by
// id), so that two nodes cannot wait for each other.
type deliveryBatch struct {
	tx        *sqldb.Tx
	now       time.Time
	rows      []row
	results   []Result
	tenants   map[TenantID]*tenantState
	mailboxes map[MailboxID]*mailboxState
	folders   map[folderKey]*folderState
	inserts   []any
}

// row is one copy with its place in its job.
type row struct {
	*Copy
	job   *deliveryJob
	index int
	// folder is set where it is known before.
	folder FolderID
}

func rowsOf(jobs []*deliveryJob) []row {
	var rows []row
	for _, j := range jobs {
		for i := range j.copies {
			rows = append(rows, row{Copy: &j.copies[i], job: j, index: i})
		}
	}
	return rows
}

type tenantState struct {
	state       string
	quota, used int64
	added       int64
}

type mailboxState struct {
	tenant             TenantID
	quota, used        int64
	addedBytes, addedN int64
	// stored maps the delivery ids that this mailbox has already to their messages.
	stored map[string]MessageID
}

type folderKey struct {
	mailbox MailboxID
	name    string
}

type folderState struct {
	id              FolderID
	uidNext, modSeq int64
	added           int64
}

func newBatch(tx *sqldb.Tx, rows []row, now time.Time) *deliveryBatch {
	return &deliveryBatch{
		tx: tx, now: now, rows: rows, results: make([]Result, len(rows)),
		tenants: map[TenantID]*tenantState{}, mailboxes: map[MailboxID]*mailboxState{}, folders: map[folderKey]*folderState{},
	}
}

// run takes two round trips to PostgreSQL, before that of the commit: everything is locked and read, and when it is decided,
// everything is written. A folder that must be made first is one more.
func (b *deliveryBatch) run(ctx context.Context, t try) error {
	b.tx.KeepPlans()
	b.lockTenants()
	b.lockMailboxes()
	if t == secondTry {
		b.findOwn()
	}
	b.findDuplicates()
	b.lockFolders()
	if err := b.tx.Flush(ctx); err != nil {
		return err
	}
	if err := b.makeFolders(ctx); err != nil {
		return err
	}
	b.place()
	b.tx.QueueMany(insertMessages, b.inserts)
	b.count()
	return b.tx.Flush(ctx)
}

func (b *deliveryBatch) lockTenants() {
	ids := distinct(b.rows, func(r row) string { return string(r.Target.Tenant) })
	const query = `SELECT id, state, quota_bytes, used_bytes FROM tenants WHERE id IN (%s) ORDER BY id`
	queueIn(b.tx, query, b.tx.ForUpdate(), ids, func(scan sqldb.Scan) error {
		var id TenantID
		t := &tenantState{}
		err := scan(&id, &t.state, &t.quota, &t.used)
		b.tenants[id] = t
		return err
	})
}

func (b *deliveryBatch) lockMailboxes() {
	const query = `SELECT id, tenant_id, quota_bytes, used_bytes FROM mailboxes WHERE id IN (%s) ORDER BY id`
	queueIn(b.tx, query, b.tx.ForUpdate(), b.mailboxIDs(), func(scan sqldb.Scan) error {
		var id MailboxID
		m := &mailboxState{stored: map[string]MessageID{}}
		err := scan(&id, &m.tenant, &m.quota, &m.used)
		b.mailboxes[id] = m
		return err
	})
}

func (b *deliveryBatch) mailboxIDs() []any {
	return distinct(b.rows, func(r row) string { return string(r.Target.Mailbox) })
}

// findOwn takes what an earlier attempt has committed after all.
func (b *deliveryBatch) findOwn() {
	places := map[MessageID]int{}
	for i, r := range b.rows {
		places[r.ID] = i
	}
	ids := distinct(b.rows, func(r row) string { return string(r.ID) })
	queueIn(b.tx, `SELECT id FROM messages WHERE id IN (%s)`, "", ids, func(scan sqldb.Scan) error {
		var id MessageID
		err := scan(&id)
		b.results[places[id]].ID = id
		return err
	})
}

// findDuplicates takes the delivery ids that are stored. The mailboxes are locked, so no other node can add one.
func (b *deliveryBatch) findDuplicates() {
	ids := distinct(b.rows, func(r row) string { return r.DeliveryID })
	if len(ids) > 0 && ids[0] == "" {
		ids = ids[1:]
	}
	const query = `SELECT mailbox_id, delivery_id, id FROM messages WHERE delivery_id IS NOT NULL AND delivery_id IN (%s)`
	queueIn(b.tx, query, "", ids, func(scan sqldb.Scan) error {
		var mailbox MailboxID
		var delivery string
		var id MessageID
		if err := scan(&mailbox, &delivery, &id); err != nil {
			return err
		}
		if m := b.mailboxes[mailbox]; m != nil {
			m.stored[delivery] = id
		}
		return nil
	})
}

// lockFolders locks the folders that are needed, and of batches with several names a few more.
func (b *deliveryBatch) lockFolders() {
	names := distinct(b.rows, func(r row) string { return r.Folder })
	for piece := range slices.Chunk(names, maxListed) {
		piece = padded(piece)
		query := `SELECT id, mailbox_id, name, uidnext, modseq FROM folders WHERE name IN (` + placeholders(1, len(piece)) +
			`) AND mailbox_id IN (%s) ORDER BY id`
		queueInAfter(b.tx, query, b.tx.ForUpdate(), piece, b.mailboxIDs(), func(scan sqldb.Scan) error {
			var key folderKey
			f := &folderState{}
			err := scan(&f.id, &key.mailbox, &key.name, &f.uidNext, &f.modSeq)
			b.folders[key] = f
			return err
		})
	}
}

// makeFolders makes the folders that are missing, and locks them too.
func (b *deliveryBatch) makeFolders(ctx context.Context) error {
	made := map[folderKey]bool{}
	for _, r := range b.rows {
		key := folderKey{r.Target.Mailbox, r.Folder}
		m := b.mailboxes[r.Target.Mailbox]
		if m == nil || b.folders[key] != nil || made[key] {
			continue
		}
		if err := createFolder(ctx, b.tx, m.tenant, r.Target.Mailbox, r.Folder, b.now); err != nil {
			return err
		}
		made[key] = true
	}
	if len(made) == 0 {
		return nil
	}
	b.lockFolders()
	return b.tx.Flush(ctx)
}

// place decides each copy: refused, a duplicate, or the next UID of its folder.
func (b *deliveryBatch) place() {
	for i, r := range b.rows {
		if b.results[i].ID != "" {
			continue
		}
		t, m := b.tenants[r.Target.Tenant], b.mailboxes[r.Target.Mailbox]
		size := r.Content.SizeBytes
		switch {
		case t == nil || m == nil || m.tenant != r.Target.Tenant:
			b.results[i].Err = ErrNotFound
		case t.state != tenantActive && !r.Recovered:
			b.results[i].Err = ErrSuspended
		case r.DeliveryID != "" && m.stored[r.DeliveryID] != "":
			b.results[i] = Result{ID: m.stored[r.DeliveryID], Duplicate: true}
		case !r.Recovered && (isOver(m.used+m.addedBytes, size, m.quota) || isOver(t.used+t.added, size, t.quota)):
			b.results[i].Err = ErrQuota
		default:
			b.results[i].ID = r.ID
			t.added += size
			m.addedBytes += size
			m.addedN++
			if r.DeliveryID != "" {
				m.stored[r.DeliveryID] = r.ID
			}
			b.addInsert(r, b.folders[folderKey{r.Target.Mailbox, r.Folder}])
		}
	}
}

// insertMessages has the columns first that are known when the folder is locked.
var insertMessages = sqldb.Insert("messages",
	append([]sqldb.Column{sqldb.Text("folder_id"), sqldb.Integer("uid"), sqldb.Integer("modseq")}, rowColumns...)...)

// rowColumns are those of encodeRow.
var rowColumns = []sqldb.Column{
	sqldb.Text("id"), sqldb.Text("tenant_id"), sqldb.Text("mailbox_id"), sqldb.Text("delivery_id"), sqldb.Text("object_key"),
	sqldb.Integer("size_bytes"), sqldb.Text("digest"), sqldb.Integer("received_us"), sqldb.Integer("sent_us"),
	sqldb.Text("subject"), sqldb.Text("from_name"), sqldb.Text("from_address"), sqldb.Text("preview"), sqldb.Text("summary"),
	sqldb.Integer("has_attachments"), sqldb.Text("envelope_from"), sqldb.Text("envelope_rcpt"),
	sqldb.Text("queue_id"), sqldb.Text("queue_host"), sqldb.Text("verdict"), sqldb.Integer("score_milli"), sqldb.Text("tags"), sqldb.Text("pieces"),
}

// Limits of what mail can make us store, in bytes.
const (
	maxAddress = 1280 // the longest that mail.ParseAddress reads
	maxSubject = 2048
	maxWord    = 256
)

// encodeRow gives the values of a copy's row but for folder, UID and mod-sequence. It is done before the batch, so that
// nobody waits for it while rows are locked.
func (s *Store) encodeRow(r *Copy, summary string) ([]any, error) {
	c := r.Content
	indexed, _ := s.allowed(c.Summary)
	tags, err := json.Marshal(nonNil(r.Tags))
	if err != nil {
		return nil, fmt.Errorf("encode tags: %w", err)
	}
	var from mail.Person
	if len(c.Summary.From) > 0 {
		from = c.Summary.From[0]
	}
	return []any{
		string(r.ID), string(r.Target.Tenant), string(r.Target.Mailbox), textOrNull(r.DeliveryID), r.Key,
		c.SizeBytes, hex.EncodeToString(c.Digest[:]), micros(c.Received), microsOrNull(c.Summary.Date),
		mail.Clean(indexed.Subject, maxSubject), mail.Clean(from.Name, maxSubject), mail.Clean(from.Address, maxAddress),
		mail.Clean(indexed.Preview, maxSubject), summary,
		boolInt(len(c.Summary.Attachments()) > 0), mail.Clean(c.From.String(), maxAddress), mail.Clean(r.Rcpt.String(), maxAddress),
		mail.Clean(c.QueueID, maxWord), mail.Clean(c.Host, maxWord), c.Scan.Action.String(), milli(c.Scan.Score), string(tags), c.Pieces,
	}, nil
}

func (b *deliveryBatch) addInsert(r row, f *folderState) {
	uid := f.uidNext
	f.uidNext++
	f.modSeq++
	f.added++
	b.inserts = append(append(b.inserts, string(f.id), uid, f.modSeq), r.job.rows[r.index]...)
}

var (
	countFolders   = sqldb.Update("folders", sqldb.Integer("uidnext"), sqldb.Integer("modseq"), sqldb.Added("messages"))
	countMailboxes = sqldb.Update("mailboxes", sqldb.Added("used_bytes"), sqldb.Added("messages"))
	countTenants   = sqldb.Update("tenants", sqldb.Added("used_bytes"))
)

// count brings folders, mailboxes and tenants to what was added.
func (b *deliveryBatch) count() {
	var folders, mailboxes, tenants []any
	for _, f := range b.folders {
		if f.added > 0 {
			folders = append(folders, string(f.id), f.uidNext, f.modSeq, f.added)
		}
	}
	for id, m := range b.mailboxes {
		if m.addedN > 0 {
			mailboxes = append(mailboxes, string(id), m.addedBytes, m.addedN)
		}
	}
	for id, t := range b.tenants {
		if t.added > 0 {
			tenants = append(tenants, string(id), t.added)
		}
	}
	b.tx.QueueMany(countFolders, folders)
	b.tx.QueueMany(countMailboxes, mailboxes)
	b.tx.QueueMany(countTenants, tenants)
}

func textOrNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// milli stores a score as an integer; what is no number counts as 0.
func milli(score float64) int64 {
	if math.IsNaN(score) || math.Abs(score) > 1e12 {
		return 0
	}
	return int64(math.Round(score * 1000))
}
