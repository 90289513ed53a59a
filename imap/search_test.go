package imap_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/storetest"
)

func TestSearchFindsWhatIsAskedFor(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		qp := "Return-Path: <a@sender.test>\r\nFrom: =?utf-8?B?5bGx55Sw?= <yamada@x.test>\r\nTo: bob@acme.test\r\nBcc: hidden@x.test\r\n" +
			"Subject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\nX-Tag: one two\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n" +
			"Date: Sat, 28 Feb 2026 23:30:00 -0500\r\n\r\n=E8=AB=8B=E6=B1=82=E6=9B=B8 FULLWIDTH=EF=BC=A1\r\n"
		ids := x.deliver(t, "bob", store.Inbox, plainMail, mixedMail, qp)
		// As the Web UI shows them: a space after a line, and lines that were encoded one by one.
		x.deliver(t, "bob", "Loose", "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nZmlyc3Qg \r\nbmVlZGxl\r\n", "MIME-Version: 1.0\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: BASE64\r\n\r\nZmlyc3Q=\r\nbmVlZGxl\r\n")
		_, err := s.ChangeMessages(t.Context(), store.System, ids[:1], store.Change{AddFlags: []string{`\Seen`}})
		require.NoError(t, err)
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		for _, row := range []struct{ query, want string }{
			{"ALL", " 1 2 3"}, {"SEEN", " 1"}, {"UNSEEN", " 2 3"}, {"NOT SEEN", " 2 3"}, {"NEW", ""}, {"OLD", " 1 2 3"}, {"KEYWORD x", ""},
			{"UNKEYWORD x", " 1 2 3"}, {"1,3", " 1 3"}, {"UID 2:*", " 2 3"}, {"OR SEEN 3", " 1 3"}, {"(SEEN 1)", " 1"}, {"NOT (SEEN 1)", " 2 3"},
			{"SUBJECT HELLO", " 1"}, {"SUBJECT {6+}\r\n会議", " 2"}, {"CHARSET UTF-8 SUBJECT {6+}\r\n会議", " 2"}, {"SUBJECT {7+}\r\ngrüße", " 3"},
			{"CHARSET ISO-2022-JP SUBJECT {10+}\r\n\x1b$B2q5D\x1b(B", " 2"}, {"CHARSET ISO-2022-JP BODY {12+}\r\n\x1b$B@A5a=q\x1b(B", " 2 3"},
			{"FROM sender.test", " 1 2"}, {"FROM {6+}\r\n山田", " 3"}, {"TO bob", " 1 3"}, {"BCC hidden", " 3"}, {"CC bob", ""},
			{"HEADER X-Tag \"\"", " 3"}, {"HEADER X-Tag two", " 3"}, {"HEADER X-None \"\"", ""}, {"BODY \"line 2\"", " 1"}, {"BODY inner", " 2"},
			{"TEXT hello", " 1"}, {"BODY hello", ""}, {"BODY fullwidtha", " 3"}, {"TEXT {6+}\r\n会議", " 2"}, {"NOT BODY inner", " 1 3"},
			{"LARGER 300", " 2 3"}, {"SMALLER 300", " 1"}, {"SMALLER 0", ""}, {"SMALLER 300 SINCE 1-Jan-2020", " 1"},
			{"SINCE 4-Mar-2026", " 1 2 3"}, {"BEFORE 4-Mar-2026", ""}, {"ON \"4-Mar-2026\"", " 1 2 3"}, {"SENTON 4-Mar-2026", " 1"},
			{"SENTON 28-Feb-2026", " 3"}, {"SENTBEFORE 1-Mar-2026", " 3"}, {"SENTSINCE 1-Mar-2026", " 1"}, {"YOUNGER 10", ""}, {"OLDER 10 1", " 1"},
		} {
			want := []string{"* SEARCH" + row.want}
			if row.query == "YOUNGER 10" || row.query == "OLDER 10 1" {
				_, tagged := w.do("SEARCH %s", row.query) // what it finds depends on today
				require.Contains(t, tagged, "OK")
				continue
			}
			require.Equal(t, want, w.ok("SEARCH %s", row.query), row.query)
		}
		w.refused("NO [BADCHARSET", "SEARCH CHARSET KLINGON ALL")
		for _, bad := range []string{"SEARCH", "SEARCH NONSENSE", "SEARCH (ALL", "SEARCH OR ALL", "SEARCH SINCE yesterday", "SEARCH UID x"} {
			w.refused("BAD", "%s", bad)
		}
		require.Equal(t, []string{`* ESEARCH (TAG "e") UID MIN 2 MAX 3 ALL 2:3 COUNT 2`}, esearch(w, "UID SEARCH RETURN (MIN MAX ALL COUNT) UNSEEN"))
		require.Equal(t, []string{`* ESEARCH (TAG "e") COUNT 0`}, esearch(w, "SEARCH RETURN (COUNT ALL) SUBJECT nothing"))
		require.Empty(t, w.ok("SEARCH RETURN (SAVE) UNSEEN"))
		require.Equal(t, []string{"* 2 FETCH (FLAGS ())", "* 3 FETCH (FLAGS ())"}, w.ok("FETCH $ FLAGS"))
		require.Equal(t, []string{"* SEARCH 3"}, w.ok("SEARCH $ 3"))
		w.ok("SELECT Loose")
		require.Equal(t, []string{"* SEARCH 1 2"}, w.ok("SEARCH BODY first BODY needle"))
	})
}

