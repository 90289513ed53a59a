package ui_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// slow is a client that takes its time for each piece.
type slow struct {
	*httptest.ResponseRecorder
	piece time.Duration
	// taken is told the bytes so far after each piece; it may be nil.
	taken func(n int)
}

func (s *slow) Write(b []byte) (int, error) {
	time.Sleep(s.piece)
	n, err := s.ResponseRecorder.Write(b)
	if s.taken != nil {
		s.taken(s.Body.Len())
	}
	return n, err
}

// bigLetter has an attachment of 3 MiB.
func bigLetter() (data string, content []byte) {
	content = []byte(strings.Repeat("0123456789abcdef", 3<<20/16))
	text := base64.StdEncoding.EncodeToString(content)
	var b strings.Builder
	b.WriteString("From: a@example.org\r\nSubject: plans\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n" +
		"Content-Type: application/pdf\r\nContent-Disposition: attachment; filename=plan.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	for ; len(text) > 76; text = text[76:] {
		b.WriteString(text[:76] + "\r\n")
	}
	b.WriteString(text + "\r\n--m--\r\n")
	return b.String(), content
}

// fetch answers a request of hanako's to a slow client; cut tells whether the connection was.
func (r *rig) fetch(ctx context.Context, session, path string, w http.ResponseWriter) (cut bool) {
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	req.AddCookie(&http.Cookie{Name: "mairust", Value: session})
	defer func() {
		err, ok := recover().(error)
		cut = ok && errors.Is(err, http.ErrAbortHandler)
	}()
	r.handler.ServeHTTP(w, req)
	return false
}

func TestDownloadsTakeAsLongAsTheClientNeeds(t *testing.T) {
	// The clock of the bubble is not that of a connection to PostgreSQL.
	r := newRig(t, store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))}))
	data, content := bigLetter()
	id := "/message/" + string(r.deliver(t, store.Inbox, data))
	session := r.session(t, r.site.Users["hanako"].ID)
	for path, want := range map[string]string{id + "/raw": "Return-Path: <sender@example.org>\r\n" + data, id + "/part/1": string(content)} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			w := &slow{ResponseRecorder: httptest.NewRecorder(), piece: 2 * time.Second}
			require.False(t, r.fetch(t.Context(), session, path, w), path)
			require.Greater(t, time.Since(began), time.Minute, "the client was slow")
			require.Equal(t, http.StatusOK, w.Code)
			require.True(t, want == w.Body.String(), "%s: %d bytes came of %d", path, w.Body.Len(), len(want))
		})
	}
	require.NotContains(t, r.log.String(), "not shown")
}

func TestADownloadEndsWithItsClient(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		data, _ := bigLetter()
		path := "/message/" + string(r.deliver(t, store.Inbox, data)) + "/raw"
		session := r.session(t, r.site.Users["hanako"].ID)
		ctx, leave := context.WithCancel(t.Context())
		w := &slow{ResponseRecorder: httptest.NewRecorder(), taken: func(n int) {
			if n >= 1<<20 {
				leave()
			}
		}}
		require.True(t, r.fetch(ctx, session, path, w))
		require.Less(t, w.Body.Len(), 2<<20)
		require.NotContains(t, r.log.String(), "not shown", "a client that leaves is no fault")
	})
}

func TestADownloadThatBreaksOffIsLogged(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		data, _ := bigLetter()
		path := "/message/" + string(r.deliver(t, store.Inbox, data)) + "/raw"
		session := r.session(t, r.site.Users["hanako"].ID)
		w := &slow{ResponseRecorder: httptest.NewRecorder(), taken: func(n int) { r.objects.away.Store(n >= 1<<20) }}
		require.True(t, r.fetch(t.Context(), session, path, w))
		require.Contains(t, r.log.String(), "message body not shown")
		require.Contains(t, r.log.String(), "the disk is gone")
	})
}
