package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/mairust/mairust/store"
)

// Credential is with what somebody came in, to be looked at again for as long as they stay. It is comparable, and says nothing of
// the password. The zero Credential opens nothing.
type Credential struct {
	User store.UserID
	// app is the id of an app password; empty for the user's own password.
	app string
	// password is the digest of the hash that the database has of the user's own: it is another one when the password is.
	password [sha256.Size]byte
}

func passwordCredential(u *store.User) Credential {
	return Credential{User: u.ID, password: sha256.Sum256([]byte(u.PasswordHash))}
}

// Ended gives those of the credentials that open nothing any more: the password was changed, the app password deleted, the user
// disabled or removed. With an error, of the store, nothing is known of any.
func (a *Authenticator) Ended(ctx context.Context, list []Credential) ([]Credential, error) {
	users, err := a.usersOf(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("find users: %w", err)
	}
	owners, err := a.appPasswordsOf(ctx, list)
	if err != nil {
		return nil, fmt.Errorf("find app passwords: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(list), func(c Credential) bool {
		u, found := users[c.User]
		switch {
		case !found || !mayEnter(&u):
			return false
		case c.app != "":
			return owners[c.app] == c.User
		}
		return u.PasswordHash != "" && passwordCredential(&u) == c
	}), nil
}

// mayEnter says whether the user is let in, with the right password.
func mayEnter(u *store.User) bool { return !u.Disabled && Role(u.Role).known() }

func (a *Authenticator) usersOf(ctx context.Context, list []Credential) (map[store.UserID]store.User, error) {
	ids := make([]store.UserID, 0, len(list))
	for _, c := range list {
		ids = append(ids, c.User)
	}
	slices.Sort(ids)
	found, err := a.store.UsersByID(ctx, slices.Compact(ids))
	users := make(map[store.UserID]store.User, len(found))
	for _, u := range found {
		users[u.ID] = u
	}
	return users, err
}

// appPasswordsOf gives whose the app passwords are.
func (a *Authenticator) appPasswordsOf(ctx context.Context, list []Credential) (map[string]store.UserID, error) {
	owners := map[string]store.UserID{}
	passwords, ok := a.store.(AppPasswords)
	var ids []string
	for _, c := range list {
		if c.app != "" {
			ids = append(ids, c.app)
		}
	}
	if !ok || len(ids) == 0 {
		return owners, nil
	}
	slices.Sort(ids)
	found, err := passwords.AppPasswordsByID(ctx, slices.Compact(ids))
	for _, p := range found {
		owners[p.ID] = p.User
	}
	return owners, err
}
