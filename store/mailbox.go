package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// Mailbox is the store of one address.
type Mailbox struct {
	ID      MailboxID
	Tenant  TenantID
	Address string
	// QuotaBytes 0 means no quota.
	QuotaBytes int64
	UsedBytes  int64
	Messages   int64
	Created    time.Time
	// Folders are set by MailboxByAddress only.
	Folders []Folder
}

const mailboxColumns = `m.id, m.tenant_id, m.address, m.quota_bytes, m.used_bytes, m.messages, m.created_us`

func scanMailbox(scan sqldb.Scan) (Mailbox, error) {
	var m Mailbox
	var created int64
	err := scan(&m.ID, &m.Tenant, &m.Address, &m.QuotaBytes, &m.UsedBytes, &m.Messages, &created)
	m.Created = fromMicros(created)
	return m, err
}

// inScope is the part of a WHERE that holds mailboxes m to a Scope; its arguments are $1 to $3.
const inScope = `($1 = 1 OR m.tenant_id = $2) AND ($3 = '' OR EXISTS (
	SELECT 1 FROM mailbox_access a WHERE a.user_id = $3 AND a.mailbox_id = m.id))`

func (sc Scope) args() []any { return []any{boolInt(sc.All), string(sc.Tenant), string(sc.User)} }

// MailboxByAddress finds a mailbox by its address, or by its id. ErrNotFound, also for what the scope hides.
func (s *Store) MailboxByAddress(ctx context.Context, sc Scope, address string) (*Mailbox, error) {
	folded := fold(address)
	a, err := mail.ParseAddress(address)
	if err != nil {
		a, err = mail.ParseUnquoted(address) // as lists give it
	}
	if err == nil {
		folded = a.Fold().String()
	}
	const query = `SELECT ` + mailboxColumns + ` FROM mailboxes m WHERE ` + inScope + ` AND (m.address_fold = $4 OR m.id = $5)`
	var found *Mailbox
	err = s.each(ctx, query, append(sc.args(), mail.Clean(folded, maxAddress), mail.Clean(address, maxWord)), func(scan sqldb.Scan) error {
		m, err := scanMailbox(scan)
		found = &m
		return err
	})
	if err == nil && found == nil {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	found.Folders, err = s.folders(ctx, sc, found.ID)
	return found, err
}

// SortedBy is what Mailboxes and Aliases sort an address by, as they give it: what they are to go on after.
func SortedBy(address string) string {
	a, err := mail.ParseUnquoted(address)
	if err != nil {
		return fold(address)
	}
	return foldedAddress(a)
}

// Mailboxes lists mailboxes by address, after the given SortedBy of one, at most limit of them.
func (s *Store) Mailboxes(ctx context.Context, sc Scope, after string, limit int) ([]Mailbox, error) {
	const query = `SELECT ` + mailboxColumns + ` FROM mailboxes m WHERE ` + inScope + `
		AND m.address_fold > $4 ORDER BY m.address_fold LIMIT $5`
	var list []Mailbox
	err := s.each(ctx, query, append(sc.args(), mail.Clean(after, maxAddress), limit), func(scan sqldb.Scan) error {
		m, err := scanMailbox(scan)
		list = append(list, m)
		return err
	})
	return list, err
}

// EnsureMailbox finds or makes the mailbox of an address, with its standard folders, in a domain of the tenant.
// owner, when not empty, gets access to it. ErrExists when the address is an alias.
func (s *Store) EnsureMailbox(ctx context.Context, tenant TenantID, address mail.Address, owner UserID) (m *Mailbox, created bool, err error) {
	domain, err := s.domainOf(ctx, tenant, address)
	if err != nil {
		return nil, false, err
	}
	if domain.AliasOf != "" {
		return nil, false, fmt.Errorf("mailbox %s: its domain is an alias: %w", address, ErrExists)
	}
	defer func() {
		if created || err != nil {
			s.recipients.forgetAll() // mail for address+detail may have gone elsewhere
		}
	}()
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		created, err = s.ensureMailbox(ctx, tx, domain, address, owner)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("mailbox %s: %w", address, err)
	}
	m, err = s.MailboxByAddress(ctx, Scope{Tenant: tenant}, address.String())
	return m, created, err
}

