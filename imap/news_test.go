package imap_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

func TestIdleTellsOfNewMailWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		ids := x.deliver(t, "bob", store.Inbox, plainMail, mixedMail)
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		w.send("i IDLE\r\n")
		require.Equal(t, "+ idling", w.line())
		began := time.Now()
		x.deliver(t, "bob", store.Inbox, plainMail)
		require.Equal(t, "* 3 EXISTS", w.line())
		t.Logf("told after %s", time.Since(began).Round(time.Millisecond))

		_, err := s.ChangeMessages(t.Context(), store.System, ids[1:], store.Change{AddFlags: []string{`\Seen`}})
		require.NoError(t, err)
		require.Equal(t, `* 2 FETCH (FLAGS (\Seen))`, w.line())
		_, err = s.DeleteMessages(t.Context(), store.System, ids[:1])
		require.NoError(t, err)
		require.Equal(t, "* 1 EXPUNGE", w.line())
		w.send("DONE\r\n")
		require.Equal(t, "i OK IDLE completed", w.line())
		require.Equal(t, []string{`* 1 FETCH (UID 2 FLAGS (\Seen))`, "* 2 FETCH (UID 3 FLAGS ())"}, w.ok("FETCH 1:* (UID FLAGS)"))
	})
}

// faltering is an index that fails once: the second time that it is asked for counters after a folder has changed. The
// first who asks is the watcher of those in IDLE, the second a session that it woke.
type faltering struct {
	imap.Index
	known int64
	asked atomic.Int32
}

func (x *faltering) FolderCounters(ctx context.Context, ids []store.FolderID) ([]store.Folder, error) {
	list, err := x.Index.FolderCounters(ctx, ids)
	if err == nil && len(list) > 0 && list[0].ModSeq > x.known && x.asked.Add(1) == 2 {
		return nil, errors.New("the database restarts")
	}
	return list, err
}

func TestIdleTellsWhenTheFirstLookFailed(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		x.deliver(t, "bob", store.Inbox, plainMail)
		index := &faltering{Index: s, known: 2}
		x.index = index
		x.serve(t, imap.Options{}, imap.Security{PlainLogin: true})
		w := x.login(t, "bob")
		require.Contains(t, w.ok("SELECT INBOX"), "* OK [HIGHESTMODSEQ 2] The highest mod-sequence")
		w.send("i IDLE\r\n")
		require.Equal(t, "+ idling", w.line())
		x.deliver(t, "bob", store.Inbox, plainMail)
		require.Equal(t, "* 2 EXISTS", w.line())
		require.GreaterOrEqual(t, index.asked.Load(), int32(3), "one look failed")
		w.send("DONE\r\n")
		require.Equal(t, "i OK IDLE completed", w.line())
	})
}

func TestNumbersStayWhileMessagesGo(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		ids := x.deliver(t, "bob", store.Inbox, plainMail, mixedMail, plainMail)
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		_, err := s.MoveMessages(t.Context(), store.System, ids[1:2], store.Trash)
		require.NoError(t, err)
		x.deliver(t, "bob", store.Inbox, mixedMail)
		untagged, tagged := w.do("FETCH 1:3 RFC822.SIZE")
		require.Len(t, untagged, 2)
		require.True(t, strings.HasPrefix(tagged, "NO [EXPUNGEISSUED]"), tagged)
		require.Contains(t, w.ok("FETCH 3 UID")[0], "* 3 FETCH (UID 3)", "its number is the same until the client is told")
		require.Equal(t, []string{"* 2 EXPUNGE", "* 3 EXISTS"}, w.ok("NOOP"))
		require.Equal(t, []string{"* 1 FETCH (UID 1)", "* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)"}, w.ok("FETCH 1:* UID"))
		_, err = s.DeleteMessages(t.Context(), store.System, ids)
		require.NoError(t, err)
		require.Equal(t, []string{"* 1 EXPUNGE", "* 1 EXPUNGE"}, w.ok("NOOP"))
		require.Equal(t, []string{`* STATUS "Trash" (MESSAGES 0 UIDNEXT 2)`}, w.ok("STATUS Trash (MESSAGES UIDNEXT)"))
	})
}

