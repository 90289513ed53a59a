package store

import (
	"context"
	"errors"

	"github.com/mairust/mairust/store/sqldb"
)

// ErrKeyring says that this installation's data was made with another keyring.
var ErrKeyring = errors.New("the keyring is not the one that this database was made with")

// Claim ties the database to the keyring on first use, and later makes sure that it is the same one: with
// another, scan headers and sealed secrets could not be read. checkValue is the keyring's, no secret.
// It returns the database's own id, which changes when the database is made anew. ErrKeyring.
func (s *Store) Claim(ctx context.Context, checkValue string) (databaseID string, err error) {
	const claim = `INSERT INTO installation (id, database_id, keyring_check, created_us) VALUES (1, $1, $2, $3) ON CONFLICT (id) DO NOTHING`
	var has string
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, claim, newID(), checkValue, micros(s.now())); err != nil {
			return err
		}
		return tx.Get(ctx, `SELECT database_id, keyring_check FROM installation WHERE id = 1`, nil, &databaseID, &has)
	})
	if err == nil && has != checkValue {
		return "", ErrKeyring
	}
	return databaseID, err
}
