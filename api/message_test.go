package api_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/storetest"
)

// plain is a message in ISO-2022-JP, as Japanese mailers write it.
const plain = "From: =?iso-2022-jp?B?GyRCRURDZhsoQg==?= <tanaka@example.org>\r\n" +
	"To: bob@example.test\r\nSubject: =?UTF-8?B?5Lya6K2w?=\r\nMessage-ID: <1@example.org>\r\n" +
	"Date: Wed, 01 Apr 2026 09:00:00 +0900\r\n" +
	"Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B2q5D\x1b(B\r\n"

// withParts has a text, a PDF and pages that pretend to be harmless.
var withParts = "From: sender@example.org\r\nTo: bob@example.test\r\nSubject: files\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n" +
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nsee the files\r\n" +
	"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n" +
	"Content-Disposition: attachment; filename*=UTF-8''%E8%AB%8B%E6%B1%82%E6%9B%B8.pdf\r\n\r\n" +
	wrap(base64.StdEncoding.EncodeToString([]byte(pdf))) +
	"--b\r\nContent-Type: text/html\r\nContent-Disposition: attachment; filename=\"../../x\\\"; evil.html\"\r\n\r\n<script>alert(1)</script>\r\n" +
	"--b\r\nContent-Type: image/svg+xml; name=\"a\x01b.svg\"\r\nContent-Disposition: attachment\r\n\r\n<svg/>\r\n" +
	"--b\r\nContent-Type: text/plain; charset=\"utf-8; x\"\r\nContent-Disposition: attachment; filename=\"" + strings.Repeat("n", 900) + ".txt\"\r\n\r\nlong\r\n" +
	"--b--\r\n"

var pdf = "%PDF-1.7 " + strings.Repeat("0123456789", 20_000)

func wrap(s string) string {
	var b strings.Builder
	for len(s) > 76 {
		b.WriteString(s[:76] + "\r\n")
		s = s[76:]
	}
	return b.String() + s + "\r\n"
}

func TestMessageIsReadAsItWasDelivered(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
		bob := r.session(t, site.Users["bob"].ID)
		id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, plain)

		list := decode[wire.List[wire.Message]](t, r.get(t, bob, "/api/v1/messages"))
		require.False(t, list.Pagination.HasMore)
		require.Len(t, list.Data, 1)
		require.Equal(t, string(id), list.Data[0].ID)
		require.Equal(t, "会議", list.Data[0].Subject)

		m := decode[wire.MessageDetail](t, r.get(t, bob, "/api/v1/messages/"+string(id)))
		require.Equal(t, "会議\r\n", m.Text)
		require.False(t, m.TextTruncated)
		require.Nil(t, m.BodyError)
		require.Equal(t, []wire.Person{{Name: "田中", Address: "tanaka@example.org"}}, m.From)
		require.Equal(t, "bob@example.test", m.Mailbox)
		require.Equal(t, "INBOX", m.Folder)
		require.Equal(t, "sender@example.org", m.EnvelopeFrom)
		require.Equal(t, []string{"newsletter"}, m.Tags)
		require.Equal(t, "2026-04-01T00:00:00Z", m.Date.Format("2006-01-02T15:04:05Z07:00"))
		require.Empty(t, m.Attachments)

		raw := r.get(t, bob, "/api/v1/messages/"+string(id)+"/raw")
		require.Equal(t, http.StatusOK, raw.StatusCode)
		require.Equal(t, "Return-Path: <sender@example.org>\r\n"+plain, string(raw.body))
		require.Equal(t, "message/rfc822", raw.Header.Get("Content-Type"))
		require.Equal(t, `"`+m.SHA256+`"`, raw.Header.Get("ETag"))
		require.Equal(t, int64(len(raw.body)), raw.ContentLength)
		require.Equal(t, m.SizeBytes, raw.ContentLength)
		require.Equal(t, "nosniff", raw.Header.Get("X-Content-Type-Options"))
		require.Contains(t, raw.Header.Get("Content-Security-Policy"), "sandbox")
	})
}

