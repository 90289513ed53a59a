package lmtp

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// cleanupTimeout bounds the removal of the objects of a transaction that are not needed after all.
const cleanupTimeout = 30 * time.Second

// outcome is what became of one mailbox's copy.
type outcome struct {
	// id is the stored message, also when it was stored earlier; with an error the one that was to be stored.
	id        store.MessageID
	duplicate bool
	err       error
}

// refuseAll gives every recipient the reply to err.
func (tx *transaction) refuseAll(err error) []*smtp.SMTPError {
	replies := make([]*smtp.SMTPError, len(tx.rcpt))
	for i := range replies {
		reply, result := toDataReply(err)
		replies[i] = reply
		tx.server.metrics.deliveries.WithLabelValues(result).Inc()
	}
	return replies
}

// deliver stores one copy for each mailbox, and gives the replies in the order of the recipients. Several
// recipients of one mailbox share its copy and its reply.
func (tx *transaction) deliver(m *message) []*smtp.SMTPError {
	began := time.Now()
	ctx, cancel := tx.server.within(tx.server.options.DeliverTimeout)
	defer cancel()

	placed, err := tx.place(m)
	if err != nil {
		tx.server.noteFault(err)
		tx.server.log.Warn("message not delivered", "queue_id", m.summary.Top.ID, "err", err)
		return tx.refuseAll(err)
	}
	copies := tx.copies(m, placed)
	outcomes := tx.storeCopies(ctx, m, copies)
	took := time.Since(began)
	for _, c := range copies {
		tx.report(m, c, outcomes[c.Target.Mailbox], took)
	}

	replies := make([]*smtp.SMTPError, len(tx.rcpt))
	for i, r := range tx.rcpt {
		replies[i] = outcomes[r.target.Mailbox].reply()
	}
	return replies
}

func (o outcome) reply() *smtp.SMTPError {
	if o.err != nil {
		reply, _ := toDataReply(o.err)
		return reply
	}
	return delivered(o.id)
}

// copies makes one copy for each mailbox, in the order in which they were first named.
func (tx *transaction) copies(m *message, placed placement) []store.Copy {
	content := &store.Content{
		From: tx.from, Summary: m.summary, SizeBytes: m.spool.size, Digest: m.digest, Pieces: m.pieces,
		Received: m.received, QueueID: m.summary.Top.ID, Host: m.summary.Top.By, Scan: placed.verdict,
	}
	seen := map[store.MailboxID]bool{}
	var copies []store.Copy
	for _, r := range tx.rcpt {
		t := r.target
		if seen[t.Mailbox] {
			continue
		}
		seen[t.Mailbox] = true
		id := store.NewMessageID()
		copies = append(copies, store.Copy{
			ID: id, Target: t, Rcpt: r.address, Folder: placed.folder, Tags: placed.tags, Content: content,
			Key: store.ObjectKey(t.Tenant, t.Mailbox, id), DeliveryID: tx.deliveryID(m, placed, t.Mailbox),
		})
	}
	return copies
}

// deliveryID is empty for a message that our own MTA did not queue: nobody would send it again under the same id. It did if the topmost Received
// field has its name, or if that message came through our milter, whatever name the MTA gives itself here and there.
func (tx *transaction) deliveryID(m *message, placed placement, mailbox store.MailboxID) string {
	if !placed.believed && !strings.EqualFold(m.summary.Top.By, tx.lhlo) {
		if m.summary.Top.ID != "" {
			tx.server.tellForeign(m.summary.Top.By, tx.lhlo)
		}
		return ""
	}
	return store.DeliveryID(mailbox, m.summary.Top, m.digest)
}

// tellForeign tells once that messages may be stored twice.
func (s *Server) tellForeign(by, lhlo string) {
	s.foreign.Do(func() {
		s.log.Warn("the MTA that delivers here says LHLO with another name than its Received fields have: after a lost reply a message would be stored again; see lmtp_lhlo_name in docs/postfix.md",
			"lhlo", mail.Clean(lhlo, 255), "received_by", mail.Clean(by, 255))
	})
}

