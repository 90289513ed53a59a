package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/storetest"
)

// undeletable cannot delete one object.
type undeletable struct {
	crypt.Backend
	key string
}

var errUndeletable = errors.New("the disk is read-only")

func (b undeletable) Delete(ctx context.Context, key string) error {
	if strings.Contains(key, b.key) {
		return errUndeletable
	}
	return b.Backend.Delete(ctx, key)
}

func TestDestroyedKeysAreInTheAuditLogThoughACopyIsLeft(t *testing.T) {
	for _, name := range storetest.Backends() {
		t.Run(name, func(t *testing.T) {
			here := newEncryptedSite(t, name, "bob")
			here.deliverOne(t, "Q1")
			here.open(t, func(s *site) {
				ctx, example := t.Context(), keysRequest{Tenant: "example"}
				act := func(act string) error {
					example.Act = act
					_, err := s.actOnKeys(ctx, onHost(), example, &keysMeter{})
					return err
				}
				require.NoError(t, act("rotate"))
				require.NoError(t, act("rotate"))
				rows, err := s.store.AllTenantKeys(ctx)
				require.NoError(t, err)
				require.Len(t, rows, 3)
				backend := s.backend(t)
				whole := s.keys
				recipients, operator, err := operatorKeys(s.config.Storage.Encryption)
				require.NoError(t, err)
				s.keys = crypt.NewKeyring(crypt.KeyringOptions{
					Index: s.store, Backend: undeletable{backend, rows[0].ID}, Recipients: recipients, Operator: operator,
				})
				err = act("destroy")
				require.ErrorIs(t, err, errUndeletable)
				require.ErrorContains(t, err, "destroy again")
				log, err := s.store.AuditLog(ctx, store.System, time.Time{}, 10)
				require.NoError(t, err)
				at := slices.IndexFunc(log, func(e store.AuditEntry) bool { return e.Action == "encryption_key.destroy" })
				require.GreaterOrEqual(t, at, 0, "%+v", log)
				require.Equal(t, string(rows[0].Tenant), log[at].Target)
				require.Equal(t, rows[0].Tenant, log[at].Tenant)
				for i, row := range rows {
					_, err := backend.Stat(ctx, string(row.Tenant)+"/keys/"+row.ID+".age")
					if i == 0 {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, blob.ErrNotFound, "the others are gone")
					}
				}
				s.keys = whole
				require.NoError(t, act("destroy"))
				beside, err := s.keys.Beside(ctx, "", func() {})
				require.NoError(t, err)
				require.Empty(t, beside)
			})
		})
	}
}

func TestRotatedAndRewrappedKeysAreInTheAuditLog(t *testing.T) {
	for _, name := range storetest.Backends() {
		t.Run(name, func(t *testing.T) {
			here := newEncryptedSite(t, name, "bob")
			old, next := here.changeOperator(t)
			require.NoError(t, os.WriteFile(here.operatorFile, append(old, next...), 0o600))
			here.open(t, func(s *site) {
				var logged []string
				for _, act := range []string{"rewrap", "rewrap", "rotate"} {
					_, err := s.actOnKeys(t.Context(), onHost(), keysRequest{Act: act, Tenant: "example"}, &keysMeter{})
					require.NoError(t, err)
				}
				rows, err := s.store.AllTenantKeys(t.Context())
				require.NoError(t, err)
				require.Len(t, rows, 2)
				log, err := s.store.AuditLog(t.Context(), store.System, time.Time{}, 100)
				require.NoError(t, err)
				for _, e := range slices.Backward(log) {
					if strings.HasPrefix(e.Action, "encryption_key.") {
						logged = append(logged, e.Action+" "+e.Target)
						require.Equal(t, onHost().Actor(), e.Actor)
						require.Equal(t, rows[0].Tenant, e.Tenant)
					}
				}
				require.Equal(t, []string{"encryption_key.rewrap " + rows[0].ID, "encryption_key.rotate " + rows[1].ID}, logged, "once each")
			})
		})
	}
}

// backend is what the objects lie in.
func (s *site) backend(t *testing.T) crypt.Backend {
	t.Helper()
	for _, closer := range s.closers {
		if backend, ok := closer.(crypt.Backend); ok {
			return backend
		}
	}
	require.Fail(t, "no backend")
	return nil
}
