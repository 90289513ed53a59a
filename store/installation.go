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

// ErrOperator says that keys of tenants are encrypted to other recipients of the operator than those at hand.
var ErrOperator = errors.New("storage.encryption.operator_recipients are not those that keys of tenants are encrypted to (mairust keys rewrap, or the process that " +
	"made the first key, had others): give all processes that share the store the same ones, and restart this one if it was started with others; when they " +
	"were changed on purpose, run mairust keys rewrap")

const noteOperator = `UPDATE installation SET operator_check = $1 WHERE id = 1`

// NoteOperator records the recipients of the operator that keys of tenants are encrypted to from now on. check tells them from others, and is no
// secret. A key that is being added to others is there before, or is refused: ErrOperator. ErrNotFound before the first Claim.
func (s *Store) NoteOperator(ctx context.Context, check string) error {
	return s.changeOne(ctx, noteOperator, check)
}

// AdoptOperator is NoteOperator where nothing is recorded yet, as where keys were made by a version that recorded nothing with them. noted says whether it was
// this call that did.
func (s *Store) AdoptOperator(ctx context.Context, check string) (noted bool, err error) {
	err = s.changeOne(ctx, noteOperator+` AND operator_check = ''`, check)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

const selectOperator = `SELECT operator_check FROM installation WHERE id = 1`

// CheckOperator compares with what is recorded. ErrOperator when that is another one; nil also when there is nothing.
func (s *Store) CheckOperator(ctx context.Context, check string) error {
	var noted string
	err := s.get(ctx, selectOperator, nil, &noted)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return compareOperator(noted, check, err)
}

// holdOperator does so within a transaction, until whose end no other is recorded. Where nothing is, it records check: who makes the first key decides to whom
// all go, until NoteOperator.
func holdOperator(ctx context.Context, tx *sqldb.Tx, check string) error {
	var noted string
	err := tx.Get(ctx, selectOperator+tx.ForUpdate(), nil, &noted)
	switch {
	case errors.Is(err, sqldb.ErrNoRows):
		return nil
	case err == nil && noted == "":
		_, err = tx.Exec(ctx, noteOperator, check)
		return err
	}
	return compareOperator(noted, check, err)
}

func compareOperator(noted, check string, err error) error {
	if err == nil && noted != "" && noted != check {
		return ErrOperator
	}
	return err
}
