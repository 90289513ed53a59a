package imap_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/storetest"
)

func TestNothingOfADamagedMessageIsServed(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		for _, size := range []int{10, 100_000, 400_000} {
			for name, damage := range map[string]func(raw string) string{
				"altered":   func(raw string) string { return raw[:len(raw)-1] + "?" },
				"shortened": func(raw string) string { return raw[:len(raw)-1] },
				"longer":    func(raw string) string { return raw + "x" },
				"missing":   func(string) string { return "" },
			} {
				objects := blob.NewMemory()
				x := newSiteOn(t, s, objects, "bob")
				raw := "Return-Path: <a@sender.test>\r\nSubject: secret\r\n\r\n" + strings.Repeat("a", size)
				good, bad := raw, damage(raw)
				x.deliver(t, "bob", store.Inbox, good)
				id := x.deliver(t, "bob", store.Inbox, raw)[0]
				key := store.ObjectKey(x.Tenant.ID, x.Mailboxes["bob"].ID, id)
				require.NoError(t, objects.Delete(t.Context(), key))
				if bad != "" {
					require.NoError(t, objects.Put(t.Context(), key, strings.NewReader(bad), int64(len(bad))))
				}
				w := x.login(t, "bob")
				w.ok("SELECT INBOX")
				for _, item := range []string{
					"BODY[]", "BODY[]<0.5>", "BODY[HEADER]", "BODY[HEADER.FIELDS (SUBJECT)]", "BODY[TEXT]", "BODY[1]", "BODY[1.MIME]",
					"RFC822", "ENVELOPE", "BODYSTRUCTURE", "BODY",
				} {
					untagged, tagged := w.do("FETCH * (UID %s)", item)
					require.True(t, strings.HasPrefix(tagged, "NO [SERVERBUG]"), "%s %d %s: %s", name, size, item, tagged)
					require.Empty(t, untagged, "%s %d %s", name, size, item)
					told := x.suspects.Take()
					require.Len(t, told, 1)
					require.True(t, errors.Is(told[id], blob.ErrDamaged) || errors.Is(told[id], blob.ErrNotFound), "%s: %v", item, told[id])
				}
				for _, key := range []string{"BODY aaa", "TEXT secret", "HEADER SUBJECT secret", "NOT HEADER SUBJECT other BODY aaa"} {
					require.Equal(t, []string{"* SEARCH 1"}, w.ok("SEARCH %s", key), "%s %d %s: the others are found", name, size, key)
				}
				require.Contains(t, x.suspects.Take(), id)
				untagged, tagged := w.do("FETCH 1:* BODY.PEEK[]")
				require.True(t, strings.HasPrefix(tagged, "NO "), tagged)
				require.NotEmpty(t, untagged, "the others are served")
				w.ok("FETCH * (FLAGS RFC822.SIZE INTERNALDATE)")
				_, err := s.DeleteMessages(t.Context(), store.System, allOf(t, s, x))
				require.NoError(t, err)
			}
		}
	})
}

func TestDamageInALaterPieceIsTold(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		objects := blob.NewMemory()
		x := newSiteOn(t, s, objects, "bob")
		raw := "Subject: long\r\n\r\n" + strings.Repeat("a", 3*blob.PieceBytes)
		c := x.put(t, "bob", store.Inbox, raw)
		d := blob.NewDigester()
		_, _ = d.Write([]byte(raw))
		c.Content.Pieces = d.Pieces()
		storetest.Deliver(t, s, c)
		bad := raw[:len(raw)-1] + "?"
		require.NoError(t, objects.Replace(t.Context(), c.Key, strings.NewReader(bad), int64(len(bad))))
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		w.ok("FETCH 1 BODY.PEEK[]<0.100>")
		require.Empty(t, x.suspects.Take())
		w.send("f FETCH 1 BODY.PEEK[]\r\n")
		_, err := io.Copy(io.Discard, w.r)
		require.NoError(t, err, "the connection ends before the bad piece")
		require.ErrorIs(t, x.suspects.Take()[c.ID], blob.ErrDamaged)
	})
}

func allOf(t *testing.T, s *store.Store, x *site) []store.MessageID {
	t.Helper()
	list, err := s.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: x.Mailboxes["bob"].ID, Limit: 1000})
	require.NoError(t, err)
	var ids []store.MessageID
	for _, m := range list {
		ids = append(ids, m.ID)
	}
	return ids
}

func TestSessionEndsWhenItsFolderIsNumberedAnew(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		x.deliver(t, "bob", store.Inbox, plainMail)
		box := x.Mailboxes["bob"]
		for _, command := range []string{"NOOP", "IDLE"} {
			w := x.login(t, "bob")
			before := w.ok("SELECT INBOX")
			if command == "IDLE" {
				w.send("i IDLE\r\n")
				require.Equal(t, "+ idling", w.line())
			}
			require.NoError(t, s.RenewFolder(t.Context(), box.Tenant, box.ID, store.Inbox))
			if command == "NOOP" {
				w.send("n NOOP\r\n")
			}
			require.Contains(t, w.line(), "* BYE The messages of this folder have new UIDs")
			w = x.login(t, "bob")
			require.NotEqual(t, before, w.ok("SELECT INBOX"))
			require.Equal(t, []string{"* 1 FETCH (UID 1)"}, w.ok("FETCH 1 UID"))
		}
	})
}
