package notify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// queue takes notices unless it is away.
type queue struct {
	mu   sync.Mutex
	got  []string
	away bool
}

func (q *queue) AddNotice(_ context.Context, n store.Notice) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.away {
		return errors.New("away")
	}
	q.got = append(q.got, n.Account)
	return nil
}

func (q *queue) set(away bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.away = away
}

func (q *queue) accounts() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]string(nil), q.got...)
}

func TestOutboxWaitsForTheDatabaseAndHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, log := &queue{away: true}, &bytes.Buffer{}
		o := notify.NewOutbox(q, slog.New(slog.NewTextHandler(log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); o.Run(ctx) }()
		began := time.Now()
		for i := range 1500 {
			o.Put(notify.Notice{Account: fmt.Sprint(i)})
		}
		assert.Equal(t, began, time.Now())
		pass(time.Minute)
		assert.Empty(t, q.accounts())
		q.set(false)
		pass(time.Minute)
		got := q.accounts()
		assert.Len(t, got, 1000, "the latest")
		assert.Equal(t, "500", got[0])
		assert.Contains(t, log.String(), "lost=")
		q.set(true)
		o.Put(notify.Notice{Account: "last"})
		pass(time.Second)
		q.set(false)
		cancel()
		<-ended
		assert.Equal(t, "last", q.accounts()[1000], "at the end it is tried once more")
	})
}