func TestClientCatchesUpByModSequences(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		ids := x.deliver(t, "bob", store.Inbox, plainMail, mixedMail, plainMail)
		w := x.login(t, "bob")
		w.ok("ENABLE QRESYNC")
		untagged := w.ok("SELECT INBOX")
		require.Contains(t, untagged, "* OK [HIGHESTMODSEQ 4] The highest mod-sequence")
		validity := uidValidity(t, untagged)
		_, err := s.DeleteMessages(t.Context(), store.System, ids[:1])
		require.NoError(t, err)
		_, err = s.ChangeMessages(t.Context(), store.System, ids[1:2], store.Change{AddFlags: []string{`\Flagged`}})
		require.NoError(t, err)
		require.Equal(t, []string{"* VANISHED 1", `* 1 FETCH (UID 2 FLAGS (\Flagged) MODSEQ (6))`}, w.ok("NOOP"))
		again := x.login(t, "bob")
		again.refused("BAD", "SELECT INBOX (QRESYNC (%s 4))", validity)
		again.ok("ENABLE QRESYNC")
		caught := again.ok("SELECT INBOX (QRESYNC (%s 4 1:3))", validity)
		require.Equal(t, []string{"* VANISHED (EARLIER) 1", `* 1 FETCH (UID 2 FLAGS (\Flagged) MODSEQ (6))`}, caught[len(caught)-2:])
		require.Equal(t, []string{`* 1 FETCH (UID 2 FLAGS (\Flagged) MODSEQ (6))`}, again.ok("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 4)"))
		require.Equal(t, []string{"* VANISHED (EARLIER) 1", `* 1 FETCH (UID 2 FLAGS (\Flagged) MODSEQ (6))`},
			again.ok("UID FETCH 1:3 (FLAGS) (CHANGEDSINCE 4 VANISHED)"))
		require.Equal(t, []string{"* SEARCH 1 (MODSEQ 6)"}, again.ok("SEARCH MODSEQ 5"))
		require.Equal(t, []string{`* STATUS INBOX (HIGHESTMODSEQ 6)`}, again.ok("STATUS INBOX (HIGHESTMODSEQ)"))
	})
}

func TestClientHearsThatTheNewestMessagesAreGone(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		ids := x.deliver(t, "bob", store.Inbox, plainMail, plainMail, plainMail, plainMail)
		w := x.login(t, "bob")
		w.ok("ENABLE QRESYNC")
		validity := uidValidity(t, w.ok("SELECT INBOX"))
		w.ok("CLOSE")
		for _, row := range []struct {
			gone           []store.MessageID
			vanished, last string
		}{
			{ids[2:], "3:4", "4"},
			{ids[:2], "1:4", "4"}, // the folder is empty
		} {
			_, err := s.DeleteMessages(t.Context(), store.System, row.gone)
			require.NoError(t, err)
			told := "* VANISHED (EARLIER) " + row.vanished
			for _, known := range []string{"", " 1:*", " *:1"} {
				require.Contains(t, w.ok("SELECT INBOX (QRESYNC (%s 5%s))", validity, known), told)
			}
			for set, want := range map[string]string{"1:*": row.vanished, "*": row.last, "4:*": row.last} {
				require.Contains(t, w.ok("UID FETCH %s (FLAGS) (CHANGEDSINCE 5 VANISHED)", set), "* VANISHED (EARLIER) "+want, set)
			}
		}
	})
}

// watched is an index that counts how often it was asked for counters, which is how often somebody looked for news.
type watched struct {
	imap.Index
	looks atomic.Int32
}

func (x *watched) FolderCounters(ctx context.Context, ids []store.FolderID) ([]store.Folder, error) {
	defer x.looks.Add(1)
	return x.Index.FolderCounters(ctx, ids)
}

