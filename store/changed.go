package store

import (
	"context"
	"errors"
	"slices"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// The nouns of Changed.
const (
	// ChangedAccount is about the level or mode of one account; the id is the account.
	ChangedAccount = "outbound_account"
	// ForgottenAccount asks all who know something of an account's sending to forget it; the id is the account.
	ForgottenAccount = "outbound_account_data"
	// ChangedDomain is about a domain-wide stop; the id is the domain.
	ChangedDomain = "outbound_domain"
	// ChangedProfile is about a bulk profile; the id is the profile's.
	ChangedProfile = "outbound_profile"
	// ChangedMode is about the outbound mode of a tenant; the id is the tenant's.
	ChangedMode = "outbound_mode"
	// ChangedMailbox is about what describes a mailbox beside its objects; the id is the mailbox's.
	ChangedMailbox = "mailbox"
	// ChangedRecipients is about where mail goes, or whether it goes there; the id is the tenant's.
	ChangedRecipients = "recipients"
)

// Changed says that something changed that other processes keep a copy of.
type Changed struct {
	Seq    int64
	Tenant TenantID
	// Noun is one of the constants above, ID what changed.
	Noun, ID string
}

// noteChanged queues a row for the followers; they see it with the commit.
func (s *Store) noteChanged(tx *sqldb.Tx, tenant TenantID, noun, id string) {
	const query = `INSERT INTO changes (at_us, tenant_id, noun, id) VALUES ($1, $2, $3, $4)`
	tx.Queue(query, micros(s.now()), string(tenant), noun, id)
}

// noteRecipients says that mail for addresses of a tenant may go elsewhere, or no longer. It is to be queued last: the number of the row shall not wait
// for locks.
func (s *Store) noteRecipients(tx *sqldb.Tx, tenant TenantID) {
	s.noteChanged(tx, tenant, ChangedRecipients, string(tenant))
}

// ErrSetBack is that of a Follower that does not find the change it read last: the database was set back or is another one, or that
// change was older than what is kept. It cannot know what it missed beside what Next gives with the error.
var ErrSetBack = errors.New("the changes that were read before are not there any more")

// Follower reads changes of some nouns as they are committed, each once. It is not for several goroutines at once.
type Follower struct {
	s     *Store
	nouns []string
	// last is the highest number that was read, and lastAt the time of its change in microseconds; 0 when its row was not read.
	last, lastAt int64
	// seen are the changes of the window that is read again.
	seen    map[int64]bool
	started bool
	// pending was read by a call that then failed.
	pending []Changed
}

// followOverlap is how far behind the last number a Follower looks again: numbers are given before the commit, so that
// a lower one may be seen after a higher one.
const followOverlap = 1024

// followLimit is how many changes one statement gives, at most.
const followLimit = 4096

// Follow begins to follow the changes of these nouns: Next gives those that are committed after the first call of Next, which gives
// none. Read what is to be kept after that first call.
func (s *Store) Follow(nouns ...string) *Follower {
	return &Follower{s: s, nouns: nouns, seen: map[int64]bool{}}
}

// Next gives what has changed since the last call, by number. After an error the next call gives what this one missed. With an ErrSetBack it gives
// what there is since when what was read last was only old, and the next call goes on from there; else that begins anew, as the first one did.
func (f *Follower) Next(ctx context.Context) ([]Changed, error) {
	if !f.started {
		err := f.s.get(ctx, `SELECT COALESCE(MAX(seq), 0) FROM changes`, nil, &f.last)
		if err != nil {
			return nil, err
		}
		_, err = f.read(ctx)
		f.started = err == nil
		return nil, err
	}
	return f.read(ctx)
}

// read reads all there are, piece by piece.
func (f *Follower) read(ctx context.Context) ([]Changed, error) {
	all := f.pending
	f.pending = nil
	for {
		list, more, err := f.readSome(ctx)
		if err != nil && !errors.Is(err, ErrSetBack) {
			f.pending = all
			return nil, err
		}
		all = append(all, list...)
		if err != nil || !more {
			return all, err
		}
	}
}

func (f *Follower) readSome(ctx context.Context) (list []Changed, more bool, err error) {
	const query = `SELECT seq, at_us, tenant_id, noun, id FROM changes WHERE seq > $1 ORDER BY seq LIMIT $2`
	var fresh []Changed
	n, first, last, lastAt, found := 0, int64(0), f.last, f.lastAt, f.lastAt == 0
	err = f.s.each(ctx, query, []any{f.last - followOverlap, followLimit}, func(scan sqldb.Scan) error {
		n++
		var c Changed
		var at int64
		err := scan(&c.Seq, &at, &c.Tenant, &c.Noun, &c.ID)
		if err == nil && !f.seen[c.Seq] {
			fresh = append(fresh, c)
		}
		found = found || c.Seq == f.last && at == f.lastAt
		if n == 1 {
			first = c.Seq
		}
		last, lastAt = c.Seq, at
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if !found {
		err = ErrSetBack
		if first <= f.last { // of another history; were it only old, all that is as old would be gone
			*f = *f.s.Follow(f.nouns...)
			return nil, false, err
		}
	}
	f.last, f.lastAt = last, lastAt
	for _, c := range fresh {
		f.seen[c.Seq] = true
	}
	for seq := range f.seen {
		if seq <= f.last-followOverlap {
			delete(f.seen, seq)
		}
	}
	return slices.DeleteFunc(fresh, func(c Changed) bool { return !slices.Contains(f.nouns, c.Noun) }), n == followLimit, err
}

// maxKey bounds accounts and the like, in bytes; longer ones are cut.
const maxKey = 320

// cleanKey is a key as it is stored and looked for.
func cleanKey(s string) string { return mail.Clean(s, maxKey) }
