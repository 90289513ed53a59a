package notify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
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
	"github.com/mairust/mairust/store/storetest"
)

// through gives a Mailer whose mails go to a Postfix, through a proxy with a fault, and where they end.
func through(t *testing.T, f lab.SMTPFault) (*mailer.Mailer, *lab.SMTPProxy, *lab.LMTPSink) {
	t.Helper()
	inbox := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: inbox.Transport()})
	proxy := labtest.SMTPProxy(t, server.SMTPAddr, f)
	m, err := mailer.New(mailer.Options{Address: proxy.Addr, From: "mairust@host.test", To: []string{"a@admins.test"}}, "host.test")
	require.NoError(t, err)
	return m, proxy, inbox
}

// only gives the only sending that there is.
func only(ctx context.Context, s *store.Store) (store.NoticeSend, error) {
	sends, err := s.NoticeSends(ctx, store.System, store.LogKey{}, 10)
	if err == nil && len(sends) != 1 {
		err = fmt.Errorf("there are %d", len(sends))
	}
	if err != nil {
		return store.NoticeSend{}, err
	}
	return sends[0], nil
}

// becomesSent waits for the only sending.
func becomesSent(t *testing.T, s *store.Store) {
	t.Helper()
	require.NoError(t, lab.Eventually(t.Context(), func(ctx context.Context) error {
		one, err := only(ctx, s)
		if err == nil && one.State != store.NoticeSent {
			err = fmt.Errorf("it is %s: %s", one.State, one.Error)
		}
		return err
	}))
	one, err := only(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, int64(1), one.Attempts)
}

func TestNoticeThatTheServerTookIsSentThoughItSaysNoGoodbye(t *testing.T) {
	m, proxy, inbox := through(t, lab.SMTPFault{Last: "QUIT"})
	s := newStore(t)
	n, err := notify.New(notify.Options{}, notify.Deps{Store: s, Hostname: "host.test", Mailer: m})
	require.NoError(t, err)
	require.NoError(t, notify.Enqueue(t.Context(), s, notify.Notice{Tenant: "t1", Account: "bob@example.test", Kind: notify.Suspended}))
	run(t, func() { becomesSent(t, s) }, n)
	require.Equal(t, 1, proxy.Letters())
	_, err = inbox.Wait(t.Context(), 1)
	require.NoError(t, err)
}

func TestNoticeThatWasSentIsSettledThoughTheWorkEnds(t *testing.T) {
	m, proxy, _ := through(t, lab.SMTPFault{Last: "QUIT"})
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			before := proxy.Letters()
			s := store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, backend))})
			n, err := notify.New(notify.Options{}, notify.Deps{Store: s, Hostname: "host.test", Mailer: m})
			require.NoError(t, err)
			require.NoError(t, notify.Enqueue(t.Context(), s, notify.Notice{Tenant: "t1", Account: "bob@example.test", Kind: notify.Suspended}))
			run(t, func() { <-proxy.Mutes() }, n)
			one, err := only(t.Context(), s)
			require.NoError(t, err)
			require.Equal(t, store.NoticeSent, one.State)
			require.Equal(t, before+1, proxy.Letters())
		})
	}
}

func TestNoticeThatMayHaveBeenSentIsRepeatedSeldomAndIsOneToItsReceivers(t *testing.T) {
	m, proxy, inbox := through(t, lab.SMTPFault{Last: ".", Cut: true})
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{}, notify.Deps{Mailer: m})
		r.enqueue("a@example.test", notify.Suspended)
		run(t, func() {
			pass(time.Hour)
			assert.GreaterOrEqual(t, proxy.Letters(), 3, "who did not get it is told soon")
			require.ErrorContains(t, n.Check(t.Context()), "may have been sent")
			pass(26 * time.Hour)
		}, n)
		one, err := only(t.Context(), r.store)
		require.NoError(t, err)
		assert.Equal(t, store.NoticeFailed, one.State)
	})
	assert.LessOrEqual(t, proxy.Letters(), 12)
	got, err := inbox.Wait(t.Context(), proxy.Letters())
	require.NoError(t, err)
	for _, tx := range got {
		letter, err := mail.ReadMessage(strings.NewReader(string(tx.Data)))
		require.NoError(t, err)
		first, err := mail.ReadMessage(strings.NewReader(string(got[0].Data)))
		require.NoError(t, err)
		require.Equal(t, first.Header.Get("Message-ID"), letter.Header.Get("Message-ID"))
	}
}