// One sign of JIS X 0208 is two characters of Unicode, after the standard or after Microsoft; which one, the programs of
// sender and searcher choose.
func TestSearchTakesBothCharactersOfASignForOne(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		const (
			standard  = "10\u301c20 \u22125 \u2016a\u2016 \u00a2\u00a3\u00ac \u2014"
			microsoft = "10\uff5e20 \uff0d5 \u2225a\u2225 \uffe0\uffe1\uffe2 \u2015"
		)
		for _, text := range []string{standard, microsoft} {
			word := "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(text)) + "?="
			x.deliver(t, "bob", store.Inbox, "From: "+word+" <a@x.test>\r\nSubject: "+word+"\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"+text+"\r\n")
		}
		x.deliver(t, "bob", store.Inbox, "Subject: =?iso-2022-jp?B?"+base64.StdEncoding.EncodeToString([]byte("\x1b$B!A!]!B!q!r\"L!=\x1b(B"))+
			"?=\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B!A!]!B!q!r\"L!=\x1b(B\r\n")
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		for _, text := range []string{standard, microsoft} {
			for _, key := range []string{"SUBJECT", "FROM", "BODY", "TEXT"} {
				require.Equal(t, []string{"* SEARCH 1 2"}, w.ok("SEARCH CHARSET UTF-8 %s {%d+}\r\n%s", key, len(text), text), "%s %s", key, text)
			}
		}
		for _, text := range []string{"\u301c\u2212\u2016\u00a2\u00a3\u00ac\u2014", "\uff5e\uff0d\u2225\uffe0\uffe1\uffe2\u2015"} {
			for _, key := range []string{"SUBJECT", "BODY"} {
				require.Equal(t, []string{"* SEARCH 3"}, w.ok("SEARCH %s {%d+}\r\n%s", key, len(text), text), "%s %s", key, text)
			}
		}
	})
}

// The day is that of the sender, also where only our own reading of the date finds one.
func TestSentDatesAreReadAsTheIndexReadsThem(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		x.deliver(t, "bob", store.Inbox, "From: a@x.test\r\nDate: Sunday, 01-Mar-26 05:00:60 +09:00\r\n\r\nx\r\n")
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		require.Equal(t, []string{"* SEARCH 1"}, w.ok("SEARCH SENTON 1-Mar-2026"))
		require.Equal(t, []string{"* SEARCH"}, w.ok("SEARCH SENTON 28-Feb-2026"))
	})
}

