package store

import (
	"context"
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

// commitBatch decides every job, in one transaction if it can. When that fails they are tried one by one, so
// that a message which the database refuses fails alone.
func (s *Store) commitBatch(jobs []*deliveryJob) {
	defer func(start time.Time) { s.metrics.commitSeconds.Observe(time.Since(start).Seconds()) }(time.Now())
	err := s.commitJobs(jobs, firstTry)
	if err == nil {
		return
	}
	s.metrics.retries.Inc()
	s.log.Warn("batch of deliveries failed, trying one by one", "deliveries", len(jobs), "err", err)
	for i, job := range jobs {
		err := s.commitJobs([]*deliveryJob{job}, secondTry)
		if err == nil {
			continue
		}
		job.fail(fmt.Errorf("store message: %w", err))
		if errors.Is(err, ErrUnavailable) {
			// The database is away: the others would wait for it one after the other, for hours.
			for _, rest := range jobs[i+1:] {
				rest.fail(fmt.Errorf("store message: %w", err))
			}
			return
		}
	}
}

// try says whether an earlier attempt at the same copies may have been committed without our knowing.
type try bool

const (
	firstTry  try = false
	secondTry try = true
)

// commitJobs sets the results of all jobs, or returns an error and has set none that count.
func (s *Store) commitJobs(jobs []*deliveryJob, t try) (err error) {
	defer func() {
		if p := recover(); p != nil {
			// A panic is one message's doing; as an error it costs that message alone.
			s.log.Error("panic in a batch of deliveries", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	var b *batch
	// Not the session's context: its end must not leave the outcome unknown.
	err = s.write(context.Background(), func(ctx context.Context, tx *sqldb.Tx) error {
		b = newBatch(tx, jobs, s.now())
		return b.run(ctx, t)
	})
	if err != nil {
		return err
	}
	s.metrics.batchSize.Observe(float64(len(b.rows)))
	for i, r := range b.rows {
		r.job.results[r.index] = b.results[i]
	}
	return nil
}

// batch is one transaction of deliveries. Rows are locked in one order (tenants, mailboxes, folders, each by
// id), so that two nodes cannot wait for each other.
type batch struct {
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

func newBatch(tx *sqldb.Tx, jobs []*deliveryJob, now time.Time) *batch {
	b := &batch{
		tx: tx, now: now,
		tenants: map[TenantID]*tenantState{}, mailboxes: map[MailboxID]*mailboxState{}, folders: map[folderKey]*folderState{},
	}
	for _, j := range jobs {
		for i := range j.copies {
			b.rows = append(b.rows, row{Copy: &j.copies[i], job: j, index: i})
		}
	}
	b.results = make([]Result, len(b.rows))
	return b
}

func (b *batch) run(ctx context.Context, t try) error {
	steps := []func(context.Context) error{
		b.lockTenants, b.lockMailboxes, b.findDuplicates, b.lockFolders, b.place, b.insert, b.count,
	}
	if t == secondTry {
		steps = slices.Insert(steps, 2, b.findOwn)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) lockTenants(ctx context.Context) error {
	ids := distinct(b.rows, func(r row) string { return string(r.Target.Tenant) })
	query := `SELECT id, state, quota_bytes, used_bytes FROM tenants WHERE id IN (%s) ORDER BY id` + b.tx.ForUpdate()
	return eachIn(ctx, b.tx, query, ids, func(scan sqldb.Scan) error {
		var id TenantID
		t := &tenantState{}
		if err := scan(&id, &t.state, &t.quota, &t.used); err != nil {
			return err
		}
		b.tenants[id] = t
		return nil
	})
}

func (b *batch) lockMailboxes(ctx context.Context) error {
	ids := distinct(b.rows, func(r row) string { return string(r.Target.Mailbox) })
	query := `SELECT id, tenant_id, quota_bytes, used_bytes FROM mailboxes WHERE id IN (%s) ORDER BY id` + b.tx.ForUpdate()
	return eachIn(ctx, b.tx, query, ids, func(scan sqldb.Scan) error {
		var id MailboxID
		m := &mailboxState{stored: map[string]MessageID{}}
		if err := scan(&id, &m.tenant, &m.quota, &m.used); err != nil {
			return err
		}
		b.mailboxes[id] = m
		return nil
	})
}

// findOwn takes what an earlier attempt has committed after all.
func (b *batch) findOwn(ctx context.Context) error {
	ids := distinct(b.rows, func(r row) string { return string(r.ID) })
	stored := map[MessageID]bool{}
	err := eachIn(ctx, b.tx, `SELECT id FROM messages WHERE id IN (%s)`, ids, func(scan sqldb.Scan) error {
		var id MessageID
		err := scan(&id)
		stored[id] = true
		return err
	})
	for i, r := range b.rows {
		if stored[r.ID] {
			b.results[i].ID = r.ID
		}
	}
	return err
}

// findDuplicates takes the delivery ids that are stored. The mailboxes are locked, so no other node can add one.
func (b *batch) findDuplicates(ctx context.Context) error {
	var ids []any
	for _, r := range b.rows {
		if r.DeliveryID != "" {
			ids = append(ids, r.DeliveryID)
		}
	}
	query := `SELECT mailbox_id, delivery_id, id FROM messages WHERE delivery_id IS NOT NULL AND delivery_id IN (%s)`
	return eachIn(ctx, b.tx, query, ids, func(scan sqldb.Scan) error {
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

// lockFolders locks the folders that are needed and makes those that are missing.
func (b *batch) lockFolders(ctx context.Context) error {
	if err := b.readFolders(ctx); err != nil {
		return err
	}
	made := false
	for _, r := range b.rows {
		m := b.mailboxes[r.Target.Mailbox]
		if m == nil || b.folders[folderKey{r.Target.Mailbox, r.Folder}] != nil {
			continue
		}
		if err := createFolder(ctx, b.tx, m.tenant, r.Target.Mailbox, r.Folder, b.now); err != nil {
			return err
		}
		b.folders[folderKey{r.Target.Mailbox, r.Folder}] = &folderState{}
		made = true
	}
	if !made {
		return nil
	}
	return b.readFolders(ctx)
}

func (b *batch) readFolders(ctx context.Context) error {
	names := distinct(b.rows, func(r row) string { return r.Folder })
	ids := distinct(b.rows, func(r row) string { return string(r.Target.Mailbox) })
	wanted := map[folderKey]bool{}
	for _, r := range b.rows {
		wanted[folderKey{r.Target.Mailbox, r.Folder}] = true
	}
	for _, name := range names {
		query := `SELECT id, mailbox_id, name, uidnext, modseq FROM folders WHERE mailbox_id IN (%s) AND name = $1 ORDER BY id` +
			b.tx.ForUpdate()
		err := eachInAfter(ctx, b.tx, query, []any{name}, ids, func(scan sqldb.Scan) error {
			var key folderKey
			f := &folderState{}
			if err := scan(&f.id, &key.mailbox, &key.name, &f.uidNext, &f.modSeq); err != nil {
				return err
			}
			if wanted[key] {
				b.folders[key] = f
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// place decides each copy: refused, a duplicate, or the next UID of its folder.
func (b *batch) place(context.Context) error {
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
			if err := b.addInsert(r, b.folders[folderKey{r.Target.Mailbox, r.Folder}]); err != nil {
				return err
			}
		}
	}
	return nil
}

// messageColumns are in the order of addInsert.
const messageColumns = `id, tenant_id, mailbox_id, folder_id, uid, modseq, delivery_id, object_key, size_bytes, digest,
	received_us, sent_us, subject, from_name, from_address, preview, summary, has_attachments,
	envelope_from, envelope_rcpt, queue_id, queue_host, verdict, score_milli, tags`

const messageColumnCount = 25

// Limits of what mail can make us store, in bytes.
const (
	maxAddress = 1280 // the longest that mail.ParseAddress reads
	maxSubject = 2048
	maxWord    = 256
)

func (b *batch) addInsert(r row, f *folderState) error {
	c := r.Content
	tags, err := json.Marshal(nonNil(r.Tags))
	if err != nil {
		return fmt.Errorf("encode tags: %w", err)
	}
	var from mail.Person
	if len(c.Summary.From) > 0 {
		from = c.Summary.From[0]
	}
	uid := f.uidNext
	f.uidNext++
	f.modSeq++
	f.added++
	b.inserts = append(b.inserts,
		string(r.ID), string(r.Target.Tenant), string(r.Target.Mailbox), string(f.id), uid, f.modSeq,
		textOrNull(r.DeliveryID), r.Key, c.SizeBytes, fmt.Sprintf("%x", c.Digest),
		micros(c.Received), microsOrNull(c.Summary.Date), mail.Clean(c.Summary.Subject, maxSubject),
		mail.Clean(from.Name, maxSubject), mail.Clean(from.Address, maxAddress), mail.Clean(c.Summary.Preview, maxSubject),
		r.job.summaries[c], boolInt(len(c.Summary.Attachments()) > 0),
		mail.Clean(c.From.String(), maxAddress), mail.Clean(r.Rcpt.String(), maxAddress),
		mail.Clean(c.QueueID, maxWord), mail.Clean(c.Host, maxWord),
		c.Scan.Action.String(), milli(c.Scan.Score), string(tags))
	return nil
}

func (b *batch) insert(ctx context.Context) error {
	prefix := `INSERT INTO messages (` + messageColumns + `) VALUES `
	return execRows(ctx, b.tx, prefix, messageColumnCount, b.inserts)
}

// count brings folders, mailboxes and tenants to what was added.
func (b *batch) count(ctx context.Context) error {
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
	return errors.Join(
		updateRows(ctx, b.tx, `UPDATE folders SET uidnext = v.column2, modseq = v.column3, messages = messages + v.column4
			FROM (VALUES %s) AS v WHERE id = v.column1`, 4, folders),
		updateRows(ctx, b.tx, `UPDATE mailboxes SET used_bytes = used_bytes + v.column2, messages = messages + v.column3
			FROM (VALUES %s) AS v WHERE id = v.column1`, 3, mailboxes),
		updateRows(ctx, b.tx, `UPDATE tenants SET used_bytes = used_bytes + v.column2
			FROM (VALUES %s) AS v WHERE id = v.column1`, 2, tenants))
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