func TestRawAnswersRangesAndConditions(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	bob := r.session(t, site.Users["bob"].ID)
	id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, withParts)
	path := "/api/v1/messages/" + string(id) + "/raw"
	whole := r.get(t, bob, path)
	all, size, etag := string(whole.body), len(whole.body), whole.Header.Get("ETag")

	for name, row := range map[string]struct {
		header       []string
		status       int
		contentRange string
		body         string
	}{
		"first bytes":         {[]string{"Range: bytes=0-9"}, 206, fmt.Sprintf("bytes 0-9/%d", size), all[:10]},
		"from the middle":     {[]string{"Range: bytes=100-"}, 206, fmt.Sprintf("bytes 100-%d/%d", size-1, size), all[100:]},
		"the last bytes":      {[]string{"Range: bytes=-5"}, 206, fmt.Sprintf("bytes %d-%d/%d", size-5, size-1, size), all[size-5:]},
		"more than there is":  {[]string{"Range: bytes=-99999999"}, 206, fmt.Sprintf("bytes 0-%d/%d", size-1, size), all},
		"end beyond":          {[]string{"Range: bytes=10-99999999"}, 206, fmt.Sprintf("bytes 10-%d/%d", size-1, size), all[10:]},
		"start beyond":        {[]string{"Range: bytes=99999999-"}, 416, fmt.Sprintf("bytes */%d", size), ""},
		"nothing":             {[]string{"Range: bytes=-0"}, 416, fmt.Sprintf("bytes */%d", size), ""},
		"backwards":           {[]string{"Range: bytes=9-0"}, 200, "", all},
		"several":             {[]string{"Range: bytes=0-1,5-6"}, 200, "", all},
		"other unit":          {[]string{"Range: lines=0-1"}, 200, "", all},
		"nonsense":            {[]string{"Range: bytes=+1-x"}, 200, "", all},
		"huge numbers":        {[]string{"Range: bytes=99999999999999999999-"}, 200, "", all},
		"same entity":         {[]string{"Range: bytes=0-0", "If-Range: " + etag}, 206, fmt.Sprintf("bytes 0-0/%d", size), all[:1]},
		"another entity":      {[]string{"Range: bytes=0-0", `If-Range: "other"`}, 200, "", all},
		"known already":       {[]string{"If-None-Match: " + etag}, 304, "", ""},
		"known among several": {[]string{`If-None-Match: "a", W/` + etag}, 304, "", ""},
		"not known":           {[]string{`If-None-Match: "a"`}, 200, "", all},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.get(t, bob, path, row.header...)
			require.Equal(t, row.status, a.StatusCode)
			require.Equal(t, row.contentRange, a.Header.Get("Content-Range"))
			if row.status == 416 {
				require.Equal(t, "range_not_satisfiable", a.problem(t).Code)
				return
			}
			require.Equal(t, etag, a.Header.Get("ETag"))
			require.Equal(t, row.body, string(a.body))
		})
	}
}

func TestAttachmentsAnswerRangesOfWhatIsDecoded(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	bob := r.session(t, site.Users["bob"].ID)
	id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, withParts)
	path := "/api/v1/messages/" + string(id) + "/attachments/2"
	whole := r.get(t, bob, path)
	etag := whole.Header.Get("ETag")
	require.Equal(t, "bytes", whole.Header.Get("Accept-Ranges"))
	require.EqualValues(t, len(pdf), whole.ContentLength)
	for _, row := range []struct {
		header       []string
		status       int
		contentRange string
		body         string
	}{
		{[]string{"Range: bytes=1-3"}, 206, fmt.Sprintf("bytes 1-3/%d", len(pdf)), pdf[1:4]},
		{[]string{"Range: bytes=-2"}, 206, fmt.Sprintf("bytes %d-%d/%d", len(pdf)-2, len(pdf)-1, len(pdf)), pdf[len(pdf)-2:]},
		{[]string{"Range: bytes=2-"}, 206, fmt.Sprintf("bytes 2-%d/%d", len(pdf)-1, len(pdf)), pdf[2:]},
		{[]string{"Range: bytes=0-0", "If-Range: " + etag}, 206, fmt.Sprintf("bytes 0-0/%d", len(pdf)), pdf[:1]},
		{[]string{"Range: bytes=0-0", `If-Range: "another"`}, 200, "", pdf},
		{[]string{"If-None-Match: " + etag}, 304, "", ""},
		{[]string{"Range: bytes=99999999-"}, 416, fmt.Sprintf("bytes */%d", len(pdf)), ""},
	} {
		a := r.get(t, bob, path, row.header...)
		require.Equal(t, row.status, a.StatusCode, row.header)
		require.Equal(t, row.contentRange, a.Header.Get("Content-Range"), row.header)
		if row.status != 416 {
			require.Equal(t, row.body, string(a.body), row.header)
		}
	}
	require.NotEqual(t, etag, r.get(t, bob, strings.TrimSuffix(path, "2")+"3").Header.Get("ETag"), "each part has its own")
}

