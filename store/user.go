package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// User is someone who logs in.
type User struct {
	ID     UserID
	Tenant TenantID
	Login  string
	// PasswordHash is in the PHC form of its algorithm; empty means that no password fits.
	PasswordHash string
	// Role is one of super_admin, tenant_admin, helpdesk, auditor, user.
	Role     string
	Disabled bool
	Created  time.Time
	// Language is "ja", "en" or empty (as the browser says); Theme is "light", "dark" or empty (as the system says).
	Language, Theme string
}

const userColumns = `id, tenant_id, login, password_hash, role, disabled_us, created_us, language, theme`

func (s *Store) user(ctx context.Context, where string, arg string) (*User, error) {
	var found *User
	err := s.each(ctx, `SELECT `+userColumns+` FROM users WHERE `+where+` = $1`, []any{arg}, func(scan sqldb.Scan) error {
		u, err := scanUser(scan)
		found = &u
		return err
	})
	if err == nil && found == nil {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

func scanUser(scan sqldb.Scan) (User, error) {
	var u User
	var disabled *int64
	var created int64
	err := scan(&u.ID, &u.Tenant, &u.Login, &u.PasswordHash, &u.Role, &disabled, &created, &u.Language, &u.Theme)
	u.Disabled, u.Created = disabled != nil, fromMicros(created)
	return u, err
}

// User finds a user. ErrNotFound.
func (s *Store) User(ctx context.Context, id UserID) (*User, error) {
	return s.user(ctx, "id", string(id))
}

// UserByLogin finds a user by login name, whatever its case. ErrNotFound.
func (s *Store) UserByLogin(ctx context.Context, login string) (*User, error) {
	return s.user(ctx, "login_fold", fold(login))
}

// UsersByID finds those of the users that there are, in no set order.
func (s *Store) UsersByID(ctx context.Context, ids []UserID) ([]User, error) {
	list := make([]User, 0, len(ids))
	err := s.eachIn(ctx, `SELECT `+userColumns+` FROM users WHERE id IN (%s)`, nil, valueList(ids), func(scan sqldb.Scan) error {
		u, err := scanUser(scan)
		list = append(list, u)
		return err
	})
	return list, err
}

// EnsureUser finds a user by login, or makes one of these values. An existing user is left as it is; ErrExists
// when it has another tenant or another role.
func (s *Store) EnsureUser(ctx context.Context, want User) (u *User, created bool, err error) {
	const query = `INSERT INTO users (id, tenant_id, login, login_fold, password_hash, role, created_us)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (login_fold) DO NOTHING`
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, query, newID(), string(want.Tenant), want.Login, fold(want.Login), want.PasswordHash, want.Role, micros(s.now()))
		created = n == 1
		return err
	})
	if err != nil {
		return nil, false, err
	}
	if u, err = s.UserByLogin(ctx, want.Login); err != nil {
		return nil, false, err
	}
	if u.Tenant != want.Tenant || u.Role != want.Role {
		return nil, false, fmt.Errorf("user %s: %w with another role or tenant", want.Login, ErrExists)
	}
	return u, created, nil
}

// SetPassword replaces the password and ends the user's sessions; app passwords stay. ErrNotFound.
func (s *Store) SetPassword(ctx context.Context, id UserID, hash string) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error { return setPassword(ctx, tx, id, hash) })
}

// ResetPassword is SetPassword for somebody whose old password others may know: app passwords, which those may have made,
// go with it. It gives how many there were. ErrNotFound.
func (s *Store) ResetPassword(ctx context.Context, id UserID, hash string) (appPasswords int, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := setPassword(ctx, tx, id, hash); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, `DELETE FROM app_passwords WHERE user_id = $1`, string(id))
		appPasswords = int(n)
		return err
	})
	return appPasswords, err
}

func setPassword(ctx context.Context, tx *sqldb.Tx, id UserID, hash string) error {
	n, err := tx.Exec(ctx, `UPDATE users SET password_hash = $1 WHERE id = $2`, hash, string(id))
	if err == nil && n == 0 {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM sessions WHERE user_id = $1`, string(id))
	return err
}
