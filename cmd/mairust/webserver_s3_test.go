package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// page answers everything with 200 and the same page, as a proxy whose server is away may.
func page(w http.ResponseWriter, r *http.Request) bool {
	_, _ = io.Copy(io.Discard, r.Body)
	_, _ = io.WriteString(w, "<html/>")
	return true
}

// staticPage is one that is read as a file is, ranges as well.
func staticPage(text string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			return page(w, r)
		}
		w.Header().Set("ETag", `"65f0c1d2-7"`)
		http.ServeContent(w, r, "page", time.Now().Add(-time.Hour), strings.NewReader(text))
		return true
	}
}

// uidValidities are those of all folders.
func (s *testSite) uidValidities(t *testing.T) map[string]uint32 {
	t.Helper()
	all := map[string]uint32{}
	s.open(t, func(open *site) {
		mailboxes, err := open.store.MailboxDescriptions(t.Context(), "", 100)
		require.NoError(t, err)
		for _, m := range mailboxes {
			for _, f := range m.Folders {
				all[m.Address+" "+f.Name] = f.UIDValidity
			}
		}
	})
	require.NotEmpty(t, all)
	return all
}

func TestNoMailIsTakenWhileAWebServerAnswersForTheObjectStore(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"a page": page, "a static page": staticPage("<html/>"), "JSON": staticPage(`{"status": "maintenance"}`),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucketSite(t, labtest.MinIO(t))
			o := b.site("sqlite", "")
			o.Mailboxes = []string{"bob"}
			site := newTestSite(t, o)
			daemon := site.start(t)
			acked := &acknowledged{}
			refused := func(why string) {
				t.Helper()
				replies := acked.send(t, site, "bob", nil)
				require.Equal(t, 451, append(replies.Final, replies.Rcpts...)[0].Code, why)
			}
			require.True(t, acked.send(t, site, "bob", nil).Accepted())
			waitFor(t, "the witness", func() bool {
				_, err := b.direct.Stat(t.Context(), "installation/database.json")
				return err == nil
			})

			b.proxy.Set(lab.Fault{Before: answer})
			refused("before anybody has looked at the objects")
			require.NoError(t, daemon.terminate(t))
			before := site.uidValidities(t)
			daemon = site.start(t)
			for range 3 {
				refused("though the daemon has started with it")
			}

			b.proxy.Set(lab.Fault{})
			require.Eventually(t, func() bool { return acked.send(t, site, "bob", nil).Accepted() }, time.Minute, 200*time.Millisecond)
			acked.check(t, daemon, "bob")
			require.NoError(t, daemon.terminate(t))
			require.Equal(t, before, site.uidValidities(t))
			out, code := site.fsck(t, "--verify-content", "--min-age", "0s")
			require.NotContains(t, out, "object_", "%d", code)
		})
	}
}
