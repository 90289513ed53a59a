package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// MailboxDescription is what of a mailbox must be known, beside its objects, to make it again.
type MailboxDescription struct {
	Tenant     TenantID
	TenantName string
	Mailbox    MailboxID
	// Address is the mailbox's own.
	Address    string
	QuotaBytes int64
	Created    time.Time
	Folders    []Folder
}

const selectDescriptions = `SELECT t.id, t.name, m.id, m.address, m.quota_bytes, m.created_us
	FROM mailboxes m JOIN tenants t ON t.id = m.tenant_id WHERE `

// MailboxDescriptions lists all mailboxes by id: at most limit of those after the given one.
func (s *Store) MailboxDescriptions(ctx context.Context, after MailboxID, limit int) ([]MailboxDescription, error) {
	return s.descriptions(ctx, selectDescriptions+`m.id > $1 ORDER BY m.id LIMIT $2`, string(after), limit)
}

// MailboxDescription describes one mailbox. ErrNotFound.
func (s *Store) MailboxDescription(ctx context.Context, id MailboxID) (MailboxDescription, error) {
	list, err := s.descriptions(ctx, selectDescriptions+`m.id = $1`, string(id))
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return MailboxDescription{}, err
	}
	return list[0], nil
}

// MailboxDescriptionsOf describes the mailboxes with these ids, as far as they are there.
func (s *Store) MailboxDescriptionsOf(ctx context.Context, ids []MailboxID) ([]MailboxDescription, error) {
	values := make([]any, len(ids))
	for i, id := range ids {
		values[i] = string(id)
	}
	var list []MailboxDescription
	err := chunks(values, 1, func(piece []any, n int) error {
		some, err := s.descriptions(ctx, selectDescriptions+`m.id IN (`+placeholders(1, n)+`)`, piece...)
		list = append(list, some...)
		return err
	})
	return list, err
}

// MadeFolder is when a folder was made.
type MadeFolder struct {
	Created time.Time
	ID      FolderID
	Mailbox MailboxID
}

// FoldersMadeAfter lists folders by the time of their making, then by id: at most limit of those after the given one.
func (s *Store) FoldersMadeAfter(ctx context.Context, last MadeFolder, limit int) ([]MadeFolder, error) {
	const query = `SELECT created_us, id, mailbox_id FROM folders
		WHERE created_us >= $1 AND (created_us > $1 OR id > $2) ORDER BY created_us, id LIMIT $3`
	var list []MadeFolder
	err := s.each(ctx, query, []any{micros(last.Created), string(last.ID), limit}, func(scan sqldb.Scan) error {
		var f MadeFolder
		var created int64
		err := scan(&created, &f.ID, &f.Mailbox)
		f.Created = fromMicros(created)
		list = append(list, f)
		return err
	})
	return list, err
}

func (s *Store) descriptions(ctx context.Context, query string, args ...any) ([]MailboxDescription, error) {
	var list []MailboxDescription
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var d MailboxDescription
		var created int64
		err := scan(&d.Tenant, &d.TenantName, &d.Mailbox, &d.Address, &d.QuotaBytes, &created)
		d.Created = fromMicros(created)
		list = append(list, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list, s.describeFolders(ctx, list)
}

func (s *Store) describeFolders(ctx context.Context, list []MailboxDescription) error {
	index, values := map[MailboxID]int{}, make([]any, 0, len(list))
	for i, d := range list {
		index[d.Mailbox] = i
		values = append(values, string(d.Mailbox))
	}
	return chunks(values, 1, func(piece []any, n int) error {
		query := `SELECT mailbox_id, id, name, uidvalidity, uidnext, modseq, messages FROM folders
			WHERE mailbox_id IN (` + placeholders(1, n) + `) ORDER BY mailbox_id, name`
		return s.each(ctx, query, piece, func(scan sqldb.Scan) error {
			var mailbox MailboxID
			var f Folder
			err := scan(&mailbox, &f.ID, &f.Name, &f.UIDValidity, &f.UIDNext, &f.ModSeq, &f.Messages)
			list[index[mailbox]].Folders = append(list[index[mailbox]].Folders, f)
			return err
		})
	})
}

// RestoreMailbox makes a mailbox again, under its old id, with its folders, and its tenant and domain when they are
// missing. Folders get a UIDVALIDITY above the one described. It does nothing when the mailbox is there. ErrExists when
// another tenant has the tenant's name or the domain, or something else has the address.
func (s *Store) RestoreMailbox(ctx context.Context, d MailboxDescription) error {
	address, err := mail.ParseUnquoted(d.Address)
	if err != nil {
		return fmt.Errorf("restore mailbox %s: its address: %w", d.Mailbox, err)
	}
	defer s.recipients.forgetAll()
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		defer s.noteRecipients(tx, d.Tenant)
		return s.restoreMailbox(ctx, tx, d, address)
	})
	if err != nil {
		return fmt.Errorf("restore mailbox %s (%s): %w", d.Mailbox, d.Address, notFound(err))
	}
	return nil
}

