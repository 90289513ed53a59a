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

// ErrOperator says that keys were last encrypted anew to other recipients of the operator than those at hand.
var ErrOperator = errors.New("storage.encryption.operator_recipients are not those that the keys were last rewrapped to: restart this process with " +
	"the new ones; or, if it has the new ones already, run mairust keys rewrap")

// NoteOperator records the recipients of the operator that keys of tenants are encrypted to from now on. check tells them from others, and is no
// secret. A key that is being added to others is there before, or is refused: ErrOperator. ErrNotFound before the first Claim.
func (s *Store) NoteOperator(ctx context.Context, check string) error {
	return s.changeOne(ctx, `UPDATE installation SET operator_check = $1 WHERE id = 1`, check)
}

const selectOperator = `SELECT operator_check FROM installation WHERE id = 1`

// CheckOperator compares with what NoteOperator has recorded. ErrOperator when that is another one; nil also when there is nothing.
func (s *Store) CheckOperator(ctx context.Context, check string) error {
	var noted string
	err := s.get(ctx, selectOperator, nil, &noted)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return compareOperator(noted, check, err)
}

// holdOperator does so within a transaction, until whose end no other is recorded.
func holdOperator(ctx context.Context, tx *sqldb.Tx, check string) error {
	var noted string
	err := tx.Get(ctx, selectOperator+tx.ForUpdate(), nil, &noted)
	if errors.Is(err, sqldb.ErrNoRows) {
		return nil
	}
	return compareOperator(noted, check, err)
}

func compareOperator(noted, check string, err error) error {
	if err == nil && noted != "" && noted != check {
		return ErrOperator
	}
	return err
}
