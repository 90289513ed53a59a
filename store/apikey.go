package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// APIKey is a key for programs. Only its digest is stored.
type APIKey struct {
	ID APIKeyID
	// Tenant is empty for a key of the whole installation.
	Tenant TenantID
	Name   string
	Role   string
	// Hash is the digest, Prefix the first characters, for people to tell keys apart.
	Hash, Prefix string
	Created      time.Time
	// Expires and LastUsed may be zero: never.
	Expires, LastUsed time.Time
}

// NewAPIKeyID makes the id of a key to be created.
func NewAPIKeyID() APIKeyID { return APIKeyID(newID()) }

// CreateAPIKey stores a key.
func (s *Store) CreateAPIKey(ctx context.Context, k APIKey) error {
	const query = `INSERT INTO api_keys (id, tenant_id, name, role, prefix, hash, created_us, expires_us)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`
	return notFound(s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, string(k.ID), textOrNull(string(k.Tenant)), mail.Clean(k.Name, maxWord), k.Role,
			k.Prefix, k.Hash, micros(k.Created), microsOrNull(k.Expires))
		return err
	}))
}

const apiKeyColumns = `id, COALESCE(tenant_id, ''), name, role, prefix, hash, created_us, expires_us, last_used_us`

func scanAPIKey(scan sqldb.Scan) (APIKey, error) {
	var k APIKey
	var created int64
	var expires, used *int64
	err := scan(&k.ID, &k.Tenant, &k.Name, &k.Role, &k.Prefix, &k.Hash, &created, &expires, &used)
	k.Created, k.Expires, k.LastUsed = fromMicros(created), fromNull(expires), fromNull(used)
	return k, err
}

// APIKeyByHash finds a key by its digest. ErrNotFound, also when it has expired.
func (s *Store) APIKeyByHash(ctx context.Context, hash string) (*APIKey, error) {
	const query = `SELECT ` + apiKeyColumns + ` FROM api_keys WHERE hash = $1 AND (expires_us IS NULL OR expires_us > $2)`
	var found *APIKey
	err := s.each(ctx, query, []any{hash, micros(s.now())}, func(scan sqldb.Scan) error {
		k, err := scanAPIKey(scan)
		found = &k
		return err
	})
	if err == nil && found == nil {
		err = ErrNotFound
	}
	return found, err
}

// APIKeys lists the keys in scope by id, after the given one, at most limit of them.
func (s *Store) APIKeys(ctx context.Context, sc Scope, after APIKeyID, limit int) ([]APIKey, error) {
	const query = `SELECT ` + apiKeyColumns + ` FROM api_keys WHERE ($1 = 1 OR tenant_id = $2) AND id > $3 ORDER BY id LIMIT $4`
	var list []APIKey
	args := []any{boolInt(sc.All), string(sc.Tenant), mail.Clean(string(after), maxWord), limit}
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		k, err := scanAPIKey(scan)
		list = append(list, k)
		return err
	})
	return list, err
}

// DeleteAPIKey ends a key in scope and returns what it was. ErrNotFound.
func (s *Store) DeleteAPIKey(ctx context.Context, sc Scope, id APIKeyID) (*APIKey, error) {
	const query = `DELETE FROM api_keys WHERE ($1 = 1 OR tenant_id = $2) AND id = $3 RETURNING ` + apiKeyColumns
	var was *APIKey
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		was = nil
		args := []any{boolInt(sc.All), string(sc.Tenant), mail.Clean(string(id), maxWord)}
		return tx.Each(ctx, query, args, func(scan sqldb.Scan) error {
			k, err := scanAPIKey(scan)
			was = &k
			return err
		})
	})
	if err == nil && was == nil {
		err = ErrNotFound
	}
	return was, notFound(err)
}

// TouchAPIKey records that a key was used.
func (s *Store) TouchAPIKey(ctx context.Context, id APIKeyID, at time.Time) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE api_keys SET last_used_us = $1 WHERE id = $2`, micros(at), string(id))
		return err
	})
}
