package outbound

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// begun makes a Gate that begins with this database and these files, and tells whether it refuses the first message of tanaka.
func begun(ctx context.Context, t *testing.T, dir string, open func(context.Context) (*store.Store, error)) (*Gate, bool) {
	t.Helper()
	g, err := New(policy.Options{Mode: policy.Enforce}, Options{}, nil, Deps{
		Hash: func(...string) uint64 { return 1 }, Dir: dir, Open: open, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	require.NoError(t, err)
	g.Begin(ctx)
	tx, reply := g.Mail(ctx, mail.Envelope{Host: "mx1", Client: mail.Client{Login: "tanaka@one.test"}})
	if tx != nil {
		tx.Release()
	}
	return g, reply != nil
}

func TestANodeWithoutFilesAsksWhoIsStoppedBeforeItTakesMail(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		_, err := db.ChangeOutboundAccount(t.Context(), store.OutboundChange{
			Tenant: store.SystemTenant, Account: "tanaka@one.test", Act: "suspend", Level: store.LevelHardLimit, Reason: "phished", ActorKind: "user", Actor: "desk",
		})
		require.NoError(t, err)
		dir, opened := t.TempDir(), 0
		g, refused := begun(t.Context(), t, dir, func(context.Context) (*store.Store, error) {
			opened++
			return db, nil
		})
		require.True(t, refused)
		require.Same(t, db, g.openStore(t.Context()))
		require.Equal(t, 1, opened, "Run goes on with what is open")
		require.NoError(t, g.Close())

		g, refused = begun(t.Context(), t, dir, func(context.Context) (*store.Store, error) {
			t.Error("the file tells it")
			return nil, store.ErrUnavailable
		})
		require.True(t, refused)
		require.NoError(t, g.Close())

		ctx, cancel := context.WithCancel(t.Context())
		g, refused = begun(ctx, t, t.TempDir(), func(ctx context.Context) (*store.Store, error) {
			cancel() // as the patience ends
			<-ctx.Done()
			return nil, ctx.Err()
		})
		require.False(t, refused, "mail does not wait for the database")
		require.NoError(t, g.Close())
	})
}
