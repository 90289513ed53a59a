package fsck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// mailboxFile is <tenant>/<mailbox>/mailbox.json: what must be known of a mailbox, beside its messages, to make the index
// again from objects alone.
type mailboxFile struct {
	Version    int              `json:"version"`
	TenantID   store.TenantID   `json:"tenant_id"`
	TenantName string           `json:"tenant_name"`
	MailboxID  store.MailboxID  `json:"mailbox_id"`
	Address    string           `json:"address"`
	QuotaBytes int64            `json:"quota_bytes,omitempty"`
	Created    time.Time        `json:"created"`
	Folders    []describeFolder `json:"folders"`
}

type describeFolder struct {
	Name        string `json:"name"`
	UIDValidity uint32 `json:"uidvalidity"`
}

const descriptionVersion = 1

// describePage is how many mailboxes are looked at together.
const describePage = 64

// overlap is how far back mailboxes are looked at again: transactions that began before the last look may have been
// committed after it, and other nodes' clocks differ.
const overlap = 2 * time.Minute

func descriptionKey(d store.MailboxDescription) string {
	return fmt.Sprintf("%s/%s/%s", d.Tenant, d.Mailbox, descriptionAs)
}

// DescribeAll writes the description of each mailbox and tenant that has none, or an old one. It goes on past those of which that fails,
// and then tells them.
func (f *Fsck) DescribeAll(ctx context.Context) error {
	began := f.now()
	tenants := f.DescribeTenants(ctx)
	failed := undescribed{f: f}
	err := f.eachMailbox(ctx, func(d store.MailboxDescription) error {
		differs, err := f.describe(ctx, d, false)
		if differs || isKeyLost(err) {
			_, err = f.describeSome(ctx, []store.MailboxID{d.Mailbox}) // as it is now
		}
		if err == nil && d.Created.After(began.Add(-overlap)) {
			f.done.add(madeWith(d))
		}
		return failed.pass(ctx, err)
	})
	return errors.Join(tenants, err, failed.err())
}

// madeWith are the folders of a mailbox, as if all had been made with it.
func madeWith(d store.MailboxDescription) []store.MadeFolder {
	folders := make([]store.MadeFolder, len(d.Folders))
	for i, folder := range d.Folders {
		folders[i] = store.MadeFolder{Created: d.Created, ID: folder.ID, Mailbox: d.Mailbox}
	}
	return folders
}

// madePage is how many new folders are looked at together.
const madePage = 10_000

// DescribeSince does so for the mailboxes that were made since, or had a folder made. What it has done is not looked at again.
func (f *Fsck) DescribeSince(ctx context.Context, since time.Time) error {
	since = since.Add(-overlap)
	f.done.forgetBefore(since)
	last := store.MadeFolder{Created: since}
	var failed error
	for {
		page, err := f.store.FoldersMadeAfter(ctx, last, madePage)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("list folders: %w", err))
		}
		fresh := f.done.without(page)
		left, err := f.describeSome(ctx, mailboxesOf(fresh))
		failed = errors.Join(failed, err)
		f.done.add(slices.DeleteFunc(fresh, func(m store.MadeFolder) bool { return slices.Contains(left, m.Mailbox) }))
		if len(page) < madePage || ctx.Err() != nil {
			return failed
		}
		last = page[len(page)-1]
	}
}

// changes are mailboxes whose quota was changed, and tenants of which anything was, as they become known.
type changes struct {
	f      *Fsck
	follow *store.Follower
	// mailboxes and tenants are those that are not described yet.
	mailboxes []store.MailboxID
	tenants   []store.TenantID
}

func (f *Fsck) followChanges() *changes {
	return &changes{f: f, follow: f.store.Follow(store.ChangedMailbox, store.ChangedRecipients)}
}

// describe describes what was changed since the last call. What fails is done by the next one.
func (c *changes) describe(ctx context.Context) error {
	news, err := c.follow.Next(ctx)
	if err != nil {
		return fmt.Errorf("list changed mailboxes: %w", err)
	}
	for _, change := range news {
		if change.Noun == store.ChangedMailbox {
			c.mailboxes = append(c.mailboxes, store.MailboxID(change.ID))
		} else {
			c.tenants = append(c.tenants, store.TenantID(change.ID))
		}
	}
	slices.Sort(c.mailboxes)
	slices.Sort(c.tenants)
	c.mailboxes, c.tenants = slices.Compact(c.mailboxes), slices.Compact(c.tenants)
	var mailboxes, tenants error
	c.mailboxes, mailboxes = c.f.describeSome(ctx, c.mailboxes)
	c.tenants, tenants = c.f.describeTenants(ctx, c.tenants)
	return errors.Join(mailboxes, tenants)
}

// describeSome goes on past mailboxes that cannot be described; left are those, and on an error that ends all work the ones behind. Within
// a process one reads and writes at a time, so that what was read first is not written last.
func (f *Fsck) describeSome(ctx context.Context, mailboxes []store.MailboxID) (left []store.MailboxID, err error) {
	f.describing.Lock()
	defer f.describing.Unlock()
	failed := undescribed{f: f}
	for i := 0; i < len(mailboxes); i += describePage {
		ids := mailboxes[i:min(i+describePage, len(mailboxes))]
		list, err := f.store.MailboxDescriptionsOf(ctx, ids)
		if err != nil {
			return append(left, mailboxes[i:]...), fmt.Errorf("list mailboxes: %w", err)
		}
		for _, d := range list {
			_, err := f.describe(ctx, d, true)
			if err != nil {
				left = append(left, d.Mailbox)
			}
			if err := failed.pass(ctx, err); err != nil {
				return append(left, mailboxes[i:]...), errors.Join(err, failed.err())
			}
		}
	}
	return left, failed.err()
}