func TestSentDaysAreThoseOfTheSender(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob")
		var raws []string
		for _, zone := range []string{"+0000", "+0900", "-1200", "+1400"} {
			for hour := range 24 {
				raws = append(raws, fmt.Sprintf("Date: Tue, 10 Mar 2026 %02d:30:00 %s\r\nSubject: x\r\n\r\n", hour, zone))
			}
		}
		x.deliver(t, "bob", store.Inbox, raws...)
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		const all, none = `* ESEARCH (TAG "e") ALL 1:96`, `* ESEARCH (TAG "e")`
		for query, want := range map[string]string{
			"SENTON 10-Mar-2026": all, "SENTSINCE 10-Mar-2026": all, "SENTBEFORE 11-Mar-2026": all, "SENTSINCE 8-Mar-2026": all,
			"SENTON 9-Mar-2026": none, "SENTON 11-Mar-2026": none, "SENTON 7-Mar-2026": none, "SENTSINCE 11-Mar-2026": none,
			"SENTBEFORE 10-Mar-2026": none, "NOT SENTON 10-Mar-2026": none, "NOT SENTON 11-Mar-2026": all,
		} {
			require.Equal(t, []string{want}, esearch(w, "SEARCH RETURN (ALL) "+query), query)
		}
	})
}

func esearch(w *wire, command string) []string {
	w.send("e %s\r\n", command)
	untagged, _ := w.until("e")
	return untagged
}

func TestSearchKeysAreBounded(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	x.deliver(t, "bob", store.Inbox, plainMail)
	w := x.login(t, "bob")
	w.ok("SELECT INBOX")
	w.refused("NO [LIMIT]", "SEARCH %s", strings.Repeat("SUBJECT x ", 501))
	w.refused("NO [LIMIT]", "SEARCH %s", strings.Repeat("NOT SEEN ", 300))
	w.refused("NO [LIMIT]", "SEARCH %s", strings.Repeat("BODY x ", 101))
	require.Equal(t, []string{"* SEARCH 1"}, w.ok("SEARCH %s", strings.Repeat("SUBJECT HELLO ", 500)))
	w.refused("NO [LIMIT]", "SEARCH RETURN (SAVE) %s", strings.Repeat("ALL ", 501))
	require.Equal(t, []string{"* SEARCH"}, w.ok("SEARCH $"), "RFC 5182, 2.1")
	w.refused("NO [LIMIT]", "FETCH 1 BODY[HEADER.FIELDS (%s)]", strings.TrimSpace(strings.Repeat("subject ", 201)))
	require.Equal(t, "Subject: hello\r\n\r\n", content(t, w.ok("FETCH 1 BODY[HEADER.FIELDS (%s)]", strings.TrimSpace(strings.Repeat("subject ", 200)))[0]))
}

// Each key decoding the fields for itself, this takes minutes.
func TestManyKeysLookAtAHeaderThatWasDecodedOnce(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	raw := "Subject: x\r\nX-Long: " + strings.Repeat("=?utf-8?Q?gr=C3=BC=C3=9Fe?=\r\n ", 25_000) + "end\r\n\r\ntext\r\n"
	x.deliver(t, "bob", store.Inbox, raw, raw, raw, raw, plainMail)
	x.serveWithin(t, imap.Timeouts{Search: patience}, nil, imap.Options{}, imap.Security{PlainLogin: true})
	w := x.login(t, "bob")
	w.ok("SELECT INBOX")
	began := time.Now()
	require.Equal(t, []string{"* SEARCH 1 2 3 4"}, w.ok("SEARCH %sHEADER X-Long {14+}\r\ngrüßegrüße", strings.Repeat("NOT HEADER X-Long y ", 200)))
	require.Equal(t, []string{"* SEARCH 1 2 3 4"}, w.ok("SEARCH %sTEXT text", strings.Repeat("NOT TEXT y ", 90)))
	t.Logf("took %s", time.Since(began).Round(time.Millisecond))
}

// watchedObjects count what is read of them and, once slow, yield nothing before they are let.
type watchedObjects struct {
	blob.Bucket
	read atomic.Int64
	slow atomic.Bool
	// asked has each reader that waits, until let is closed or its context ends.
	asked chan struct{}
	let   chan struct{}
}

func newWatchedObjects() *watchedObjects {
	return &watchedObjects{Bucket: blob.NewMemory(), asked: make(chan struct{}, 1000), let: make(chan struct{})}
}