func TestNoticeWhoseTurnDidNotComeBeforeTheEndIsSentByWhoGoesOn(t *testing.T) {
	hook := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}, notify.Deps{})
		r.enqueue("a@example.test", notify.Suspended)
		run(t, func() { pass(3500 * time.Millisecond) }, n)
		one, err := only(t.Context(), r.store)
		require.NoError(t, err)
		require.Equal(t, int64(1), one.Attempts, "it was to be sent")
		require.Empty(t, hook.requests())
		r.metrics = prometheus.NewRegistry()
		another := r.notifier(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}, notify.Deps{})
		run(t, func() { pass(10 * time.Second) }, another)
		require.Len(t, hook.requests(), 1)
	})
}

func TestWhatWasSentWhileTheDatabaseWasAwayIsNotSentAgain(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel() // each waits for the same patience
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s, log := store.New(store.Options{DB: db}), &syncBuffer{}
			locked, release := make(chan error, 1), make(chan struct{})
			var once sync.Once
			hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				once.Do(func() {
					held := make(chan struct{})
					go func() {
						locked <- db.Write(context.Background(), func(tx *sqldb.Tx) error {
							_, err := tx.Exec(context.Background(), "UPDATE notice_sends SET error = error")
							close(held)
							<-release
							return err
						})
					}()
					<-held
				})
			}))
			t.Cleanup(hook.Close)
			n, err := notify.New(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}},
				notify.Deps{Store: s, Hostname: "h", Log: slog.New(slog.NewTextHandler(log, nil))})
			require.NoError(t, err)
			require.NoError(t, notify.Enqueue(t.Context(), s, notify.Notice{Tenant: "t1", Account: "a", Kind: notify.Suspended}))
			run(t, func() {
				err := lab.Eventually(t.Context(), func(context.Context) error {
					if !strings.Contains(log.String(), "state of a notice not saved") {
						return errors.New("not tried yet")
					}
					return nil
				})
				close(release)
				require.NoError(t, err)
				require.NoError(t, <-locked)
				becomesSent(t, s)
			}, n)
		})
	}
}

func TestWebhookThatTakesANoticeWhileTheWorkEndsGetsItOnce(t *testing.T) {
	s := newStore(t)
	ends := make(chan context.CancelFunc, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { (<-ends)() }))
	t.Cleanup(hook.Close)
	n, err := notify.New(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}, notify.Deps{Store: s, Hostname: "h"})
	require.NoError(t, err)
	require.NoError(t, notify.Enqueue(t.Context(), s, notify.Notice{Tenant: "t1", Account: "a", Kind: notify.Suspended}))
	ctx, cancel := context.WithCancel(t.Context())
	ends <- cancel
	n.Run(ctx)
	one, err := only(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, store.NoticeSent, one.State)
}

func TestNoticeThatWaitedADayForItsTurnIsTriedAsLongAsAnyOther(t *testing.T) {
	hook := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}, notify.Deps{})
		r.enqueue("a@example.test", notify.Suspended)
		pass(25 * time.Hour) // as the limits of its account may want
		hook.say(http.StatusServiceUnavailable)
		run(t, func() {
			pass(time.Minute)
			hook.say(http.StatusOK)
			pass(10 * time.Minute)
		}, n)
		require.Len(t, hook.requests(), 1)
		require.NotContains(t, r.log.String(), "given up")
		require.Contains(t, r.log.String(), "notice not sent")
	})
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
