package store_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestDeliveredMessageIsReadBack(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		c := storetest.NewCopy(t, site.Target("bob"), "会議のお知らせ")
		c.Tags = []string{"spam"}
		c.Content.Scan = mail.Verdict{Action: mail.Tag, Score: 7.25}
		c.Content.QueueID, c.Content.Host = "4XYZ", "mx.example.test"
		result := storetest.Deliver(t, s, c)[0]
		require.Equal(t, c.ID, result.ID)

		m, err := s.Message(t.Context(), store.System, c.ID)
		require.NoError(t, err)
		assert.Equal(t, "会議のお知らせ", m.Subject)
		assert.Equal(t, []mail.Person{{Name: "A", Address: "a@sender.test"}}, m.From)
		assert.Equal(t, []string{"spam"}, m.Tags)
		assert.Equal(t, "tag", m.Verdict)
		assert.InDelta(t, 7.25, m.Score, 0)
		assert.Equal(t, "INBOX", m.FolderName)
		assert.Equal(t, "bob@example.test", m.MailboxAddress)
		assert.EqualValues(t, 1, m.UID)
		assert.Equal(t, "4XYZ", m.QueueID)
		assert.Equal(t, c.Content.SizeBytes, m.SizeBytes)
		assert.Equal(t, "a@sender.test", m.EnvelopeFrom)

		box, err := s.MailboxByAddress(t.Context(), store.System, "BOB@example.test")
		require.NoError(t, err)
		assert.Equal(t, c.Content.SizeBytes, box.UsedBytes)
		assert.EqualValues(t, 1, box.Messages)
	})
}

func TestSameDeliveryIsStoredOncePerMailbox(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
		sent := func(name string) store.Copy {
			c := storetest.NewCopy(t, site.Target(name), "one")
			c.DeliveryID = store.DeliveryID(c.Target.Mailbox, mail.Received{ID: "4XyZ12abc"}, [32]byte{})
			return c
		}
		first := sent("bob")
		storetest.Deliver(t, s, first)

		again, other := sent("bob"), sent("alice")
		results := storetest.Deliver(t, s, again, other)
		assert.Equal(t, store.Result{ID: first.ID, Duplicate: true}, results[0])
		assert.Equal(t, store.Result{ID: other.ID}, results[1])

		plain := storetest.NewCopy(t, site.Target("bob"), "one")
		assert.False(t, storetest.Deliver(t, s, plain)[0].Duplicate, "without a delivery id nothing is compared")
	})
}

// Neighbours in time are neighbours in the index, whatever the rest of their ids is.
func TestDeliveryIDsAreInTheOrderOfTheirMessages(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var ids []string
	for i, queueID := range []string{"0000A17", "F423F17", "4XyZ12abcdefghijklmnopqrst"} {
		ids = append(ids, store.DeliveryID("m", mail.Received{ID: queueID, At: at.Add(time.Duration(i/2) * time.Second)}, [32]byte{byte(i)}))
	}
	assert.IsIncreasing(t, ids)
	assert.Empty(t, store.DeliveryID("m", mail.Received{At: at}, [32]byte{}), "nothing tells a message without a queue id from another")
	assert.Regexp(t, `^00000000\.`, store.DeliveryID("m", mail.Received{ID: ids[0]}, [32]byte{}), "no date")
	assert.Regexp(t, `^ffffffff\.`, store.DeliveryID("m", mail.Received{ID: "Q", At: at.AddDate(200, 0, 0)}, [32]byte{}))
	assert.True(t, utf8.ValidString(store.DeliveryID("m", mail.Received{ID: strings.Repeat("山", 9)}, [32]byte{})))
}

func TestSameDeliveryAtOnceIsStoredOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		var mu sync.Mutex
		ids := map[store.MessageID]int{}
		parallel(20, func(int) {
			c := storetest.NewCopy(t, site.Target("bob"), "one")
			c.DeliveryID = "d1"
			r := s.Deliver(context.Background(), []store.Copy{c})[0]
			mu.Lock()
			defer mu.Unlock()
			assert.NoError(t, r.Err)
			ids[r.ID]++
		})
		assert.Len(t, ids, 1)
		list, err := s.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Limit: 10})
		require.NoError(t, err)
		assert.Len(t, list, 1)
	})
}