func (o *watchedObjects) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if o.slow.Load() {
		o.asked <- struct{}{}
		select {
		case <-o.let:
		case <-ctx.Done():
			return nil, blob.Info{}, ctx.Err()
		}
	}
	r, info, err := o.Bucket.Get(ctx, key, offset, n)
	info.Digest = "" // as files, which are compared by who reads them
	return &counted{r, &o.read}, info, err
}

type counted struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func TestSearchReadsAMessageOfManyPartsOnce(t *testing.T) {
	t.Parallel()
	objects := newWatchedObjects()
	x := newSiteOn(t, store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))}), objects, "bob")
	part := "--b\r\nContent-Type: text/plain\r\n\r\n" + strings.Repeat("x", 300) + "\r\n"
	file := "--b\r\nContent-Type: application/pdf\r\n\r\n" + strings.Repeat(strings.Repeat("y", 98)+"\r\n", 30_000)
	raw := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat(part, 5000) + file +
		strings.Repeat(part, 4000) + "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ntext\r\n--b\r\n\r\nlast words\r\n--b--\r\n"
	x.deliver(t, "bob", store.Inbox, raw, plainMail)
	w := x.login(t, "bob")
	w.ok("SELECT INBOX")
	for query, want := range map[string]string{"BODY nothing": "", "TEXT inner": " 1", "BODY \"last words\"": " 1", "NOT BODY \"last words\"": " 2"} {
		before := objects.read.Load()
		require.Equal(t, []string{"* SEARCH" + want}, w.ok("SEARCH %s", query))
		require.Less(t, objects.read.Load()-before, int64(3*len(raw)), query)
	}
}

// searching is a client that has asked for a SEARCH, which reads a message.
func searching(t *testing.T, timeouts imap.Timeouts, more string) (*site, *watchedObjects, *wire) {
	t.Helper()
	objects := newWatchedObjects()
	x := newSiteOn(t, store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))}), objects, "bob")
	x.deliver(t, "bob", store.Inbox, plainMail, plainMail)
	x.serveWithin(t, timeouts, nil, imap.Options{}, imap.Security{PlainLogin: true})
	w := x.login(t, "bob")
	w.ok("SELECT INBOX")
	objects.slow.Store(true)
	w.send("s SEARCH RETURN (SAVE COUNT) BODY line\r\n%s", more)
	<-objects.asked
	return x, objects, w
}

func TestSearchEndsWhenItsClientLeaves(t *testing.T) {
	t.Parallel()
	x, _, w := searching(t, imap.Timeouts{Command: 300 * time.Millisecond}, "")
	time.Sleep(400 * time.Millisecond) // the time of a command is not that of its answer
	require.NoError(t, w.Close())
	x.requireConnections(t, 0)
}

func TestSearchHasItsTime(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"", "n NOOP\r\n"} {
		_, objects, w := searching(t, imap.Timeouts{Search: 50 * time.Millisecond, Command: time.Second}, more)
		untagged, tagged := w.until("s")
		require.Empty(t, untagged)
		require.Contains(t, tagged, "NO [LIMIT]")
		if more != "" {
			require.Contains(t, w.line(), "n OK")
		}
		close(objects.let)
		require.Equal(t, []string{`* ESEARCH (TAG "e") COUNT 0`}, esearch(w, "SEARCH RETURN (COUNT) $"), "RFC 5182, 2.1")
		require.Equal(t, []string{`* ESEARCH (TAG "e") COUNT 2`}, esearch(w, "SEARCH RETURN (COUNT) BODY line"))
		time.Sleep(20 * time.Millisecond) // no wait of before ends a later one
		w.ok("NOOP")
	}
}

func TestShutdownLetsASearchEnd(t *testing.T) {
	t.Parallel()
	x, objects, w := searching(t, imap.Timeouts{Stop: patience}, "")
	done := make(chan error, 1)
	go func() { done <- x.server.Shutdown(within(t, patience)) }()
	require.Eventually(t, func() bool { return refusesConnections(x.addr) }, patience, 5*time.Millisecond)
	close(objects.let)
	untagged, tagged := w.until("s")
	require.Equal(t, "OK SEARCH completed", tagged)
	require.Equal(t, []string{`* ESEARCH (TAG "s") COUNT 2`}, untagged)
	require.NoError(t, <-done)
}