func (s *Store) restoreMailbox(ctx context.Context, tx *sqldb.Tx, d MailboxDescription, address mail.Address) error {
	now := s.now()
	const tenant = `INSERT INTO tenants (id, name, name_fold, state, created_us) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	if _, err := tx.Exec(ctx, tenant, string(d.Tenant), mail.Clean(d.TenantName, maxWord), fold(d.TenantName), tenantActive, micros(now)); err != nil {
		return err
	}
	if err := mustHave(ctx, tx, `SELECT id FROM tenants WHERE id = $1`, string(d.Tenant)); err != nil {
		return fmt.Errorf("tenant name %s: %w", d.TenantName, err)
	}
	name := mail.Clean(strings.ToLower(address.Domain), maxAddress)
	const domain = `INSERT INTO domains (id, tenant_id, name, created_us) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`
	if _, err := tx.Exec(ctx, domain, newID(), string(d.Tenant), name, micros(now)); err != nil {
		return err
	}
	locked := `SELECT id FROM domains WHERE name = $1 AND tenant_id = $2 AND alias_of IS NULL` + tx.ForUpdate() // as lockDomain does
	if err := mustHave(ctx, tx, locked, name, string(d.Tenant)); err != nil {
		return fmt.Errorf("domain %s: %w", name, err)
	}
	const mailbox = `INSERT INTO mailboxes (id, tenant_id, domain_id, address, address_fold, quota_bytes, created_us)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), d.id, CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS BIGINT), CAST($6 AS BIGINT)
		FROM domains d WHERE d.name = $7 AND NOT EXISTS (SELECT 1 FROM aliases WHERE address_fold = $4) ON CONFLICT DO NOTHING`
	folded := address.Fold().String()
	if _, err := tx.Exec(ctx, mailbox, string(d.Mailbox), string(d.Tenant), address.String(), folded, max(d.QuotaBytes, 0), micros(d.Created), name); err != nil {
		return err
	}
	if err := mustHave(ctx, tx, `SELECT id FROM mailboxes WHERE id = $1 AND tenant_id = $2`, string(d.Mailbox), string(d.Tenant)); err != nil {
		return fmt.Errorf("address %s: %w", folded, err)
	}
	return restoreFolders(ctx, tx, d, now)
}

func restoreFolders(ctx context.Context, tx *sqldb.Tx, d MailboxDescription, now time.Time) error {
	validity := map[string]int64{}
	for _, name := range standardFolders {
		validity[name] = uidValidityAt(now)
	}
	for _, f := range d.Folders {
		validity[mail.Clean(f.Name, maxWord)] = min(max(uidValidityAt(now), int64(f.UIDValidity)+1), math.MaxUint32)
	}
	const query = `INSERT INTO folders (id, tenant_id, mailbox_id, name, uidvalidity, uidnext, modseq, created_us)
		VALUES ($1, $2, $3, $4, $5, 1, 1, $6) ON CONFLICT (mailbox_id, name) DO NOTHING`
	for name, v := range validity {
		if _, err := tx.Exec(ctx, query, newID(), string(d.Tenant), string(d.Mailbox), name, v, micros(now)); err != nil {
			return err
		}
	}
	return nil
}

// mustHave is ErrExists when the query finds nothing, because somebody else has what was to be made.
func mustHave(ctx context.Context, tx *sqldb.Tx, query string, args ...any) error {
	var id string
	err := tx.Get(ctx, query, args, &id)
	if errors.Is(err, sqldb.ErrNoRows) {
		return ErrExists
	}
	return err
}