func TestDeliveriesAtOnceGetEachUIDOnceAndAreCounted(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice", "carol")
		const workers, each = 16, 12
		parallel(workers, func(int) {
			for range each {
				copies := []store.Copy{
					storetest.NewCopy(t, site.Target("bob"), "x"),
					storetest.NewCopy(t, site.Target("alice"), "x"),
				}
				for _, r := range s.Deliver(context.Background(), copies) {
					assert.NoError(t, r.Err)
				}
			}
		})
		for _, local := range []string{"bob", "alice"} {
			uids := allUIDs(t, s, site.Mailboxes[local].ID)
			slices.Sort(uids)
			require.Len(t, uids, workers*each)
			for i, uid := range uids {
				require.EqualValues(t, i+1, uid)
			}
			box, err := s.MailboxByAddress(t.Context(), store.System, local+"@example.test")
			require.NoError(t, err)
			assert.EqualValues(t, workers*each, box.Messages)
			inbox := box.Folders[slices.IndexFunc(box.Folders, func(f store.Folder) bool { return f.Name == store.Inbox })]
			assert.EqualValues(t, workers*each, inbox.Messages)
			assert.EqualValues(t, workers*each+1, inbox.UIDNext)
			assert.EqualValues(t, workers*each+1, inbox.ModSeq)
		}
		tenant, err := s.TenantByName(t.Context(), "example")
		require.NoError(t, err)
		box, err := s.MailboxByAddress(t.Context(), store.System, "bob@example.test")
		require.NoError(t, err)
		alice, err := s.MailboxByAddress(t.Context(), store.System, "alice@example.test")
		require.NoError(t, err)
		assert.Equal(t, box.UsedBytes+alice.UsedBytes, tenant.UsedBytes)
	})
}

// Two stores over one database are two nodes.
func TestTwoNodesDeliverToTheSameMailboxes(t *testing.T) {
	db := storetest.OpenDB(t, storetest.Options(t, "postgres"))
	nodes := []*store.Store{store.New(store.Options{DB: db}), store.New(store.Options{DB: db})}
	locals := []string{"a", "b", "c", "d"}
	site := storetest.NewSite(t, nodes[0], "example", "example.test", locals...)
	parallel(8, func(worker int) {
		for i := range 20 {
			var copies []store.Copy
			for n := range locals { // another order each time
				copies = append(copies, storetest.NewCopy(t, site.Target(locals[(n+i+worker)%len(locals)]), "x"))
			}
			for _, r := range nodes[worker%2].Deliver(context.Background(), copies) {
				assert.NoError(t, r.Err)
			}
		}
	})
	for _, local := range locals {
		assert.Len(t, allUIDs(t, nodes[0], site.Mailboxes[local].ID), 160)
	}
}

func TestRefusalsAreDecidedPerCopy(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "full")
		stopped := storetest.NewSite(t, s, "stopped", "stopped.test", "eve")
		require.NoError(t, s.SetMailboxQuota(ctx, site.Tenant.ID, site.Mailboxes["full"].ID, 10, store.Beside{}))
		require.NoError(t, s.SuspendTenant(ctx, stopped.Tenant.ID, true, store.Beside{}))
		gone := site.Target("bob")
		gone.Mailbox = "00000000-0000-7000-8000-000000000000"
		stolen := site.Target("bob")
		stolen.Tenant = stopped.Tenant.ID

		results := s.Deliver(ctx, []store.Copy{
			storetest.NewCopy(t, site.Target("full"), "x"),
			storetest.NewCopy(t, stopped.Target("eve"), "x"),
			storetest.NewCopy(t, gone, "x"),
			storetest.NewCopy(t, site.Target("bob"), "x"),
		})
		assert.ErrorIs(t, results[0].Err, store.ErrQuota)
		assert.ErrorIs(t, results[1].Err, store.ErrSuspended)
		assert.ErrorIs(t, results[2].Err, store.ErrNotFound)
		assert.NoError(t, results[3].Err)
		assert.ErrorIs(t, s.Deliver(ctx, []store.Copy{storetest.NewCopy(t, stolen, "x")})[0].Err, store.ErrNotFound)
	})
}

func TestQuotaIsExactWithinABatch(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		size := storetest.NewCopy(t, site.Target("bob"), "x").Content.SizeBytes
		require.NoError(t, s.SetMailboxQuota(t.Context(), site.Tenant.ID, site.Mailboxes["bob"].ID, 5*size, store.Beside{}))
		var mu sync.Mutex
		stored := 0
		parallel(16, func(int) {
			r := s.Deliver(context.Background(), []store.Copy{storetest.NewCopy(t, site.Target("bob"), "x")})[0]
			mu.Lock()
			defer mu.Unlock()
			if r.Err == nil {
				stored++
			} else {
				assert.ErrorIs(t, r.Err, store.ErrQuota)
			}
		})
		assert.Equal(t, 5, stored)
	})
}

