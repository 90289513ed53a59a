package fsck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// outcome is what became of an object without a row.
type outcome string

const (
	// indexed: there is a row after all, or the object went, or it is too young to be touched.
	indexed outcome = "indexed"
	// adopted: it is indexed now.
	adopted outcome = "adopted"
	// duplicate: the mailbox has the same message under another id, and its object is whole.
	duplicate outcome = "duplicate"
	// moved: nobody's; it is below orphan/ now.
	moved outcome = "moved"
	// mended: that one's object was damaged or missing, and is whole again by this one, which goes with a later sweep.
	mended outcome = "mended"
	// kept: nothing was done; an operator must look.
	kept outcome = "kept"
	// failed: it will be tried again.
	failed outcome = "failed"
)

// settler settles objects without a row, within one sweep or repair.
type settler struct {
	*Fsck
	// keepStrangers leaves alone what belongs to no mailbox, aliasesLater the aliases of a tenant that is made again.
	keepStrangers, aliasesLater bool
	// kept counts what was kept, and strangers what of that was for keepStrangers.
	kept, strangers atomic.Int64

	mu sync.Mutex
	// renewed are the folders that have got a new UIDVALIDITY already.
	renewed map[store.MailboxID]map[string]bool
	// named are the mailboxes of which a message that is kept was named in the log, which has one of each.
	named map[store.MailboxID]bool

	// restoring holds one mailbox's restoration at a time, and guards restored, the tenants that were made again, and unmade, which says why a
	// mailbox could not be.
	restoring sync.Mutex
	restored  map[store.TenantID]bool
	unmade    map[store.MailboxID]string
	// nowhere are described addresses that lead nowhere in the database, and cannot be made: how many, and the first with why.
	nowhere   int
	nowhereBy string
}

func (f *Fsck) newSettler() *settler {
	return &settler{Fsck: f, renewed: map[store.MailboxID]map[string]bool{}, restored: map[store.TenantID]bool{},
		unmade: map[store.MailboxID]string{}, named: map[store.MailboxID]bool{}}
}

// keptForGood is how many objects without a row every sweep would keep.
func (s *settler) keptForGood() int64 { return s.kept.Load() - s.strangers.Load() }

// settle decides an object without a row: it is a duplicate and goes, or is adopted, or is moved aside. why says more
// about what was kept. Every act may be repeated.
func (s *settler) settle(ctx context.Context, o object) (done outcome, why string, err error) {
	done, why, err = s.decide(ctx, o)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		done, err = indexed, nil // it went meanwhile
	case errors.Is(err, blob.ErrNoKey):
		done, why, err = kept, "it is encrypted, and its key was destroyed or is not at hand", nil
	case err != nil:
		done = failed
	}
	if done == kept {
		s.kept.Add(1)
	}
	if done != indexed && ctx.Err() == nil {
		s.metrics.orphans.WithLabelValues(string(done)).Inc()
	}
	if done != indexed && done != failed && (done != kept || s.isFirst(o)) {
		s.log.Warn("object without a row", "key", o.Key, "outcome", string(done), "size", o.SizeBytes, "why", why)
	}
	return done, why, err
}

// isFirst says whether an object is the first of its mailbox that is kept.
func (s *settler) isFirst(o object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.kind != message || s.named[o.mailbox] {
		return o.kind != message
	}
	s.named[o.mailbox] = true
	return true
}

func (s *settler) decide(ctx context.Context, o object) (outcome, string, error) {
	if o.kind != message || o.SizeBytes == 0 {
		return s.moveAside(ctx, o, "it is no message")
	}
	// Looked up again: the row may have come since the object was listed.
	row, found, err := s.row(ctx, o.message)
	switch {
	case err != nil:
		return failed, "", err
	case found && row.Key == o.Key:
		return indexed, "", nil
	case found:
		return s.moveAside(ctx, o, "its message is indexed under another key")
	}
	address, why, err := s.mailbox(ctx, o.place)
	switch {
	case err != nil:
		return failed, "", err
	case why != "":
		return kept, why, nil
	case address.IsZero():
		return s.moveAside(ctx, o, "there is no such mailbox, and no description of one")
	}
	c, err := s.content(ctx, o.Key)
	if err != nil {
		return failed, "", err
	}
	// And again: it may have come while the object was read.
	if _, found, err := s.row(ctx, o.message); err != nil || found {
		return indexed, "", err
	}
	if id := store.DeliveryID(o.mailbox, c.summary.Top, c.digest); id != "" {
		same, err := s.store.DeliveredAs(ctx, o.mailbox, id)
		if err != nil {
			return failed, "", err
		}
		if len(same) > 0 {
			return s.dropDuplicate(ctx, o, c, same[0])
		}
	}
	return s.adopt(ctx, o, c, address)
}

// row gives what the index says of the object of a message.
func (f *Fsck) row(ctx context.Context, id store.MessageID) (row store.ObjectState, found bool, err error) {
	rows, err := f.store.ObjectStates(ctx, []store.MessageID{id})
	row, found = rows[id]
	return row, found, err
}

