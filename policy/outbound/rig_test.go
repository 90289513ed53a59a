package outbound_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/store"
)

// hash stands in for the keyring's.
func hash(fields ...string) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range []byte(strings.Join(fields, "\x00")) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

var enforce = policy.Options{Mode: policy.Enforce}

// node is a Gate that runs.
type node struct {
	*outbound.Gate
	t       testing.TB
	log     *syncBuffer
	metrics *prometheus.Registry
	stop    func()

	mu      sync.Mutex
	notices []notify.Notice
}

type setup struct {
	options policy.Options
	own     outbound.Options
	profile []policy.Profile
	dir     string
	db      *store.Store
	open    func(context.Context) (*store.Store, error)
	shared  outbound.Shared
	now     func() time.Time
	// filtered says that each message has the filter's verdict, else it is away.
	filtered bool
}

// start makes a node and runs it until the end of the test, or until stop.
func start(t testing.TB, s setup) *node {
	t.Helper()
	n := &node{t: t, log: &syncBuffer{}, metrics: prometheus.NewRegistry()}
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	if s.open == nil && s.db != nil {
		s.open = func(context.Context) (*store.Store, error) { return s.db, nil }
	}
	var err error
	n.Gate, err = outbound.New(s.options, s.own, s.profile, outbound.Deps{
		Hash: hash, Dir: s.dir, Open: s.open, Shared: s.shared, Filtered: s.filtered, Now: s.now, Registerer: n.metrics,
		Log: slog.New(slog.NewTextHandler(n.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Notify: func(notice notify.Notice) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.notices = append(n.notices, notice)
		},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(ctx)
	}()
	n.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		require.NoError(t, n.Close())
	})
	t.Cleanup(func() {
		n.stop()
		if t.Failed() {
			t.Logf("log:\n%s", n.log)
		}
	})
	return n
}

// told counts the notices of a kind that the database has; nobody plans them.
func told(t testing.TB, db *store.Store, kind notify.Kind) int {
	t.Helper()
	list, err := db.DueNotices(t.Context(), 1000)
	require.NoError(t, err)
	count := 0
	for _, n := range list {
		if n.Kind == string(kind) {
			count++
		}
	}
	return count
}

// notices of a kind that were given, of decisions that change no level.
func (n *node) noticed(kind notify.Kind) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	count := 0
	for _, notice := range n.notices {
		if notice.Kind == kind {
			count++
		}
	}
	return count
}

// takeNotices gives what was noticed, and forgets it.
func (n *node) takeNotices() []notify.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.notices
	n.notices = nil
	return list
}

// envelope is a message of a login from an address.
func envelope(login, client string) mail.Envelope {
	e := mail.Envelope{From: address("anybody@elsewhere.test"), Host: "mx1", Client: mail.Client{Login: login}}
	if client != "" {
		e.Client.Addr = netip.MustParseAddr(client)
	}
	return e
}

func address(text string) mail.Address {
	a, err := mail.ParseAddress(text)
	if err != nil {
		panic(err)
	}
	return a
}

// result is what a client met.
type result struct {
	mail      *mail.Reply
	accepted  int
	rcpt, end *mail.Reply
	hold      bool
}

func (r result) String() string {
	return fmt.Sprintf("mail %v, %d accepted, rcpt %v, end %v, hold %v", r.mail, r.accepted, r.rcpt, r.end, r.hold)
}

// left is how many recipients the message went to.
func (r result) left() int {
	if r.mail != nil || r.end != nil {
		return 0
	}
	return r.accepted
}

var queueIDs struct {
	sync.Mutex
	n int
}

func nextQueueID() string {
	queueIDs.Lock()
	defer queueIDs.Unlock()
	queueIDs.n++
	return fmt.Sprintf("4Q%06d", queueIDs.n)
}

// send sends one message with this text, spam score and recipients.
func (n *node) send(e mail.Envelope, text string, score float64, to ...string) (r result) {
	ctx := context.Background()
	tx, reply := n.Mail(ctx, e)
	if r.mail = reply; tx == nil {
		return r
	}
	defer tx.Release()
	for _, rcpt := range to {
		if reply := tx.Recipient(ctx, address(rcpt)); reply != nil {
			r.rcpt = reply
			continue
		}
		r.accepted++
	}
	if r.accepted == 0 {
		return r
	}
	m := &mail.Message{Envelope: e, SizeBytes: int64(len(text)), Summary: &mail.Summary{Preview: text}}
	m.QueueID = nextQueueID()
	v := mail.Verdict{Score: score, Metadata: map[string]json.RawMessage{"rspamd": json.RawMessage(fmt.Sprintf(`{"score": %g}`, score))}}
	r.end, r.hold = tx.End(ctx, m, v)
	return r
}

const phish = "Your mailbox is nearly full. Please confirm your password at the page of our helpdesk within two days, or it is closed."

// blast sends messages to strangers, five at a time, until one is refused at MAIL, and gives how many recipients it reached.
func (n *node) blast(e mail.Envelope, most int) (left int, refused *mail.Reply) {
	for i := range most {
		to := make([]string, 5)
		for j := range to {
			to[j] = fmt.Sprintf("v%d-%d@far%d.test", i, j, j)
		}
		r := n.send(e, phish, 8, to...)
		left += r.left()
		if r.mail != nil {
			return left, r.mail
		}
	}
	return left, nil
}

func waiting(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until what is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	require.NoError(t, lab.Eventually(waiting(t), func(context.Context) error {
		if is() {
			return nil
		}
		return fmt.Errorf("not yet: %s", what)
	}))
}

// metric sums the samples of a metric.
func (n *node) metric(name string) float64 {
	n.t.Helper()
	families, err := n.metrics.Gather()
	require.NoError(n.t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
