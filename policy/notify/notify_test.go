package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
)

// request is what a server got.
type request struct {
	header http.Header
	body   []byte
}

// field reads a field of a JSON body.
func (r request) field(name string) any {
	var all map[string]any
	if json.Unmarshal(r.body, &all) != nil {
		return nil
	}
	return all[name]
}

// server is somebody else's: a webhook or a monitor. It lives outside of the bubbles of synctest.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	got    []request
	answer int
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{answer: http.StatusNoContent}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.answer < 300 {
			s.got = append(s.got, request{r.Header.Clone(), body})
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(s.answer)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) requests() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]request(nil), s.got...)
}

func (s *server) say(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = status
}

// rig is an installation in a bubble of synctest, with a database of its own.
type rig struct {
	t       *testing.T
	store   *store.Store
	metrics *prometheus.Registry
	log     *bytes.Buffer
}

// bubble runs test on a clock that moves when everybody waits.
func bubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mairust.db")
	synctest.Test(t, func(t *testing.T) {
		db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.SQLite, Path: path})
		require.NoError(t, err)
		_, err = db.Migrate(t.Context())
		require.NoError(t, err)
		test(t, &rig{t: t, store: store.New(store.Options{DB: db}), metrics: prometheus.NewRegistry(), log: &bytes.Buffer{}})
		require.NoError(t, db.Close())
	})
}

func (r *rig) notifier(o notify.Options, d notify.Deps) *notify.Notifier {
	r.t.Helper()
	d.Store, d.Hostname, d.Registerer = r.store, "mail.example.test", r.metrics
	d.Log = slog.New(slog.NewTextHandler(r.log, nil))
	n, err := notify.New(o, d)
	require.NoError(r.t, err)
	return n
}

// run runs notifiers for as long as during takes.
func run(t *testing.T, during func(), list ...*notify.Notifier) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, n := range list {
		group.Go(func() { n.Run(ctx) })
	}
	during()
	cancel()
	group.Wait()
}

func (r *rig) enqueue(account string, kind notify.Kind) {
	r.t.Helper()
	require.NoError(r.t, notify.Enqueue(r.t.Context(), r.store, notify.Notice{Tenant: "t1", Account: account, Kind: kind, Facts: notify.Facts{
		Action: "refuse_suspended", LevelBefore: "normal", LevelAfter: "hard_limit", ScoreMicro: 834_000, Reason: "suspended", By: "desk@example.test",
		Counts: notify.Counts{RecipientsHour: 55, RecipientsDay: 60, NewRecipientsHour: 50}, DecisionID: "d1",
	}}))
}

func (r *rig) metric(name string) float64 {
	r.t.Helper()
	families, err := r.metrics.Gather()
	require.NoError(r.t, err)
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			label := f.GetName()
			for _, l := range m.GetLabel() {
				label += "/" + l.GetValue()
			}
			if label == name {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// pass lets time go by.
func pass(d time.Duration) { time.Sleep(d) } // within synctest: no time is lost

func TestAtMostOneThingASecondGoesOut(t *testing.T) {
	hook, watch := newServer(t), newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		o := notify.Options{
			Webhook: notify.WebhookOptions{URL: hook.URL, Secret: "s"}, Monitor: notify.MonitorOptions{URL: watch.URL, Heartbeat: time.Minute},
		}
		for i := range 30 {
			r.enqueue(fmt.Sprintf("a%d@example.test", i), notify.Suspended)
		}
		run(t, func() { pass(40 * time.Second) }, r.notifier(o, notify.Deps{}))
		sum := len(hook.requests()) + len(watch.requests())
		assert.LessOrEqual(t, sum, 40)
		assert.GreaterOrEqual(t, sum, 38, "and not much less")
		last := int64(0)
		for _, got := range hook.requests() {
			at, err := strconv.ParseInt(got.header.Get("X-Mairust-Timestamp"), 10, 64)
			require.NoError(t, err)
			assert.Greater(t, at, last)
			last = at
		}
	})
}

func TestNoticesOfAnAccountAreTenMinutesApart(t *testing.T) {
	hook := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}, notify.Deps{})
		run(t, func() {
			r.enqueue("a@example.test", notify.SoftLimit)
			pass(time.Minute)
			r.enqueue("a@example.test", notify.Suspended)
			pass(time.Minute)
			r.enqueue("a@example.test", notify.Released)
			pass(30 * time.Minute)
		}, n)
		require.Len(t, hook.requests(), 2)
		assert.Equal(t, "outbound.soft_limit", hook.requests()[0].field("event"))
		assert.Equal(t, "outbound.released", hook.requests()[1].field("event"), "what is true now is told")
		assert.InDelta(t, 1, hook.requests()[1].field("merged"), 0)
		assert.Greater(t, r.metric("mairust_notify_held_back_total"), 1.0)
	})
}

