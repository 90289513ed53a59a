package alert_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mailer"
)

func TestLettersThatMayHaveBeenSentCountAndAreOneToTheirReceivers(t *testing.T) {
	inbox := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: inbox.Transport()})
	proxy := labtest.SMTPProxy(t, server.SMTPAddr, lab.SMTPFault{Last: ".", Cut: true})
	m, err := mailer.New(mailer.Options{Address: proxy.Addr, From: "mairust@host.test", To: []string{"a@admins.test"}}, "host.test")
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		database := &breakable{err: errGone}
		w := alert.New(alert.Options{}, alert.Deps{Sink: alert.NewMail(m, slog.New(slog.DiscardHandler))},
			alert.Part{Name: "database", Check: database.check, Essential: true})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		pass(3 * time.Hour)
		assert.GreaterOrEqual(t, proxy.Letters(), 4, "who did not get it is told soon")
		pass(20 * time.Hour)
		assert.Equal(t, 8, proxy.Letters())
		cancel()
		<-ended
	})
	got, err := inbox.Wait(t.Context(), 8)
	require.NoError(t, err)
	ids := map[string]bool{}
	for _, one := range got {
		letter, err := mail.ReadMessage(strings.NewReader(string(one.Data)))
		require.NoError(t, err)
		ids[letter.Header.Get("Message-ID")] = true
	}
	assert.Len(t, ids, 1)
	assert.NotContains(t, ids, "")
}

func TestAfterALetterThatMayHaveBeenSentTheStateOfThatMomentIsTold(t *testing.T) {
	watch(t, alert.Options{}, func(t *testing.T, r *rig) {
		r.part.set(errGone)
		pass(15 * time.Minute)
		r.sink.fail(fmt.Errorf("silent: %w", mailer.ErrUnsure))
		r.part.set(nil)
		pass(5 * time.Minute)
		require.Equal(t, 2, r.sink.tried())
		r.part.set(errGone) // as was told, but for those who got the last letter
		r.sink.fail(nil)
		pass(time.Hour)
		require.Len(t, r.sink.got(), 2)
		for _, n := range r.sink.got() {
			assert.True(t, n.Failing)
		}
		assert.NotEqual(t, r.sink.attempts[1].ID, r.sink.attempts[2].ID, "it says something else")
	})
}

// hanging is a sink whose letters about one part take hours.
type hanging struct {
	part string
	sink
	mu   sync.Mutex
	left int
}

func (h *hanging) Send(ctx context.Context, n alert.Notice) error {
	if n.Part != h.part {
		return h.sink.Send(ctx, n)
	}
	<-ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left++
	return ctx.Err()
}

func TestALetterThatTakesLongHoldsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, disk, database := &hanging{part: "disk"}, &breakable{err: errGone}, &breakable{}
		w := alert.New(alert.Options{}, alert.Deps{Sink: s}, alert.Part{Name: "disk", Check: disk.check}, alert.Part{Name: "database", Check: database.check})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		pass(time.Minute)
		database.set(errGone)
		pass(time.Minute)
		assert.Equal(t, 1, s.sentOf("database"))
		cancel()
		<-ended
		assert.Equal(t, 1, s.left, "Run waits for it")
	})
}
