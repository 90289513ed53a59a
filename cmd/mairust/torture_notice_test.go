package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/sqldb"
)

// This proves that the inspection after each torture test sees what it looks for.
func TestInspectionNoticesLossDamageAndDuplicates(t *testing.T) {
	r := newTortureRig(t, sqldb.SQLite)
	require.NoError(t, r.start(t))
	c, err := dialLMTP(r.site)
	require.NoError(t, err)
	defer c.Close()
	send := func(id string) {
		p := parcel{id: id, rcpts: []string{"u0@example.test", "u0+x@example.test", "u1@example.test"}, bodyBytes: 5000}
		require.NoError(t, c.deliver(r.ledger, p))
	}
	for _, id := range []string{"whole", "damaged", "removed", "twice"} {
		send(id)
	}
	require.Empty(t, r.inspect().findings)

	bounced := parcel{id: "bounced", rcpts: []string{"u0@example.test", "nobody@example.test"}}
	require.NoError(t, c.deliver(r.ledger, bounced))
	send("twice") // without a queue id nothing tells it from another message
	never := parcel{id: "never", rcpts: []string{"u3@example.test"}}
	r.ledger.sent(never, nil)
	r.ledger.answered(never, []bool{true})
	require.NoError(t, os.Truncate(r.objectOf(t, "damaged"), 100))
	require.NoError(t, os.Remove(r.objectOf(t, "removed")))
	i := r.inspect()
	require.Equal(t, 2, i.of(foundDuplicate), "%v", i.findings)
	for kind, what := range map[string]string{
		foundCorrupt: ".eml of 100 bytes", foundLost: "removed@sender.test in u0@example.test has no object", foundDuplicate: "twice in u0",
	} {
		require.Contains(t, i.text(kind), what)
	}
	require.Equal(t, 1, i.of(foundRefused))
	require.Contains(t, i.text(foundRefused), "bounced, at RCPT: 550 5.1.1")
	require.Contains(t, i.text(foundLost), "never in u3@example.test was acknowledged")
	require.NotContains(t, i.text(""), "whole")
}

// objectOf is the file of a message in u0.
func (r *tortureRig) objectOf(t *testing.T, id string) string {
	t.Helper()
	for _, m := range r.daemon.messages(t, "u0@example.test", "") {
		if m.Subject == id {
			files, err := filepath.Glob(filepath.Join(r.site.dir, "data", "mail", "*", m.MailboxID, m.ID+".eml"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			return files[0]
		}
	}
	t.Fatalf("there is no message %s", id)
	return ""
}

// text is what was found of a kind, or in all.
func (i *inspection) text(kind string) string {
	all := ""
	for _, f := range i.findings {
		if kind == "" || f.kind == kind {
			all += f.what + "\n"
		}
	}
	return all
}