// fate is what the object store and the index said of one copy.
type fate struct {
	copy   store.Copy
	put    error
	result store.Result
}

// storeCopies writes the objects and the rows, and removes the objects that surely no row speaks of.
func (tx *transaction) storeCopies(ctx context.Context, m *message, copies []store.Copy) map[store.MailboxID]outcome {
	outcomes := make(map[store.MailboxID]outcome, len(copies))
	var unused []store.Copy
	began := tx.server.deps.Now()
	defer func() { tx.dropObjects(unused, began) }()
	fates := tx.tryCopies(ctx, m, copies)
	tx.server.noteFates(fates)
	for _, f := range fates {
		o := f.outcome()
		outcomes[f.copy.Target.Mailbox] = o
		switch {
		case f.isUnused() && (!o.duplicate || tx.hasEarlier(ctx, f.copy, o.id)):
			unused = append(unused, f.copy)
		case o.err == nil && !o.duplicate && tx.server.deps.Delivered != nil:
			tx.server.deps.Delivered(f.copy)
		}
	}
	return outcomes
}

// tryCopies writes the objects, then the rows of those that are stored. A small one for one mailbox may go to both at once.
func (tx *transaction) tryCopies(ctx context.Context, m *message, copies []store.Copy) []fate {
	index := tx.server.deps.Index
	if len(copies) == 1 && m.spool.size <= tx.server.deps.SoonBytes {
		result, err := index.DeliverWhile(ctx, copies[0], func() error { return tx.putObjects(ctx, m, copies)[0] })
		return []fate{{copy: copies[0], put: err, result: result}}
	}
	fates, stored := make([]fate, 0, len(copies)), make([]store.Copy, 0, len(copies))
	for _, ofTenant := range byTenant(copies) { // tenants share no bytes
		errs := tx.putObjects(ctx, m, ofTenant)
		for i, c := range ofTenant {
			fates = append(fates, fate{copy: c, put: errs[i], result: store.Result{Err: errors.New("the index gave no result")}})
			if errs[i] == nil {
				stored = append(stored, c)
			}
		}
	}
	if len(stored) == 0 {
		return fates
	}
	results := index.Deliver(ctx, stored)
	for i := range fates {
		if fates[i].put == nil && len(results) > 0 {
			fates[i].result, results = results[0], results[1:]
		}
	}
	return fates
}

func (f fate) outcome() outcome {
	switch {
	case f.put != nil:
		return outcome{id: f.copy.ID, err: fmt.Errorf("store object: %w", f.put)}
	case f.result.Err != nil:
		return outcome{id: f.copy.ID, err: f.result.Err}
	default:
		return outcome{id: f.result.ID, duplicate: f.result.Duplicate}
	}
}

// isUnused says whether certainly no row speaks of the object of a copy: it may be there, whole, though putting it has failed;
// the mailbox has the message under another id; or the index refused it before it committed anything. After any other error
// the row may be there, and what was there before under its key is not ours.
func (f fate) isUnused() bool {
	switch {
	case f.put != nil:
		return !errors.Is(f.put, blob.ErrExists)
	case f.result.Err == nil:
		return f.result.Duplicate && f.result.ID != f.copy.ID
	}
	return slices.ContainsFunc([]error{store.ErrNotFound, store.ErrSuspended, store.ErrQuota, store.ErrNotStored},
		func(certain error) bool { return errors.Is(f.result.Err, certain) })
}