// A bug that let an unstorable byte through must cost that message alone, and its session a 451.
func TestPoisonedMessageFailsAlone(t *testing.T) {
	db := storetest.OpenDB(t, storetest.Options(t, "postgres"))
	s := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	var mu sync.Mutex
	failed := 0
	parallel(12, func(worker int) {
		c := storetest.NewCopy(t, site.Target("bob"), "x")
		if worker == 3 {
			c.Key = "bad\x00key" // the only text of a Copy that is ours, and so is not cleaned
		}
		r := s.Deliver(context.Background(), []store.Copy{c})[0]
		mu.Lock()
		defer mu.Unlock()
		if r.Err != nil {
			failed++
			assert.Equal(t, 3, worker)
		}
	})
	assert.Equal(t, 1, failed)
	assert.Len(t, allUIDs(t, s, site.Mailboxes["bob"].ID), 11)
}

func TestHostileSummaryIsStored(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		raw := "Subject: \x00\xff\xfe=?utf-8?q?=00?=" + strings.Repeat("a", 100_000) + "\r\nFrom: \xff\x00@\r\n" +
			"Content-Type: multipart/mixed; boundary=\"\x00\"\r\n\r\n--\x00\r\n\x00\r\n"
		summary, err := mail.Summarize(strings.NewReader(raw), mail.Limits{})
		require.NoError(t, err)
		c := storetest.NewCopy(t, site.Target("bob"), "x")
		c.Content.Summary = summary
		c.Content.QueueID = "\x00\xff"
		storetest.Deliver(t, s, c)
		_, err = s.Message(t.Context(), store.System, c.ID)
		require.NoError(t, err)
	})
}

// crowded is a message of two megabytes whose parts have long names of characters that JSON likes to escape.
func crowded(t *testing.T) *mail.Summary {
	t.Helper()
	part := "--b\r\nContent-Type: text/plain; name=\"" + strings.Repeat("<", 1024) + "\"\r\nContent-ID: <" +
		strings.Repeat("&", 1024) + ">\r\n\r\n\r\n"
	raw := "From: a@sender.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat(part, 999) + "--b--\r\n"
	summary, err := mail.Summarize(strings.NewReader(raw), mail.Limits{})
	require.NoError(t, err)
	require.Contains(t, summary.Defects, mail.DefectTooManyParts)
	return summary
}

func TestCrowdedMessageForManyIsStoredCheaply(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		const mailboxes, perRow = 300, 1 << 20
		var locals []string
		for i := range mailboxes {
			locals = append(locals, fmt.Sprintf("u%d", i))
		}
		site := storetest.NewSite(t, s, "example", "example.test", locals...)
		content := storetest.NewCopy(t, site.Target("u0"), "x").Content
		content.Summary = crowded(t)
		var copies []store.Copy
		for _, local := range locals {
			c := storetest.NewCopy(t, site.Target(local), "x")
			c.Content = content
			copies = append(copies, c)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		results := storetest.Deliver(t, s, copies...)
		runtime.ReadMemStats(&after)
		require.Len(t, results, mailboxes)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(mailboxes*perRow))
		for i, r := range results {
			require.Equal(t, copies[i].ID, r.ID)
		}
		m, err := s.Message(t.Context(), store.System, copies[mailboxes-1].ID)
		require.NoError(t, err)
		require.Equal(t, content.Summary.Parts, m.Parts)
		require.Equal(t, strings.Repeat("<", 1024), m.Parts[1].Name)
	})
}

func TestFolderIsMadeWhenItIsMissing(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		c := storetest.NewCopy(t, site.Target("bob"), "x")
		c.Folder = "請求書"
		storetest.Deliver(t, s, c)
		m, err := s.Message(t.Context(), store.System, c.ID)
		require.NoError(t, err)
		assert.Equal(t, "請求書", m.FolderName)
	})
}

func parallel(n int, work func(worker int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { work(i) })
	}
	wg.Wait()
}

func allUIDs(t *testing.T, s *store.Store, box store.MailboxID) []uint32 {
	t.Helper()
	var uids []uint32
	f := store.MessageFilter{Mailbox: box, Folder: "inbox", Limit: 50}
	for {
		list, err := s.Messages(t.Context(), store.System, f)
		require.NoError(t, err)
		for _, m := range list {
			uids = append(uids, m.UID)
			f.Before = m.ID
		}
		if len(list) < f.Limit {
			return uids
		}
	}
}

func BenchmarkDeliver(b *testing.B) {
	for _, backend := range storetest.Backends() {
		for _, workers := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/%d", backend, workers), func(b *testing.B) {
				s := store.New(store.Options{DB: storetest.OpenDB(b, storetest.Options(b, backend))})
				var locals []string
				for i := range 50 {
					locals = append(locals, fmt.Sprintf("u%d", i))
				}
				site := storetest.NewSite(b, s, "example", "example.test", locals...)
				b.ResetTimer()
				parallel(workers, func(w int) {
					for i := w; i < b.N; i += workers {
						storetest.Deliver(b, s, storetest.NewCopy(b, site.Target(locals[i%50]), "x"))
					}
				})
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			})
		}
	}
}