// A client that has recorded the mod-sequence of the flag asks for what went after it, and never hears of UID 3.
func TestNoModSequenceIsToldAboveAnExpungeThatWasNot(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		ids := x.deliver(t, "bob", store.Inbox, plainMail, plainMail, plainMail, plainMail, plainMail)
		index := &watched{Index: s}
		x.index = index
		x.serve(t, imap.Options{}, imap.Security{PlainLogin: true})
		w := x.login(t, "bob")
		w.ok("ENABLE QRESYNC")
		validity := uidValidity(t, w.ok("SELECT INBOX"))
		_, err := s.DeleteMessages(t.Context(), store.System, ids[2:3])
		require.NoError(t, err)
		_, err = s.ChangeMessages(t.Context(), store.System, ids[4:5], store.Change{AddFlags: []string{`\Flagged`}})
		require.NoError(t, err)
		x.deliver(t, "bob", store.Inbox, plainMail)
		for _, row := range []struct{ command, want string }{
			{"FETCH 5 (UID FLAGS MODSEQ)", "* 5 FETCH (UID 5 FLAGS () MODSEQ (6))"},
			{"SEARCH MODSEQ 6", "* SEARCH 5 (MODSEQ 6)"},
		} {
			for before := index.looks.Load(); index.looks.Load() == before; <-time.Tick(20 * time.Millisecond) {
				require.Equal(t, []string{row.want}, w.ok("%s", row.command))
			}
		}
		again := x.login(t, "bob")
		again.ok("ENABLE QRESYNC")
		require.Contains(t, again.ok("SELECT INBOX (QRESYNC (%s 6))", validity), "* VANISHED (EARLIER) 3")
		require.Equal(t, []string{"* VANISHED 3", "* 5 EXISTS", `* 4 FETCH (UID 5 FLAGS (\Flagged) MODSEQ (8))`}, w.ok("NOOP"))
		require.Equal(t, []string{"* 5 FETCH (UID 6 MODSEQ (9))"}, w.ok("FETCH 5 (UID MODSEQ)"))
	})
}

// overtaken is an index in whose folder something happens between the look at its counters and the reading of what is new
// or gone.
type overtaken struct {
	imap.Index
	meanwhile atomic.Pointer[func()]
}

func (x *overtaken) FolderFlags(ctx context.Context, sc store.Scope, id store.FolderID, aboveUID uint32, aboveModSeq int64,
	row func(store.FlagRow),
) error {
	x.overtake()
	return x.Index.FolderFlags(ctx, sc, id, aboveUID, aboveModSeq, row)
}

func (x *overtaken) ExpungedSince(ctx context.Context, sc store.Scope, id store.FolderID, modSeq int64) ([]uint32, error) {
	x.overtake()
	return x.Index.ExpungedSince(ctx, sc, id, modSeq)
}

func (x *overtaken) overtake() {
	if happens := x.meanwhile.Swap(nil); happens != nil {
		(*happens)()
	}
}

func TestWhatHappenedBeforeANewMessageIsToldWithIt(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		ids := x.deliver(t, "bob", store.Inbox, plainMail, mixedMail)
		index := &overtaken{Index: s}
		x.index = index
		x.serve(t, imap.Options{}, imap.Security{PlainLogin: true})
		w := x.login(t, "bob")
		w.ok("ENABLE QRESYNC")
		w.ok("SELECT INBOX")
		x.deliver(t, "bob", store.Inbox, plainMail)
		meanwhile := func() {
			_, err := s.DeleteMessages(t.Context(), store.System, ids[:1])
			require.NoError(t, err)
			_, err = s.ChangeMessages(t.Context(), store.System, ids[1:], store.Change{AddFlags: []string{`\Seen`}})
			require.NoError(t, err)
			x.deliver(t, "bob", store.Inbox, plainMail)
		}
		index.meanwhile.Store(&meanwhile)
		require.Equal(t, []string{"* VANISHED 1", "* 3 EXISTS", `* 1 FETCH (UID 2 FLAGS (\Seen) MODSEQ (6))`}, w.ok("NOOP"))
		require.Equal(t, []string{"* 3 FETCH (UID 4 MODSEQ (7))"}, w.ok("FETCH 3 (UID MODSEQ)"))
		require.Equal(t, []string{"* STATUS INBOX (UNSEEN 2)"}, w.ok("STATUS INBOX (UNSEEN)"))
		require.Empty(t, w.ok("NOOP"), "all is told")
	})
}