// mailboxesOf gives the mailboxes of folders, each once.
func mailboxesOf(folders []store.MadeFolder) []store.MailboxID {
	ids := make([]store.MailboxID, len(folders))
	for i, folder := range folders {
		ids[i] = folder.Mailbox
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// describedFolders are folders whose mailboxes were described when they were there, and when they were made.
type describedFolders struct {
	mu   sync.Mutex
	made map[store.FolderID]time.Time
}

// without leaves out what was described.
func (d *describedFolders) without(list []store.MadeFolder) []store.MadeFolder {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(list), func(folder store.MadeFolder) bool {
		_, done := d.made[folder.ID]
		return done
	})
}

func (d *describedFolders) add(list []store.MadeFolder) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.made == nil {
		d.made = map[store.FolderID]time.Time{}
	}
	for _, folder := range list {
		d.made[folder.ID] = folder.Created
	}
}

func (d *describedFolders) forgetBefore(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.made, func(_ store.FolderID, made time.Time) bool { return made.Before(t) })
}

// eachMailbox describes all mailboxes to do, by id.
func (f *Fsck) eachMailbox(ctx context.Context, do func(store.MailboxDescription) error) error {
	after := store.MailboxID("")
	for {
		page, err := f.store.MailboxDescriptions(ctx, after, describePage)
		if err != nil {
			return fmt.Errorf("list mailboxes: %w", err)
		}
		for _, d := range page {
			if err := do(d); err != nil {
				return err
			}
			after = d.Mailbox
		}
		if len(page) < describePage {
			return nil
		}
	}
}

// describe compares the description in the object store with what it should be, and writes it if asked to. differs says
// whether it was missing or another one.
func (f *Fsck) describe(ctx context.Context, d store.MailboxDescription, write bool) (differs bool, err error) {
	key := descriptionKey(d)
	want := mailboxFile{
		Version: descriptionVersion, TenantID: d.Tenant, TenantName: d.TenantName, MailboxID: d.Mailbox, Address: d.Address,
		QuotaBytes: d.QuotaBytes, Created: d.Created.UTC(), Folders: []describeFolder{},
	}
	for _, folder := range d.Folders {
		want.Folders = append(want.Folders, describeFolder{folder.Name, folder.UIDValidity})
	}
	text, err := json.MarshalIndent(want, "", "  ")
	if err != nil {
		return false, fmt.Errorf("describe mailbox %s: %w", d.Mailbox, err)
	}
	has, err := f.document(ctx, key)
	if isReplaceable(err, write) {
		has, err = nil, nil
	}
	differs = err == nil && !bytes.Equal(bytes.TrimSpace(has), text)
	if differs && write {
		err = f.writeDocument(ctx, key, want)
	}
	return orUnreadable(differs, err, write)
}

// isReplaceable says whether a description that could not be read, with err, is as one that is not there: what the database says is written
// in its place, where there is a key for it.
func isReplaceable(err error, write bool) bool {
	return errors.Is(err, blob.ErrDamaged) || write && errors.Is(err, blob.ErrNoKey)
}

// orUnreadable gives what came of a description, which is nothing when there is no key to read or to write it with: a tenant that is lost must not keep others
// from being described. That the one to read it with is lost is told: it can be written anew when there is another one by now.
func orUnreadable(differs bool, err error, write bool) (bool, error) {
	if errors.Is(err, blob.ErrNoKey) && (write || !isKeyLost(err)) {
		return false, nil
	}
	return differs, err
}

// isKeyLost says whether a key was destroyed, or is nowhere. One that is only locked is not lost.
func isKeyLost(err error) bool {
	return errors.Is(err, blob.ErrNoKey) && !errors.Is(err, blob.ErrKeyLocked)
}

// described reads the description of a mailbox from the object store; nil when there is none.
func (f *Fsck) described(ctx context.Context, p place) (*store.MailboxDescription, error) {
	key := descriptionKey(store.MailboxDescription{Tenant: p.tenant, Mailbox: p.mailbox})
	raw, err := f.document(ctx, key)
	if err != nil || raw == nil {
		return nil, err
	}
	var m mailboxFile
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", key, errNotUnderstood, err)
	}
	if m.Version != descriptionVersion || m.TenantID != p.tenant || m.MailboxID != p.mailbox {
		return nil, fmt.Errorf("read %s: %w: it describes another mailbox, or in another version", key, errNotUnderstood)
	}
	if _, err := mail.ParseUnquoted(m.Address); err != nil {
		return nil, fmt.Errorf("read %s: %w: %w", key, errNotUnderstood, err)
	}
	d := &store.MailboxDescription{
		Tenant: m.TenantID, TenantName: m.TenantName, Mailbox: m.MailboxID, Address: m.Address, QuotaBytes: m.QuotaBytes, Created: m.Created,
	}
	for _, folder := range m.Folders {
		d.Folders = append(d.Folders, store.Folder{Name: folder.Name, UIDValidity: folder.UIDValidity})
	}
	return d, nil
}
