package api_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// benchmarkGet asks for a path of a mailbox of 10,000 messages.
func benchmarkGet(b *testing.B, path func(id store.MessageID) string) {
	r := newRig(b, "sqlite", apiDefaults)
	site := storetest.NewSite(b, r.store, "example", "example.test", "bob")
	bob := r.session(b, site.Users["bob"].ID)
	ids := make([]store.MessageID, 10_000)
	var all sync.WaitGroup
	for worker := range 50 {
		all.Go(func() {
			for i := worker; i < len(ids); i += 50 {
				ids[i] = r.deliver(b, site.Mailboxes["bob"], store.Inbox, plain)
			}
		})
	}
	all.Wait()
	target, handler := path(ids[5000]), r.server.Handler()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			req := httptest.NewRequest(http.MethodGet, target, http.NoBody)
			req.Header.Set("Authorization", "Bearer "+bob)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			if w.Code != http.StatusOK {
				b.Error(w.Body.String())
				return
			}
		}
	})
}

func BenchmarkListMessages(b *testing.B) {
	benchmarkGet(b, func(store.MessageID) string { return "/api/v1/messages?folder=INBOX" })
}

func BenchmarkGetMessage(b *testing.B) {
	benchmarkGet(b, func(id store.MessageID) string { return "/api/v1/messages/" + string(id) })
}

func BenchmarkGetRaw(b *testing.B) {
	benchmarkGet(b, func(id store.MessageID) string { return "/api/v1/messages/" + string(id) + "/raw" })
}