func TestHeadAnswersTheHeaderOfGet(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	bob := r.session(t, site.Users["bob"].ID)
	id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, withParts)
	path := "/api/v1/messages/" + string(id) + "/raw"
	get, head := r.get(t, bob, path), r.do(t, bob, http.MethodHead, path, "")
	require.Equal(t, http.StatusOK, head.StatusCode)
	require.Empty(t, head.body)
	require.Equal(t, get.ContentLength, head.ContentLength)
	require.Equal(t, get.Header.Get("ETag"), head.Header.Get("ETag"))
	require.Equal(t, http.StatusNotFound, r.do(t, bob, http.MethodHead, "/api/v1/none", "").StatusCode)
}

func TestAttachmentsComeDecodedAndHarmless(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
		bob := r.session(t, site.Users["bob"].ID)
		id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, withParts)
		path := "/api/v1/messages/" + string(id)
		m := decode[wire.MessageDetail](t, r.get(t, bob, path))
		require.True(t, m.HasAttachments)
		require.Equal(t, "see the files", strings.TrimSpace(m.Text))
		require.Len(t, m.Attachments, 4)
		require.Equal(t, wire.Attachment{ID: "2", Name: "請求書.pdf", Type: "application/pdf", SizeBytes: int64(len(pdf))}, m.Attachments[0])

		for _, row := range []struct{ part, contentType, name, body string }{
			{"2", "application/pdf", `filename*=UTF-8''%E8%AB%8B%E6%B1%82%E6%9B%B8.pdf`, pdf},
			{"3", "application/octet-stream", `evil.html`, "<script>alert(1)</script>"},
			{"4", "application/octet-stream", `svg`, "<svg/>"},
			{"5", "text/plain", ".txt", "long"},
		} {
			a := r.get(t, bob, path+"/attachments/"+row.part)
			require.Equal(t, http.StatusOK, a.StatusCode)
			require.Equal(t, row.body, string(a.body), row.part)
			require.Equal(t, row.contentType, a.Header.Get("Content-Type"))
			require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
			require.Contains(t, a.Header.Get("Content-Security-Policy"), "sandbox")
			disposition := a.Header.Get("Content-Disposition")
			require.True(t, strings.HasPrefix(disposition, `attachment; filename="`), disposition)
			require.Contains(t, disposition, row.name)
			require.NotContains(t, disposition, "..")
			require.Equal(t, 2, strings.Count(disposition, `"`), disposition)
			require.Less(t, len(disposition), 900)
		}
		for _, none := range []string{"0", "9", "1.1", "2.1", "%20", "../raw", strings.Repeat("1", 60)} {
			a := r.get(t, bob, path+"/attachments/"+none)
			require.Equal(t, "not_found", a.problem(t).Code, none)
		}
	})
}

