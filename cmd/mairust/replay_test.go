package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store/storetest"
)

// replayed is what `-o json` prints.
type replayed struct {
	Accounts                                              []replayedAccount
	Replayed, Decisions, Missing, Differ, Own, Reproduced int64
}

func (s *testSite) replay(t testing.TB, args ...string) replayed {
	t.Helper()
	var r replayed
	from := time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly) // a day more, because midnight may pass
	out := s.run(t, append([]string{"outbound", "replay", "-o", "json", "--from", from}, args...)...)
	require.NoError(t, json.Unmarshal([]byte(out), &r), out)
	return r
}

// What Postfix, milter and engine did comes out the same, bit for bit: with SQLite in the daemon, with PostgreSQL beside it, and
// in both when the daemon is gone.
func TestReplayReproducesWhatTheDaemonDecided(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob"}, Extra: "outbound: {mode: shadow, default_domain: example.test}\n"})
			daemon := site.start(t)
			postfix := labtest.Postfix(t, lab.PostfixOptions{
				Milter: site.socket("milter"), VirtualMailboxMaps: "socketmap:" + site.socket("lookup") + ":mailboxes",
				VirtualTransport: "lmtp:" + site.socket("lmtp"), Users: map[string]string{"bob": "pw", "eve": "pw"},
			})
			require.True(t, submit(t, postfix, "eve", 0, 1, 0).Accepted())
			for round := range 8 {
				require.True(t, submit(t, postfix, "bob", round+1, 6, 1).Accepted())
			}
			var first replayed
			waitFor(t, "the decisions", func() bool {
				first = site.replay(t)
				return first.Replayed == 2 && first.Decisions >= 9*2+8*6+1
			})
			require.Equal(t, first.Decisions, first.Own)
			require.Equal(t, first.Own, first.Reproduced)
			require.Zero(t, first.Missing)
			require.Zero(t, first.Differ)
			require.Len(t, first.Accounts, 1, "eve was never limited")
			require.Equal(t, "bob@example.test", first.Accounts[0].Account)
			require.Positive(t, first.Accounts[0].Old.SoftUS)

			lenient := filepath.Join(site.dir, "lenient.yaml")
			text := "outbound: {mode: shadow, default_domain: example.test, thresholds: {soft: 0.98, hard: 0.99}}\n"
			require.NoError(t, os.WriteFile(lenient, []byte(text), 0o600))
			other := site.replay(t, "--policy", lenient)
			require.Zero(t, other.Own)
			require.Positive(t, other.Differ)
			require.Equal(t, first.Accounts[0].Old, other.Accounts[0].Old)
			require.Equal(t, policy.Outcome{}, other.Accounts[0].New)
			require.Empty(t, site.replay(t, "--account", "eve@example.test").Accounts)

			require.NoError(t, daemon.terminate(t))
			require.Equal(t, first, site.replay(t))
			out := site.run(t, "outbound", "replay", "--from", time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly))
			require.Contains(t, out, "bob@example.test  suspended ")
			require.Contains(t, out, "of them came out the same")
		})
	}
}