func TestMessageThatStillHasANumberVanishesOnce(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		ids := x.deliver(t, "bob", store.Inbox, plainMail, plainMail, plainMail)
		_, err := s.DeleteMessages(t.Context(), store.System, ids[:1])
		require.NoError(t, err)
		w := x.login(t, "bob")
		w.ok("ENABLE QRESYNC")
		w.ok("SELECT INBOX")
		_, err = s.DeleteMessages(t.Context(), store.System, ids[1:2])
		require.NoError(t, err)
		told := w.ok("UID FETCH 1:3 (FLAGS) (CHANGEDSINCE 4 VANISHED)")
		told = append(told, w.ok("NOOP")...)
		require.Equal(t, []string{"* VANISHED (EARLIER) 1", "* VANISHED 2"}, told)
		require.Equal(t, []string{"* VANISHED (EARLIER) 1:2"}, w.ok("UID FETCH 1:3 (FLAGS) (CHANGEDSINCE 4 VANISHED)"))
	})
}

// A message that goes while its folder is being opened has a number in it.
func TestMessageThatGoesDuringSelectVanishesOnce(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		ids := x.deliver(t, "bob", store.Inbox, plainMail, plainMail)
		index := &overtaken{Index: s}
		x.index = index
		x.serve(t, imap.Options{}, imap.Security{PlainLogin: true})
		w := x.login(t, "bob")
		w.ok("ENABLE QRESYNC")
		validity := uidValidity(t, w.ok("SELECT INBOX"))
		meanwhile := func() {
			_, err := s.DeleteMessages(t.Context(), store.System, ids[:1])
			require.NoError(t, err)
		}
		index.meanwhile.Store(&meanwhile)
		caught := w.ok("SELECT INBOX (QRESYNC (%s 3))", validity)
		require.Contains(t, caught, "* 2 EXISTS")
		require.NotContains(t, caught, "* VANISHED (EARLIER) 1")
		require.Equal(t, []string{"* VANISHED 1"}, w.ok("NOOP"))
	})
}

// Somebody whose access ends while the folder is open is not who it is read for.
func TestFolderStaysForOthersWhenAccessEnds(t *testing.T) {
	t.Parallel()
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			x := newSite(t, s, "bob", "info")
			_, _, err := s.EnsureMailbox(t.Context(), x.Tenant.ID, x.Target("info").Address, x.Users["bob"].ID)
			require.NoError(t, err)
			ids := x.deliver(t, "info", store.Inbox, plainMail, plainMail)
			bob, info := x.login(t, "bob"), x.login(t, "info")
			bob.ok(`SELECT "Other Users/info@acme.test/INBOX"`)
			info.ok("SELECT INBOX")
			execute(t, db, `DELETE FROM mailbox_access WHERE user_id = $1 AND mailbox_id = $2`, string(x.Users["bob"].ID), string(x.Mailboxes["info"].ID))
			x.deliver(t, "info", store.Inbox, plainMail)
			_, err = s.ChangeMessages(t.Context(), store.System, ids[:1], store.Change{AddFlags: []string{`\Seen`}})
			require.NoError(t, err)
			bob.do("NOOP")
			require.Equal(t, []string{"* 3 EXISTS", `* 1 FETCH (FLAGS (\Seen))`}, info.ok("NOOP"))
		})
	}
}

// execute changes what no method of the store does.
func execute(t *testing.T, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), statement, args...)
		return err
	}))
}

func uidValidity(t *testing.T, untagged []string) string {
	t.Helper()
	for _, line := range untagged {
		if rest, found := strings.CutPrefix(line, "* OK [UIDVALIDITY "); found {
			validity, _, _ := strings.Cut(rest, "]")
			return validity
		}
	}
	t.Fatal("no UIDVALIDITY")
	return ""
}
