package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// Session is a login that lasts. Only the digest of its token is stored.
type Session struct {
	TokenHash string
	User      UserID
	// ClientAddr is where the login came from, for the user to see.
	ClientAddr       string
	Created, Expires time.Time
}

// CreateSession stores a session, and removes those that have expired.
func (s *Store) CreateSession(ctx context.Context, x Session) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM sessions WHERE expires_us < $1`, micros(s.now())); err != nil {
			return err
		}
		const query = `INSERT INTO sessions (token_hash, user_id, client, created_us, expires_us) VALUES ($1, $2, $3, $4, $5)`
		_, err := tx.Exec(ctx, query, x.TokenHash, string(x.User), mail.Clean(x.ClientAddr, maxWord), micros(x.Created), micros(x.Expires))
		return err
	})
}

// SessionByHash finds a session by the digest of its token. ErrNotFound, also when it has expired.
func (s *Store) SessionByHash(ctx context.Context, hash string) (*Session, error) {
	const query = `SELECT user_id, client, created_us, expires_us FROM sessions WHERE token_hash = $1 AND expires_us > $2`
	x := Session{TokenHash: hash}
	var created, expires int64
	if err := s.get(ctx, query, []any{hash, micros(s.now())}, &x.User, &x.ClientAddr, &created, &expires); err != nil {
		return nil, err
	}
	x.Created, x.Expires = fromMicros(created), fromMicros(expires)
	return &x, nil
}

// DeleteSession ends a session; one that is not there is no error.
func (s *Store) DeleteSession(ctx context.Context, hash string) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM sessions WHERE token_hash = $1`, hash)
		return err
	})
}