func TestCorruptObjectIsNeverServedAsGood(t *testing.T) {
	for name, size := range map[string]int{"small": 10, "large": 500_000, "in pieces": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, "sqlite", apiDefaults)
			site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
			mbox := site.Mailboxes["bob"]
			bob := r.session(t, site.Users["bob"].ID)
			id := r.deliver(t, mbox, store.Inbox, "Subject: x\r\n\r\n"+strings.Repeat("a", size))
			path := "/api/v1/messages/" + string(id) + "/raw"
			good := r.get(t, bob, path)
			require.Equal(t, http.StatusOK, good.StatusCode)

			key := store.ObjectKey(mbox.Tenant, mbox.ID, id)
			bad := strings.Replace(string(good.body), "aa", "ab", 1)
			part := strings.TrimSuffix(path, "/raw") + "/attachments/1"
			require.Equal(t, http.StatusOK, r.get(t, bob, part).StatusCode)
			require.Equal(t, http.StatusPartialContent, r.get(t, bob, path, "Range: bytes=0-4").StatusCode)
			for _, object := range []string{bad, string(good.body[:len(good.body)-1]), string(good.body) + "a"} {
				replace(t, r, key, object)
				require.Equal(t, "body_unavailable", r.get(t, bob, path).problem(t).Code, "not even in part")
				require.ErrorIs(t, r.suspects.Take()[id], blob.ErrDamaged)
				require.Equal(t, "body_unavailable", r.get(t, bob, part).problem(t).Code)
				require.ErrorIs(t, r.suspects.Take()[id], blob.ErrDamaged)
				require.Equal(t, "body_unavailable", r.get(t, bob, path, "Range: bytes=0-4").problem(t).Code, "not even the good beginning")
				require.ErrorIs(t, r.suspects.Take()[id], blob.ErrDamaged)
			}
			require.Contains(t, r.log.String(), `"kind":"corrupt"`)
			require.NoError(t, r.objects.Delete(t.Context(), key))
			require.Equal(t, "body_unavailable", r.get(t, bob, path).problem(t).Code)
			require.ErrorIs(t, r.suspects.Take()[id], blob.ErrNotFound)
		})
	}
}

func replace(t *testing.T, r *rig, key, object string) {
	t.Helper()
	require.NoError(t, r.objects.Delete(t.Context(), key))
	require.NoError(t, r.objects.Put(t.Context(), key, strings.NewReader(object), int64(len(object))))
}

// Pieces of 1 MiB are compared one by one: those before the first damaged one are served.
func TestOfALongDamagedObjectOnlyRightBytesAreServed(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	mbox := site.Mailboxes["bob"]
	bob := r.session(t, site.Users["bob"].ID)
	id := r.deliver(t, mbox, store.Inbox, "Subject: x\r\n\r\n"+strings.Repeat("a", 3<<20))
	path := "/api/v1/messages/" + string(id)
	good := r.get(t, bob, path+"/raw").body
	bad := bytes.Clone(good)
	bad[2<<20] ^= 1
	replace(t, r, store.ObjectKey(mbox.Tenant, mbox.ID, id), string(bad))
	served := servedUntilCut(t, r, bob, path+"/raw")
	require.Greater(t, len(served), 1<<20)
	require.True(t, bytes.HasPrefix(good[:2<<20], served))
	part := servedUntilCut(t, r, bob, path+"/attachments/1")
	require.Greater(t, len(part), 1<<20)
	require.Less(t, len(part), 2<<20)
	require.Empty(t, bytes.Trim(part, "a"))
}

// servedUntilCut gives what comes before the connection is cut.
func servedUntilCut(t *testing.T, r *rig, token, path string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.http.URL+path, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := r.http.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	served, err := io.ReadAll(resp.Body)
	require.Error(t, err, "the answer must not look complete")
	return served
}

func TestMetadataAnswersWhileObjectsAreAway(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
		bob := r.session(t, site.Users["bob"].ID)
		id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, withParts)
		path := "/api/v1/messages/" + string(id)
		r.objects.away.Store(true)

		m := decode[wire.MessageDetail](t, r.get(t, bob, path, "Accept-Language: ja,en;q=0.5"))
		require.Equal(t, &wire.BodyError{Code: "body_unavailable", Message: "本文を取得できません"}, m.BodyError)
		require.Equal(t, "files", m.Subject)
		require.Len(t, m.Attachments, 4)
		for _, what := range []string{"/raw", "/attachments/2"} {
			a := r.get(t, bob, path+what)
			p := a.problem(t)
			require.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
			require.Equal(t, "body_unavailable", p.Code)
			require.Equal(t, "The message body cannot be retrieved right now", p.Detail)
			require.NotEmpty(t, a.Header.Get("Retry-After"))
			require.NotContains(t, string(a.body), "disk")
		}
		require.Contains(t, r.log.String(), "the disk is gone")
		r.objects.away.Store(false)
		require.Equal(t, http.StatusOK, r.get(t, bob, path+"/raw").StatusCode)
	})
}

