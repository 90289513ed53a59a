package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
)

// Crowd is a tenant with many mailboxes, and with messages that were stored long before.
type Crowd struct {
	// Targets are its mailboxes: u0@crowd.test, u1@crowd.test, …
	Targets []store.Target
}

// Preload makes a tenant with a number of mailboxes and puts messages into their inboxes, in turn, much faster than
// deliveries would. Their objects do not exist.
func Preload(t testing.TB, db *sqldb.DB, mailboxes, messages int) *Crowd {
	t.Helper()
	crowd, err := Fill(t.Context(), db, mailboxes, messages)
	require.NoError(t, err)
	return crowd
}

// Fill is Preload for a program.
func Fill(ctx context.Context, db *sqldb.DB, mailboxes, messages int) (*Crowd, error) {
	p := preloader{ctx: ctx, db: db, now: time.Now()}
	return p.load(mailboxes, messages)
}

type preloader struct {
	ctx    context.Context //nolint:containedctx // that of one call of Preload
	db     *sqldb.DB
	now    time.Time
	tenant string
	boxes  []string
	inbox  []string
}

// preloadRows is how many rows go into one transaction.
const preloadRows = 2000

func (p *preloader) load(mailboxes, messages int) (*Crowd, error) {
	crowd := &Crowd{}
	if err := p.addMailboxes(mailboxes, messages, crowd); err != nil {
		return nil, err
	}
	return crowd, p.addMessages(messages)
}

func (p *preloader) addMailboxes(n, messages int, crowd *Crowd) error {
	p.tenant = newID()
	domain, us := newID(), p.now.Add(-25*time.Hour).UnixMicro() // before the first message
	err := p.db.Write(p.ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(p.ctx, `INSERT INTO tenants (id, name, name_fold, state, used_bytes, created_us)
			VALUES ($1, 'crowd', 'crowd', 'active', $2, $3)`, p.tenant, int64(messages)*FillBytes, us)
		if err != nil {
			return err
		}
		_, err = tx.Exec(p.ctx, `INSERT INTO domains (id, tenant_id, name, created_us) VALUES ($1, $2, 'crowd.test', $3)`,
			domain, p.tenant, us)
		return err
	})
	if err != nil {
		return err
	}
	var boxes, folders [][]any
	for i := range n {
		box, inbox, address := newID(), newID(), fmt.Sprintf("u%d@crowd.test", i)
		has := int64(messages / n)
		if i < messages%n {
			has++
		}
		boxes = append(boxes, []any{box, p.tenant, domain, address, address, has * FillBytes, has, us})
		for _, name := range []string{store.Inbox, store.Quarantine, store.Archive, store.Trash} {
			if name == store.Inbox {
				folders = append(folders, []any{inbox, p.tenant, box, name, p.now.Unix(), has + 1, has + 1, has, us})
				continue
			}
			folders = append(folders, []any{newID(), p.tenant, box, name, p.now.Unix(), 1, 1, 0, us})
		}
		p.boxes, p.inbox = append(p.boxes, box), append(p.inbox, inbox)
		crowd.Targets = append(crowd.Targets, store.Target{
			Tenant: store.TenantID(p.tenant), Mailbox: store.MailboxID(box),
			Address: mail.Address{Local: fmt.Sprintf("u%d", i), Domain: "crowd.test"},
		})
	}
	if err := p.insert("mailboxes (id, tenant_id, domain_id, address, address_fold, used_bytes, messages, created_us)", boxes); err != nil {
		return err
	}
	return p.insert("folders (id, tenant_id, mailbox_id, name, uidvalidity, uidnext, modseq, messages, created_us)", folders)
}

// FillBytes is the size of each message's object.
const FillBytes = 4096

const preloadSummary = `{"from":[{"name":"A","address":"a@sender.test"}],"to":[{"name":"","address":"u@crowd.test"}],` +
	`"message_id":"20260101000000.12345@sender.test","parts":[{"type":"text/plain","charset":"us-ascii","size":4096}]}`

// addMessages spreads the messages over a day that ends now, oldest first.
func (p *preloader) addMessages(n int) error {
	first := p.now.Add(-24 * time.Hour)
	var rows [][]any
	for i := range n {
		at := first.Add(24 * time.Hour / time.Duration(n) * time.Duration(i))
		id, box := idAt(at), i%len(p.boxes)
		uid := i/len(p.boxes) + 1
		digest := sha256.Sum256([]byte(id))
		rows = append(rows, []any{
			id, p.tenant, p.boxes[box], p.inbox[box], uid, uid + 1, DeliveryID(id, at),
			fmt.Sprintf("%s/%s/%s.eml", p.tenant, p.boxes[box], id), FillBytes, hex.EncodeToString(digest[:]),
			at.UnixMicro(), at.UnixMicro(), "Preloaded", "A", "a@sender.test", "Hello, this was here before.", preloadSummary, 0,
			"a@sender.test", "u@crowd.test", "4XyZ12abc", "mx.example.test", "accept", 0, "[]",
		})
		if len(rows) == preloadRows || i == n-1 {
			err := p.insert(`messages (id, tenant_id, mailbox_id, folder_id, uid, modseq, delivery_id, object_key, size_bytes, digest,
				received_us, sent_us, subject, from_name, from_address, preview, summary, has_attachments,
				envelope_from, envelope_rcpt, queue_id, queue_host, verdict, score_milli, tags)`, rows)
			if err != nil {
				return err
			}
			rows = rows[:0]
		}
	}
	return nil
}

// insert puts rows into a table, many with each statement.
func (p *preloader) insert(into string, rows [][]any) error {
	const step = 100
	for len(rows) > 0 {
		part := rows[:min(len(rows), preloadRows)]
		rows = rows[len(part):]
		err := p.db.Write(p.ctx, func(tx *sqldb.Tx) error {
			for len(part) > 0 {
				piece := part[:min(len(part), step)]
				part = part[len(piece):]
				query, args := insertRows(into, piece)
				if _, err := tx.Exec(p.ctx, query, args...); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func insertRows(into string, rows [][]any) (string, []any) {
	var query strings.Builder
	var args []any
	query.WriteString("INSERT INTO " + into + " VALUES ")
	for i, row := range rows {
		if i > 0 {
			query.WriteString(", ")
		}
		separator := "("
		for _, value := range row {
			args = append(args, value)
			fmt.Fprintf(&query, "%s$%d", separator, len(args))
			separator = ", "
		}
		query.WriteString(")")
	}
	return query.String(), args
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// idAt is a UUIDv7 (RFC 9562, 5.7) of another time than now.
func idAt(at time.Time) string {
	id := uuid.Must(uuid.NewV7())
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (8 * (5 - i)))
	}
	return id.String()
}

// DeliveryID is one that the LMTP server gives a message of this id that Postfix received at that time.
func DeliveryID(id string, at time.Time) string {
	top := mail.Received{By: "mx.example.test", ID: fmt.Sprintf("%05X%s", at.Nanosecond()/1000, id[len(id)-6:]), At: at}
	return store.DeliveryID(store.MailboxID(id), top, [32]byte{})
}
