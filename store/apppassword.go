package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// AppPassword is a password for a program of one user, such as an IMAP client. Only its digest is stored.
type AppPassword struct {
	ID       string
	Tenant   TenantID
	User     UserID
	Name     string
	Hash     string
	Created  time.Time
	LastUsed time.Time // zero: never
}

// CreateAppPassword stores an app password and gives it its id.
func (s *Store) CreateAppPassword(ctx context.Context, p AppPassword) (AppPassword, error) {
	p.ID = newID()
	const query = `INSERT INTO app_passwords (id, tenant_id, user_id, name, hash, created_us) VALUES ($1, $2, $3, $4, $5, $6)`
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, p.ID, string(p.Tenant), string(p.User), mail.Clean(p.Name, maxWord), p.Hash, micros(p.Created))
		return err
	})
	return p, notFound(err)
}

const appPasswordColumns = `id, tenant_id, user_id, name, hash, created_us, last_used_us`

func (s *Store) appPasswords(ctx context.Context, where string, args ...any) ([]AppPassword, error) {
	var list []AppPassword
	query := `SELECT ` + appPasswordColumns + ` FROM app_passwords WHERE ` + where + ` ORDER BY id`
	err := s.each(ctx, query, args, addAppPassword(&list))
	return list, err
}

func addAppPassword(list *[]AppPassword) func(sqldb.Scan) error {
	return func(scan sqldb.Scan) error {
		var p AppPassword
		var created int64
		var used *int64
		err := scan(&p.ID, &p.Tenant, &p.User, &p.Name, &p.Hash, &created, &used)
		p.Created, p.LastUsed = fromMicros(created), fromNull(used)
		*list = append(*list, p)
		return err
	}
}

// AppPasswords lists a user's app passwords, oldest first.
func (s *Store) AppPasswords(ctx context.Context, user UserID) ([]AppPassword, error) {
	return s.appPasswords(ctx, `user_id = $1`, string(user))
}

// AppPasswordsByID finds those of the app passwords that there are, in no set order.
func (s *Store) AppPasswordsByID(ctx context.Context, ids []string) ([]AppPassword, error) {
	var list []AppPassword
	err := s.eachIn(ctx, `SELECT `+appPasswordColumns+` FROM app_passwords WHERE id IN (%s)`, nil, valueList(ids), addAppPassword(&list))
	return list, err
}

// AppPasswordByHash finds an app password by its digest. ErrNotFound.
func (s *Store) AppPasswordByHash(ctx context.Context, hash string) (*AppPassword, error) {
	list, err := s.appPasswords(ctx, `hash = $1`, hash)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, ErrNotFound
	}
	return &list[0], nil
}

// TouchAppPassword records that an app password was used.
func (s *Store) TouchAppPassword(ctx context.Context, id string, at time.Time) error {
	return s.changeOne(ctx, `UPDATE app_passwords SET last_used_us = $1 WHERE id = $2`, micros(at), id)
}

// DeleteAppPassword ends an app password of a user. ErrNotFound.
func (s *Store) DeleteAppPassword(ctx context.Context, user UserID, id string) error {
	return s.changeOne(ctx, `DELETE FROM app_passwords WHERE user_id = $1 AND id = $2`, string(user), mail.Clean(id, maxWord))
}

// CreateLoginLink stores a link that logs a user in once, until it expires. Only the digest of its token is stored.
func (s *Store) CreateLoginLink(ctx context.Context, tokenHash string, user UserID, expires time.Time) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM login_links WHERE expires_us < $1`, micros(s.now())); err != nil {
			return err
		}
		const query = `INSERT INTO login_links (token_hash, user_id, created_us, expires_us) VALUES ($1, $2, $3, $4)`
		_, err := tx.Exec(ctx, query, tokenHash, string(user), micros(s.now()), micros(expires))
		return err
	})
}

// TakeLoginLink uses up a login link and returns whose it is. ErrNotFound, also when it was used or has expired.
func (s *Store) TakeLoginLink(ctx context.Context, tokenHash string) (UserID, error) {
	var user UserID
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		const query = `DELETE FROM login_links WHERE token_hash = $1 AND expires_us > $2 RETURNING user_id`
		return tx.Get(ctx, query, []any{tokenHash, micros(s.now())}, &user)
	})
	return user, notFound(err)
}

// SetPreferences stores a user's language ("ja", "en" or "" for the browser's) and theme ("light", "dark" or "" for
// the system's). ErrNotFound.
func (s *Store) SetPreferences(ctx context.Context, user UserID, language, theme string) error {
	return s.changeOne(ctx, `UPDATE users SET language = $1, theme = $2 WHERE id = $3`, mail.Clean(language, 8), mail.Clean(theme, 8), string(user))
}