func TestLongTextIsCutBetweenCharacters(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	bob := r.session(t, site.Users["bob"].ID)
	for charset, line := range map[string]string{"utf-8": "あいう長い文\r\n", "shift_jis": "\x82\xa0\x82\xa2\x92\xb7\x82\xa2\r\n"} {
		id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, "Subject: long\r\nContent-Type: text/plain; charset="+charset+
			"\r\n\r\n"+strings.Repeat(line, 20_000))
		m := decode[wire.MessageDetail](t, r.get(t, bob, "/api/v1/messages/"+string(id)))
		require.True(t, m.TextTruncated)
		require.LessOrEqual(t, len(m.Text), 64<<10)
		require.Greater(t, len(m.Text), 60<<10)
		require.NotContains(t, m.Text, "\uFFFD")
		require.Contains(t, m.Text, "あい")
	}
}

func TestPagingGoesThroughAllMessagesOnce(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
		bob := r.session(t, site.Users["bob"].ID)
		var want []string
		for i := range 7 {
			folder := store.Inbox
			if i%2 == 1 {
				folder = store.Quarantine
			}
			want = append([]string{string(r.deliver(t, site.Mailboxes["bob"], folder, plain))}, want...)
		}
		require.Equal(t, want, walk(t, r, bob, "/api/v1/messages?limit=3"))
		require.Equal(t, []string{want[1], want[3], want[5]}, walk(t, r, bob, "/api/v1/messages?limit=2&folder=Quarantine"))
		require.Len(t, walk(t, r, bob, "/api/v1/messages?limit=7"), 7)
		require.Empty(t, walk(t, r, bob, "/api/v1/messages?folder=None"))
	})
}

func walk(t *testing.T, r *rig, token, path string) (ids []string) {
	t.Helper()
	next := path
	for range 20 {
		page := decode[wire.List[wire.Message]](t, r.get(t, token, next))
		for _, m := range page.Data {
			ids = append(ids, m.ID)
		}
		if !page.Pagination.HasMore {
			require.Empty(t, page.Pagination.Cursor)
			return ids
		}
		next = path + "&cursor=" + page.Pagination.Cursor
	}
	t.Fatal("the list does not end")
	return nil
}

func TestMailboxIsRequiredWhenThereAreSeveral(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob", "ann")
		admin := r.person(t, site.Tenant.ID, "admin@example.test", auth.TenantAdmin)
		a := r.get(t, admin, "/api/v1/messages")
		require.Equal(t, http.StatusBadRequest, a.StatusCode)
		require.Equal(t, "mailbox_required", a.problem(t).Code)
		for _, name := range []string{"bob@example.test", "BOB@Example.TEST", string(site.Mailboxes["bob"].ID)} {
			require.Equal(t, http.StatusOK, r.get(t, admin, "/api/v1/messages?mailbox="+name).StatusCode)
		}
		list := decode[wire.List[wire.Mailbox]](t, r.get(t, admin, "/api/v1/mailboxes?limit=1"))
		require.Equal(t, "ann@example.test", list.Data[0].Address)
		list = decode[wire.List[wire.Mailbox]](t, r.get(t, admin, "/api/v1/mailboxes?limit=1&cursor="+list.Pagination.Cursor))
		require.Equal(t, "bob@example.test", list.Data[0].Address)
		require.False(t, list.Pagination.HasMore)
		one := decode[wire.Mailbox](t, r.get(t, admin, "/api/v1/mailboxes/bob@example.test"))
		require.NotEmpty(t, one.Folders)
	})
}