func TestTwoNodesSendOnce(t *testing.T) {
	hook := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		o := notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}
		a := r.notifier(o, notify.Deps{})
		r.metrics = prometheus.NewRegistry()
		b := r.notifier(o, notify.Deps{})
		run(t, func() {
			for i := range 10 {
				r.enqueue(fmt.Sprintf("a%d@example.test", i), notify.Suspended)
			}
			pass(time.Minute)
		}, a, b)
		assert.Len(t, hook.requests(), 10)
		run(t, func() {
			r.enqueue("z@example.test", notify.Suspended)
			pass(2 * time.Minute)
		}, b)
		assert.Len(t, hook.requests(), 11, "the other one goes on")
	})
}

func TestFailureIsTriedAgainSeenAndGivenUpAfterADay(t *testing.T) {
	hook, watch := newServer(t), newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		watch.say(http.StatusServiceUnavailable)
		n := r.notifier(notify.Options{
			Webhook: notify.WebhookOptions{URL: hook.URL}, Monitor: notify.MonitorOptions{URL: watch.URL + "/secret", Token: "tok"},
		}, notify.Deps{})
		require.NoError(t, n.Check(t.Context()))
		run(t, func() {
			r.enqueue("a@example.test", notify.Suspended)
			pass(30 * time.Minute)
			assert.Len(t, hook.requests(), 1, "another channel is not held")
			require.ErrorContains(t, n.Check(t.Context()), "monitor fails since")
			assert.InDelta(t, 0, r.metric("mairust_notify_channel_up/monitor"), 0)
			assert.InDelta(t, 1, r.metric("mairust_notify_channel_up/webhook"), 0)
			tries := r.metric("mairust_notify_sends_total/monitor/failed")
			assert.Greater(t, tries, 4.0)
			assert.Less(t, tries, 15.0, "with pauses")

			watch.say(http.StatusOK)
			pass(11 * time.Minute)
			require.Len(t, watch.requests(), 1)
			require.NoError(t, n.Check(t.Context()))

			watch.say(http.StatusNotFound)
			r.enqueue("b@example.test", notify.Suspended)
			pass(time.Minute)
		}, n)
		pass(24 * time.Hour) // nobody works, which costs the test less
		run(t, func() {
			pass(15 * time.Minute)
			assert.InDelta(t, 1, r.metric("mairust_notify_sends_total/monitor/given_up"), 0)
			watch.say(http.StatusOK)
			pass(15 * time.Minute)
			require.Len(t, watch.requests(), 1)
		}, n)
		sends, err := r.store.NoticeSends(t.Context(), store.System, store.LogKey{}, 10)
		require.NoError(t, err)
		states := map[string]int{}
		for _, s := range sends {
			states[s.Channel+" "+s.State]++
		}
		assert.Equal(t, map[string]int{"webhook sent": 2, "monitor sent": 1, "monitor failed": 1}, states)
		assert.Contains(t, r.log.String(), "notice given up")
		assert.NotContains(t, r.log.String(), "/secret")
		assert.NotContains(t, r.log.String(), "tok")
	})
}

func TestAChannelThatComesBackSendsNothingOld(t *testing.T) {
	hook, watch := newServer(t), newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		both := notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}, Monitor: notify.MonitorOptions{URL: watch.URL}}
		with := func(o notify.Options) *notify.Notifier {
			r.metrics = prometheus.NewRegistry()
			return r.notifier(o, notify.Deps{})
		}
		watch.say(http.StatusServiceUnavailable)
		n := with(both)
		run(t, func() {
			r.enqueue("a@example.test", notify.Suspended)
			pass(time.Minute)
		}, n)
		n = with(notify.Options{Webhook: both.Webhook}) // the monitor is taken out of the configuration
		pass(23 * time.Hour)
		run(t, func() {
			r.enqueue("b@example.test", notify.Suspended)
			pass(11 * time.Minute)
			assert.InDelta(t, 1, r.metric("mairust_notify_waiting/sends"), 0, "it may come back soon")
			pass(time.Hour)
			assert.InDelta(t, 0, r.metric("mairust_notify_waiting/sends"), 0)
			assert.InDelta(t, 1, r.metric("mairust_notify_sends_total/monitor/given_up"), 0)
		}, n)
		watch.say(http.StatusOK)
		run(t, func() { pass(time.Hour) }, with(both))
		assert.Empty(t, watch.requests())
		assert.Len(t, hook.requests(), 2)
		assert.Contains(t, r.log.String(), "notices given up")
	})
}

func TestWhatWaitsWhileNobodyWorksIsTriedOnceMore(t *testing.T) {
	hook := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		hook.say(http.StatusServiceUnavailable)
		n := r.notifier(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}, notify.Deps{})
		run(t, func() {
			r.enqueue("a@example.test", notify.Suspended)
			pass(time.Minute)
		}, n)
		pass(60 * time.Hour) // a weekend
		hook.say(http.StatusOK)
		run(t, func() { pass(time.Hour) }, n)
		assert.Len(t, hook.requests(), 1)
	})
}