// hasEarlier says whether the message that was delivered before, with the same bytes, is there to the last of them. If it is not, those
// that came again must stay: one that is missing gets them at once, one that is damaged from the next sweep.
func (tx *transaction) hasEarlier(ctx context.Context, c store.Copy, earlier store.MessageID) bool {
	objects, key := tx.server.deps.Objects, store.ObjectKey(c.Target.Tenant, c.Target.Mailbox, earlier)
	err := blob.NewVerifier(objects).Check(ctx, blob.Want{Key: key, SizeBytes: c.Content.SizeBytes, Digest: hex.EncodeToString(c.Content.Digest[:])})
	if err == nil {
		return true
	}
	tx.server.log.Warn("delivered before, but not whole: what came again is kept", "message_id", string(earlier), "key", key, "copy", c.Key, "err", err)
	return errors.Is(err, blob.ErrNotFound) && objects.Copy(ctx, c.Key, key) == nil
}

// byTenant groups copies, each group in the order of the copies.
func byTenant(copies []store.Copy) [][]store.Copy {
	var groups [][]store.Copy
	at := map[store.TenantID]int{}
	for _, c := range copies {
		i, ok := at[c.Target.Tenant]
		if !ok {
			i = len(groups)
			at[c.Target.Tenant] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], c)
	}
	return groups
}

// putObjects stores the object of copies, which share its bytes where the backend can. When that fails, each is
// stored by itself, so that one mailbox's trouble is not that of the others; under another id, which it gets in copies:
// the backend took back the first one, and a deletion that comes late must not reach what is stored now.
func (tx *transaction) putObjects(ctx context.Context, m *message, copies []store.Copy) []error {
	objects, errs := tx.server.deps.Objects, make([]error, len(copies))
	keys := make([]string, len(copies))
	for i, c := range copies {
		keys[i] = c.Key
	}
	err := objects.PutAll(ctx, keys, m.spool.checkedReader(m.digest), m.spool.size)
	if err == nil || len(copies) == 1 {
		errs[0] = err
		return errs
	}
	tx.server.log.Warn("store object for several", "queue_id", m.summary.Top.ID, "copies", len(copies), "err", err)
	for i := range copies {
		c := &copies[i]
		c.ID = store.NewMessageID()
		c.Key = store.ObjectKey(c.Target.Tenant, c.Target.Mailbox, c.ID)
		errs[i] = objects.Put(ctx, c.Key, m.spool.checkedReader(m.digest), m.spool.size)
	}
	return errs
}

// dropObjects removes objects that no row speaks of. What it can't remove in time, the sweep will: that of another node may have
// given them rows meanwhile, when this one was frozen, or asleep, for longer than a delivery takes.
func (tx *transaction) dropObjects(unused []store.Copy, began time.Time) {
	if age := tx.server.deps.Now().Round(0).Sub(began.Round(0)); age < 0 || age >= tx.server.options.DeliverTimeout {
		return // by the wall clock: the other one may stand still while a machine sleeps
	}
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	for _, c := range unused {
		if err := tx.server.deps.Objects.Delete(ctx, c.Key); err != nil {
			tx.server.log.Warn("delete unused object", "key", c.Key, "err", err)
		}
	}
}

// report writes the line of the log, and counts, for one copy.
func (tx *transaction) report(m *message, c store.Copy, o outcome, took time.Duration) {
	facts := []any{
		"queue_id", m.summary.Top.ID, "client", tx.lhlo, "from", tx.from.String(), "rcpt", c.Rcpt.String(),
		"mailbox", c.Target.Address.String(), "tenant_id", string(c.Target.Tenant), "folder", c.Folder,
		"tags", strings.Join(c.Tags, ","), "size", m.spool.size, "recipients", len(tx.rcpt), "took", took,
	}
	log, count := tx.server.log, tx.server.metrics.deliveries
	switch {
	case o.err != nil:
		reply, result := toDataReply(o.err)
		count.WithLabelValues(result).Inc()
		log.Warn("not delivered", append(facts, "message_id", string(o.id), "reply", reply.Code, "err", o.err)...)
	case o.duplicate:
		count.WithLabelValues("duplicate").Inc()
		log.Info("delivered before", append(facts, "message_id", string(o.id))...)
	default:
		count.WithLabelValues("delivered").Inc()
		log.Info("delivered", append(facts, "message_id", string(o.id))...)
	}
}