func TestReadingSomeoneElsesMailIsAudited(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
		bob := r.session(t, site.Users["bob"].ID)
		helpdesk := r.person(t, site.Tenant.ID, "help@example.test", auth.Helpdesk)
		key := r.key(t, "", auth.SuperAdmin)
		id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, withParts)
		path := "/api/v1/messages/" + string(id)

		for _, what := range []string{"", "/raw", "/attachments/2"} {
			require.Equal(t, http.StatusOK, r.get(t, bob, path+what).StatusCode)
		}
		require.Empty(t, auditLog(t, r), "one's own mail")
		for _, what := range []string{"", "/raw", "/attachments/2"} {
			a := r.get(t, helpdesk, path+what+"?reason=ticket+7", "X-Request-Id: req-1")
			require.Equal(t, http.StatusOK, a.StatusCode)
			require.Equal(t, "req-1", a.Header.Get("X-Request-Id"))
		}
		require.Equal(t, http.StatusNotFound, r.get(t, helpdesk, path+"/attachments/77").StatusCode)
		require.Equal(t, http.StatusOK, r.get(t, key, path).StatusCode)
		log := auditLog(t, r)
		require.Len(t, log, 4)
		require.Equal(t, "api_key", log[0].ActorKind)
		require.Regexp(t, `^\S+ \([0-9a-f-]{36}\)$`, log[0].Actor, "two keys may have one name")
		for _, e := range log[1:] {
			require.Equal(t, "message.read", e.Action)
			require.Equal(t, string(id), e.Target)
			require.Equal(t, "help@example.test", e.Actor)
			require.Equal(t, "user", e.ActorKind)
			require.Equal(t, "ticket 7", e.Reason)
			require.NotEqual(t, "req-1", e.RequestID, "the client's choice")
			require.Contains(t, r.log.String(), `"request_id":"req-1","audit_id":"`+e.RequestID+`"`)
			require.Equal(t, site.Tenant.ID, e.Tenant)
		}
	})
}

func TestListingSomeoneElsesMailIsAuditedOnceForManyPages(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob", "ann")
		bob := r.session(t, site.Users["bob"].ID)
		helpdesk := r.person(t, site.Tenant.ID, "help@example.test", auth.Helpdesk)
		key := r.key(t, "", auth.SuperAdmin)
		list := func(token, mailbox string) {
			t.Helper()
			a := r.get(t, token, "/api/v1/messages?mailbox="+mailbox+"@example.test&reason=ticket+8")
			require.Equal(t, http.StatusOK, a.StatusCode)
		}
		list(bob, "bob")
		require.Empty(t, auditLog(t, r), "one's own mail")
		for range 3 {
			list(helpdesk, "bob")
		}
		log := auditLog(t, r)
		require.Len(t, log, 1)
		require.Equal(t, "message.list", log[0].Action)
		require.Equal(t, string(site.Mailboxes["bob"].ID), log[0].Target)
		require.Equal(t, "help@example.test", log[0].Actor)
		require.Equal(t, "ticket 8", log[0].Reason)
		require.Equal(t, site.Tenant.ID, log[0].Tenant)
		list(helpdesk, "ann")
		list(key, "bob")
		require.Len(t, auditLog(t, r), 3)
		require.Equal(t, http.StatusNotFound, r.get(t, helpdesk, "/api/v1/messages?mailbox=eve@example.test").StatusCode)
		require.Len(t, auditLog(t, r), 3)
	})
}

func TestTheAdminSocketChoosesItsRequestIDAndHasAName(t *testing.T) {
	r := newRig(t, "sqlite", api.Options{})
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	req, err := http.NewRequest(http.MethodGet, r.socket.URL+"/api/v1/messages?mailbox=bob@example.test", http.NoBody)
	require.NoError(t, err)
	req.Header.Set("X-Request-Id", "on-host-1")
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusOK, res.StatusCode)
	log := auditLog(t, r)
	require.Equal(t, "on-host-1", log[0].RequestID)
	require.Equal(t, site.Tenant.ID, log[0].Tenant)

	w := httptest.NewRecorder()
	overUnix := httptest.NewRequest(http.MethodGet, "/api/v1/auth/me", http.NoBody)
	overUnix.RemoteAddr = "@"
	r.server.AdminHandler().ServeHTTP(w, overUnix)
	require.Contains(t, r.log.String(), `"client":"socket"`)
	require.NotContains(t, r.log.String(), "invalid IP")
}

func auditLog(t *testing.T, r *rig) (reads []store.AuditEntry) {
	t.Helper()
	all, err := r.store.AuditLog(t.Context(), store.System, timeZero, 100)
	require.NoError(t, err)
	return all
}