func TestAChannelThatNobodyTriesAnyMoreDoesNotFailForEver(t *testing.T) {
	hook := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		hook.say(http.StatusServiceUnavailable)
		n := r.notifier(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}, notify.Deps{})
		run(t, func() {
			r.enqueue("a@example.test", notify.Suspended)
			pass(time.Minute)
			require.ErrorContains(t, n.Check(t.Context()), "webhook fails since")
		}, n)
		pass(23 * time.Hour) // nobody works
		require.ErrorContains(t, n.Check(t.Context()), "webhook fails since", "a notice waits for it")
		run(t, func() {
			pass(90 * time.Minute)
			require.InDelta(t, 0, r.metric("mairust_notify_waiting/sends"), 0, "it is given up")
			require.ErrorContains(t, n.Check(t.Context()), "webhook fails since", "it was tried of late")
			pass(time.Hour)
			require.NoError(t, n.Check(t.Context()))
			r.enqueue("b@example.test", notify.Suspended)
			pass(time.Minute)
			require.ErrorContains(t, n.Check(t.Context()), "webhook fails since")
		}, n)
	})
}

func newStore(t *testing.T) *store.Store {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "mairust.db")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return store.New(store.Options{DB: db})
}

func TestNoticeGoesThroughAMailServer(t *testing.T) {
	inbox := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: inbox.Transport()})
	m, err := mailer.New(mailer.Options{Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@admins.test"}}, "host.test")
	require.NoError(t, err)
	s := newStore(t)
	n, err := notify.New(notify.Options{}, notify.Deps{Store: s, Hostname: "host.test", Mailer: m})
	require.NoError(t, err)
	require.NoError(t, notify.Enqueue(t.Context(), s, notify.Notice{
		Tenant: "t1", Account: "bob@example.test\r\nBcc: x@y.test", Kind: notify.Suspended,
		Facts: notify.Facts{Shadow: true, Reason: "x\n.\ny", LevelAfter: "normal"},
	}))
	run(t, func() {
		_, err := inbox.Wait(t.Context(), 1)
		require.NoError(t, err)
	}, n)
	text := string(inbox.Transactions()[0].Data)
	assert.Contains(t, text, "Subject: [MaiRust host.test] Sending would have been stopped: bob@example.test Bcc: x@y.test\r\n")
	assert.NotContains(t, text, "\nBcc:")
	assert.Contains(t, text, "Mode is shadow: nothing was done, mail goes on.")
	assert.Contains(t, text, "Reason: x . y\r\n")
}

func TestAddressThatIsRefusedIsToldAndHoldsNoneOfTheOthers(t *testing.T) {
	inbox := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: inbox.Transport()})
	m, err := mailer.New(mailer.Options{Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"gone@elsewhere.test", "a@admins.test"}}, "host.test")
	require.NoError(t, err)
	s, log := newStore(t), &bytes.Buffer{}
	n, err := notify.New(notify.Options{}, notify.Deps{Store: s, Hostname: "host.test", Mailer: m, Log: slog.New(slog.NewTextHandler(log, nil))})
	require.NoError(t, err)
	require.NoError(t, notify.Enqueue(t.Context(), s, notify.Notice{Tenant: "t1", Account: "bob@example.test", Kind: notify.Suspended}))
	var sends []store.NoticeSend
	run(t, func() {
		require.NoError(t, lab.Eventually(t.Context(), func(ctx context.Context) error {
			sends, err = s.NoticeSends(ctx, store.System, store.LogKey{}, 10)
			if err == nil && (len(sends) != 1 || sends[0].State != store.NoticeSent) {
				err = fmt.Errorf("not yet: %v", sends)
			}
			return err
		}))
	}, n)
	assert.Contains(t, sends[0].Error, "gone@elsewhere.test is refused: 554")
	require.ErrorContains(t, n.Check(t.Context()), "mail does not reach all since")
	require.ErrorContains(t, n.Check(t.Context()), "gone@elsewhere.test is refused: 554")
	assert.Contains(t, log.String(), "notice not sent to all")
	got, err := inbox.Wait(t.Context(), 1)
	require.NoError(t, err)
	assert.Len(t, got, 1)
	assert.Equal(t, []string{"a@admins.test"}, got[0].Rcpts)
}

func TestOptionsAreChecked(t *testing.T) {
	for want, o := range map[string]notify.WebhookOptions{
		"url wants":     {URL: "ftp://x"},
		"url wants h":   {URL: "https://user:pw@x/"},
		"json or slack": {URL: "https://x/", Format: "xml"},
		"timeout":       {URL: "https://x/", Timeout: time.Hour},
	} {
		err := o.Validate()
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "pw")
	}
	require.NoError(t, notify.WebhookOptions{}.Validate())
	require.Error(t, notify.MonitorOptions{URL: "x"}.Validate())
}