func (s *Store) ensureMailbox(ctx context.Context, tx *sqldb.Tx, d *Domain, address mail.Address, owner UserID) (bool, error) {
	if err := lockDomain(ctx, tx, d.ID); err != nil {
		return false, err
	}
	now, folded := s.now(), address.Fold().String()
	const insert = `INSERT INTO mailboxes (id, tenant_id, domain_id, address, address_fold, created_us)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS BIGINT)
		WHERE NOT EXISTS (SELECT 1 FROM aliases WHERE address_fold = $5)
		ON CONFLICT (address_fold) DO NOTHING`
	n, err := tx.Exec(ctx, insert, newID(), string(d.Tenant), string(d.ID), address.String(), folded, micros(now))
	if err != nil {
		return false, err
	}
	if n == 1 {
		defer s.noteRecipients(tx, d.Tenant)
	}
	var id MailboxID
	err = tx.Get(ctx, `SELECT id FROM mailboxes WHERE address_fold = $1 AND tenant_id = $2`, []any{folded, string(d.Tenant)}, &id)
	if errors.Is(err, sqldb.ErrNoRows) {
		return false, ErrExists
	}
	if err != nil {
		return false, err
	}
	for _, name := range standardFolders {
		if err := createFolder(ctx, tx, d.Tenant, id, name, now); err != nil {
			return false, err
		}
	}
	if owner == "" {
		return n == 1, nil
	}
	const grant = `INSERT INTO mailbox_access (user_id, mailbox_id, tenant_id, rights) VALUES ($1, $2, $3, 'owner')
		ON CONFLICT (user_id, mailbox_id) DO NOTHING`
	_, err = tx.Exec(ctx, grant, string(owner), string(id), string(d.Tenant))
	return n == 1, err
}

// SetMailboxQuota changes how many bytes the messages of a mailbox may have together; 0 lifts the limit. ErrNotFound.
func (s *Store) SetMailboxQuota(ctx context.Context, tenant TenantID, id MailboxID, bytes int64, beside Beside) error {
	defer s.recipients.forgetAll()
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE mailboxes SET quota_bytes = $1 WHERE id = $2 AND tenant_id = $3`, bytes, string(id), string(tenant))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		beside.queue(tx, s.now())
		s.noteChanged(tx, tenant, ChangedMailbox, string(id))
		s.noteRecipients(tx, tenant)
		return err
	})
}

// OwnsMailbox says whether the user has access to the mailbox.
func (s *Store) OwnsMailbox(ctx context.Context, user UserID, mailbox MailboxID) (bool, error) {
	var one int
	err := s.get(ctx, `SELECT 1 FROM mailbox_access WHERE user_id = $1 AND mailbox_id = $2`, []any{string(user), string(mailbox)}, &one)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Access is a user's to a mailbox.
type Access struct {
	User    UserID
	Mailbox MailboxID
}

// AccessGiven finds those of the list that are given, in no set order.
func (s *Store) AccessGiven(ctx context.Context, list []Access) ([]Access, error) {
	values := make([]any, 0, 2*len(list))
	for _, a := range list {
		values = append(values, string(a.User), string(a.Mailbox))
	}
	var given []Access
	err := chunks(values, 2, func(piece []any, n int) error {
		rows := make([]string, 0, n)
		for i := range n {
			rows = append(rows, "("+placeholders(2*i+1, 2)+")")
		}
		query := `SELECT user_id, mailbox_id FROM mailbox_access WHERE (user_id, mailbox_id) IN (VALUES ` + strings.Join(rows, ", ") + `)`
		return s.each(ctx, query, piece, func(scan sqldb.Scan) error {
			var a Access
			err := scan(&a.User, &a.Mailbox)
			given = append(given, a)
			return err
		})
	})
	return given, err
}

// HasMailboxes says whether there is any mailbox at all, of whichever tenant. Once there was one it does not ask again.
func (s *Store) HasMailboxes(ctx context.Context) (bool, error) {
	if s.hasMailbox.Load() {
		return true, nil
	}
	var one int
	err := s.get(ctx, `SELECT 1 FROM mailboxes LIMIT 1`, nil, &one)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err == nil {
		s.hasMailbox.Store(true)
	}
	return err == nil, err
}
