package outbound_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// trial is a message that is not sent.
func trial(t testing.TB, text string, to ...string) *mail.Message {
	t.Helper()
	summary, err := mail.Summarize(strings.NewReader("Subject: x\r\n\r\n"+text+"\r\n"), mail.Limits{})
	require.NoError(t, err)
	m := &mail.Message{Summary: summary}
	for _, text := range to {
		m.Rcpt = append(m.Rcpt, mail.Recipient{Address: address(text)})
	}
	return m
}

func TestATrialSaysWhatWouldHappenAndChangesNothing(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		e := envelope("tanaka@one.test", "192.0.2.7")
		try := func(to ...string) policy.Decision {
			return n.Try(t.Context(), store.SystemTenant, "tanaka@one.test", trial(t, "hello", to...), mail.Verdict{})
		}
		var many []string
		for i := range 300 {
			many = append(many, fmt.Sprintf("r%d@x.test", i))
		}
		for range 5 { // trials do not add up
			d := try("a@x.test")
			require.Equal(t, policy.Allow, d.Action)
			require.NotNil(t, d.Explanation)
			require.Equal(t, int64(1), d.Explanation.Recipients.Hour)
			d = try(many...)
			require.NotEqual(t, policy.Allow, d.Action, "over every limit")
			require.NotNil(t, d.Explanation)
		}
		require.Equal(t, 1, n.send(e, "hello", 0, "a@x.test").left())
		require.Equal(t, int64(2), try("a@x.test").Explanation.Recipients.Hour, "what was sent counts")
		n.blast(e, 50)
		d := try("a@x.test")
		require.Equal(t, policy.RefuseSuspended, d.Action)
		require.Equal(t, policy.ReasonSuspended, d.Reason)
	})
}

func TestAReleaseToNormalForgivesToo(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		e := envelope("tanaka@one.test", "192.0.2.7")
		_, refused := n.blast(e, 50)
		require.NotNil(t, refused)
		eventually(t, "the stop is in the database", func() bool { return revision(t, db, "tanaka@one.test") > 0 })
		row, err := db.OutboundAccount(t.Context(), store.System, "tanaka@one.test")
		require.NoError(t, err)
		require.Equal(t, store.LevelHardLimit, row.Level)
		change := row.Change("release")
		change.Level, change.Reason, change.ActorKind, change.Actor = store.LevelNormal, "checked", "user", "desk"
		_, err = db.ChangeOutboundAccount(t.Context(), change)
		require.NoError(t, err)
		eventually(t, "mail flows again", func() bool { return n.send(e, "Hello Suzuki, see you tomorrow.", 0, "suzuki@one.test").left() == 1 })
		for range 3 {
			require.Equal(t, 1, n.send(e, "Hello Suzuki, see you tomorrow.", 0, "suzuki@one.test").left(), "it stays so")
		}
		row, err = db.OutboundAccount(t.Context(), store.System, "tanaka@one.test")
		require.NoError(t, err)
		require.Equal(t, store.LevelNormal, row.Level)
	})
}