// mailbox gives the address of the mailbox that an object belongs to, which is made again when only its description is
// left; none when there is neither. why is set when there is a description from which it cannot be made.
func (s *settler) mailbox(ctx context.Context, p place) (address mail.Address, why string, err error) {
	d, err := s.store.MailboxDescription(ctx, p.mailbox)
	if errors.Is(err, store.ErrNotFound) {
		restored, why, err := s.restore(ctx, p)
		if restored == nil || why != "" || err != nil {
			return address, why, err
		}
		d = *restored
	} else if err != nil {
		return address, "", err
	}
	if d.Tenant != p.tenant {
		return address, "", nil
	}
	address, err = mail.ParseUnquoted(d.Address)
	return address, "", err
}

// restore makes a mailbox again from its description; nil when there is none.
func (s *settler) restore(ctx context.Context, p place) (d *store.MailboxDescription, why string, err error) {
	s.restoring.Lock()
	defer s.restoring.Unlock()
	if why := s.unmade[p.mailbox]; why != "" {
		return nil, why, nil
	}
	d, err = s.described(ctx, p)
	if err != nil || d == nil {
		return nil, "", err
	}
	if _, err := s.store.MailboxDescription(ctx, p.mailbox); err == nil {
		return d, "", nil
	}
	if err := s.restoreTenant(ctx, p.tenant); err != nil {
		return d, "", err
	}
	err = s.store.RestoreMailbox(ctx, *d)
	if errors.Is(err, store.ErrExists) {
		if err := s.noteNowhere(ctx, d.Address, err.Error()); err != nil {
			return d, "", err
		}
		s.unmade[p.mailbox] = err.Error()
		return d, err.Error(), nil
	}
	if err != nil {
		return d, "", err
	}
	s.log.Warn("mailbox made again from its description", "mailbox", d.Address, "mailbox_id", string(d.Mailbox))
	for _, folder := range d.Folders {
		s.noteRenewed(d.Mailbox, folder.Name)
	}
	return d, "", s.step("mailbox restored")
}

// noteNowhere notes an address that is described and cannot be made, unless it leads somewhere: whoever has it now takes its mail. It needs the lock
// of restoring.
func (s *settler) noteNowhere(ctx context.Context, described, why string) error {
	address, err := mail.ParseUnquoted(described)
	if err != nil {
		return nil //nolint:nilerr // no mail can be for it
	}
	has, err := s.store.HasDomain(ctx, address.Fold().Domain)
	if err == nil && has {
		_, _, err = s.store.LeadsTo(ctx, mail.Address{}, address, "")
	}
	switch {
	case err == nil && !has, errors.Is(err, store.ErrNotFound):
		s.addNowhere(address.String(), why)
		return nil
	case errors.Is(err, store.ErrSuspended), errors.Is(err, store.ErrQuota), errors.Is(err, store.ErrLoop):
		return nil
	}
	return err
}

func (s *settler) addNowhere(what, why string) {
	if s.nowhere++; s.nowhereBy == "" {
		s.nowhereBy = what + ": " + why
	}
}

// hasRenewed says whether a folder of the mailbox has got a new UIDVALIDITY.
func (s *settler) hasRenewed(mailbox store.MailboxID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.renewed[mailbox]) > 0
}

// isRenewed says whether this folder has.
func (s *settler) isRenewed(mailbox store.MailboxID, folder string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed[mailbox][folder]
}

func (s *settler) noteRenewed(mailbox store.MailboxID, folder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.renewed[mailbox] == nil {
		s.renewed[mailbox] = map[string]bool{}
	}
	s.renewed[mailbox][folder] = true
}

// adopt indexes a message again. Its folder gets a new UIDVALIDITY first: that the row is missing may mean that the
// database has forgotten UIDs which clients have seen.
func (s *settler) adopt(ctx context.Context, o object, c *content, address mail.Address) (outcome, string, error) {
	received := timeOf(o.message, o.Modified, s.now())
	folder, tags, verdict := s.place(c, received)
	if err := s.renew(ctx, o.place, folder); err != nil {
		return failed, "", err
	}
	result := s.store.Deliver(ctx, []store.Copy{{
		ID: o.message, Key: o.Key, Folder: folder, Tags: tags, DeliveryID: store.DeliveryID(o.mailbox, c.summary.Top, c.digest), Recovered: true,
		Target: store.Target{Tenant: o.tenant, Mailbox: o.mailbox, Address: address}, Rcpt: address,
		Content: &store.Content{
			From: c.from, Summary: c.summary, SizeBytes: c.sizeBytes, Digest: c.digest, Pieces: c.pieces, Received: received,
			QueueID: c.summary.Top.ID, Host: c.summary.Top.By, Scan: verdict,
		},
	}})[0]
	switch {
	case result.Err != nil:
		return failed, "", fmt.Errorf("index %s: %w", o.Key, result.Err)
	case result.Duplicate && result.ID != o.message:
		same, err := s.store.ObjectStates(ctx, []store.MessageID{result.ID}) // another copy was adopted this moment
		if err != nil {
			return failed, "", err
		}
		return s.dropDuplicate(ctx, o, c, same[result.ID])
	}
	return adopted, "", s.step("adopted")
}

func (s *settler) renew(ctx context.Context, p place, folder string) error {
	// Under the lock, so that no message gets its UID before.
	s.restoring.Lock()
	defer s.restoring.Unlock()
	if s.isRenewed(p.mailbox, folder) {
		return nil
	}
	if err := s.store.RenewFolder(ctx, p.tenant, p.mailbox, folder); err != nil {
		return err
	}
	s.noteRenewed(p.mailbox, folder)
	return s.step("folder renewed")
}
