package subject_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
	"github.com/mairust/mairust/store/subject"
)

const encoded = "=?iso-2022-jp?B?GyRCQEE1YT1xGyhC?=" // 請求書

// raw is a message with two attachments, one of them in a container of its own.
func raw(subject string, filler int) string {
	return strings.ReplaceAll(fmt.Sprintf(`Return-Path: <a@sender.test>
From: A <a@sender.test>
Subject: %s
Content-Type: multipart/mixed; boundary=outer

preamble
--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=utf-8

the words of the letter%s
--inner
Content-Type: text/html

<p>the words
--inner--
--outer
Content-Type: application/pdf; name="=?utf-8?B?6KuL5rGC5pu4LnBkZg==?="
Content-Transfer-Encoding: base64

aGVsbG8=
--outer
Content-Disposition: attachment;
 filename*0*=utf-8''%%E8%%AB%%8B%%E6%%B1%%82;
 filename*1*=%%E6%%9B%%B8-2.txt
Content-Transfer-Encoding: quoted-printable

=E3=81=82
--outer--
`, subject, strings.Repeat("\n.", filler)), "\n", "\r\n")
}

func TestAMessageWhoseRowWasRefusedIsReadFromItsObject(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			site := storetest.NewSite(t, s, "one", "one.test", "bob")
			objects := blob.NewMemory()
			whole := deliver(t, s, objects, site, raw("good", 100))
			storetest.RefuseRows(t, db, `NEW.subject LIKE 'poison%'`)
			bare := deliver(t, s, objects, site, raw("poison", 100))

			index := subject.New(s, objects, nil)
			want, err := index.Message(t.Context(), store.System, whole)
			require.NoError(t, err)
			m, err := index.Message(t.Context(), store.System, bare)
			require.NoError(t, err)
			require.Equal(t, "poison", m.Subject)
			require.Contains(t, m.Defects, store.DefectNotIndexed)
			require.Equal(t, want.From, m.From)
			require.Equal(t, want.Preview, m.Preview)
			require.True(t, m.HasAttachments)
			require.Len(t, m.Parts, len(want.Parts))
			for i, p := range m.Parts {
				require.Equal(t, want.Parts[i].Type, p.Type)
				require.Equal(t, want.Parts[i].Name, p.Name)
				require.Equal(t, want.Parts[i].Offset+int64(len("poison")-len("good")), p.Offset, "where it is in the object")
			}
			list, err := index.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Limit: 10})
			require.NoError(t, err)
			require.Equal(t, "poison", list[0].Subject)
			require.Equal(t, "a@sender.test", list[0].From[0].Address)
		})
	}
}

func TestWordsAreReadFromTheObjectWhereTheDatabaseMayNotHaveThem(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db, OmitContent: true})
			site := storetest.NewSite(t, s, "one", "one.test", "bob")
			objects := blob.NewMemory()
			index := subject.New(s, objects, nil)
			small := deliver(t, s, objects, site, raw("=?utf-8?B?6KuL5rGC5pu4?= secret", 0))
			large := deliver(t, s, objects, site, raw(encoded, 1_000_000))

			requireNoWords(t, db, "secret", "the words", "請求書", ".pdf")
			for id, want := range map[store.MessageID]string{small: "請求書 secret", large: "請求書"} {
				m, err := index.Message(t.Context(), store.System, id)
				require.NoError(t, err)
				require.Equal(t, want, m.Subject)
				var names []string
				for _, p := range attachment.Attachments(m) {
					names = append(names, p.Name)
				}
				require.Equal(t, []string{"請求書.pdf", "請求書-2.txt"}, names)
			}
			list, err := index.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Limit: 10})
			require.NoError(t, err)
			require.Equal(t, "請求書", list[0].Subject)
			require.Equal(t, "請求書 secret", list[1].Subject)
			require.True(t, list[0].HasAttachments)
			require.Equal(t, "a@sender.test", list[0].From[0].Address)

			// IMAP asks for subjects, and is told of none: it reads headers then.
			err = s.FolderSubjects(t.Context(), store.System, list[0].Folder, 1, 100, func(uint32, string) { t.Error("there is no subject") })
			require.NoError(t, err)

			// While an object is away the rest of its row is shown.
			require.NoError(t, objects.Delete(t.Context(), list[0].Key))
			list, err = index.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Limit: 10})
			require.NoError(t, err)
			require.Empty(t, list[0].Subject)
			require.Equal(t, "請求書 secret", list[1].Subject)
		})
	}
}

func TestWithoutOmissionTheIndexAnswersAlone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		objects := blob.NewMemory()
		id := deliver(t, s, objects, site, raw("plain", 0))
		require.NoError(t, objects.Delete(t.Context(), store.ObjectKey(site.Tenant.ID, site.Mailboxes["bob"].ID, id)))
		m, err := subject.New(s, objects, nil).Message(t.Context(), store.System, id)
		require.NoError(t, err)
		require.Equal(t, "plain", m.Subject)
	})
}

func TestListsAnswerWithoutAnObjectStore(t *testing.T) {
	s := store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, sqldb.SQLite)), OmitContent: true})
	site := storetest.NewSite(t, s, "one", "one.test", "bob")
	objects := blob.NewMemory()
	var last store.MessageID
	for range 100 {
		last = deliver(t, s, objects, site, raw("words", 0))
	}
	down := &failing{}
	index := subject.New(s, down, nil)
	list, err := index.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Limit: 100})
	require.NoError(t, err)
	require.Len(t, list, 100)
	require.LessOrEqual(t, down.asked.Load(), int64(40), "it is not asked for each message")
	m, err := index.Message(t.Context(), store.System, last)
	require.NoError(t, err)
	require.Empty(t, m.Subject)
}

// failing is an object store that is down.
type failing struct{ asked atomic.Int64 }

func (f *failing) Get(context.Context, string, int64, int64) (io.ReadCloser, blob.Info, error) {
	f.asked.Add(1)
	return nil, blob.Info{}, errors.New("connection refused")
}

func deliver(t *testing.T, s *store.Store, objects *blob.Memory, site *storetest.Site, text string) store.MessageID {
	t.Helper()
	c := storetest.NewCopy(t, site.Target("bob"), "")
	summary, err := mail.Summarize(strings.NewReader(text), mail.Limits{})
	require.NoError(t, err)
	d := blob.NewDigester()
	_, _ = d.Write([]byte(text))
	c.Content.Summary, c.Content.SizeBytes, c.Content.Digest, c.Content.Pieces = summary, int64(len(text)), d.Sum(), d.Pieces()
	require.NoError(t, objects.Put(t.Context(), c.Key, strings.NewReader(text), int64(len(text))))
	storetest.Deliver(t, s, c)
	m, err := s.Message(t.Context(), store.System, c.ID)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(c.Content.Digest[:]), m.Digest)
	return c.ID
}

// requireNoWords looks through every row of messages.
func requireNoWords(t *testing.T, db *sqldb.DB, words ...string) {
	t.Helper()
	var all bytes.Buffer
	err := db.Each(t.Context(), `SELECT subject, preview, summary, from_name FROM messages`, nil, func(scan sqldb.Scan) error {
		var a, b, c, d string
		err := scan(&a, &b, &c, &d)
		all.WriteString(a + b + c + d)
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, all.String())
	for _, word := range words {
		require.NotContains(t, all.String(), word)
	}
}
