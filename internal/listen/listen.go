package listen

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Hooks connect a listener to the rest of the process. The zero value is usable.
type Hooks struct {
	// Name is the front that listens ("milter", "lmtp", …), in logs and metrics.
	Name string
	// Log may be nil.
	Log *slog.Logger
	// Metrics may be nil.
	Metrics *Metrics
	// NextProtos are offered by ALPN (RFC 7301), in order; nil for none.
	NextProtos []string
}

// Listener is a guarded net.Listener. Its connections are *tls.Conn when TLS is implicit, so that servers
// recognise them; they and all others unwrap by a NetConn method.
type Listener struct {
	inner  net.Listener
	allow  []netip.Prefix
	limits Limits
	tls    *tls.Config
	direct bool // TLS from the first byte
	hooks  Hooks

	slots  chan struct{} // one per connection, taken before accepting, or after it when a refusal can be said
	closed chan struct{}

	mu        sync.Mutex
	conns     map[*conn]struct{}
	perClient map[netip.Addr]int
	empty     chan struct{} // closed when the last connection ends; nil unless somebody waits

	// failed is the error of the last accept, nil after one that worked.
	failed atomic.Pointer[error]

	closing  sync.Once
	closeErr error
}

// Open listens as o says. ctx bounds the opening only. Close or Drain ends it.
func Open(ctx context.Context, o Options, limits Limits, hooks Hooks) (*Listener, error) {
	p, err := o.plan()
	if err != nil {
		return nil, err
	}
	var inner net.Listener
	if p.address.isUnix() {
		inner, err = openUnix(ctx, p)
	} else {
		inner, err = (&net.ListenConfig{}).Listen(ctx, p.address.network, p.address.String())
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", o.Address, err)
	}
	l := Guard(inner, limits, hooks)
	l.allow, l.direct = p.allow, o.TLS == TLSImplicit
	if p.certs != nil {
		p.certs.log = l.hooks.Log
		l.tls = p.certs.config(hooks.NextProtos)
	}
	return l, nil
}

// Guard puts limits on a listener that is open already, whoever may connect to it. Close or Drain closes that.
func Guard(inner net.Listener, limits Limits, hooks Hooks) *Listener {
	hooks.Log = cmp.Or(hooks.Log, slog.New(slog.DiscardHandler)).With("listener", hooks.Name)
	hooks.Metrics = cmp.Or(hooks.Metrics, NewMetrics(nil))
	l := &Listener{
		inner:     inner,
		limits:    limits.withDefaults(),
		hooks:     hooks,
		closed:    make(chan struct{}),
		conns:     map[*conn]struct{}{},
		perClient: map[netip.Addr]int{},
	}
	l.slots = make(chan struct{}, l.limits.MaxConnections)
	return l
}

// Accept waits for a connection that may stay. Its only error wraps net.ErrClosed: what passes by itself, such as
// a lack of file descriptors, is waited for here, because some servers end at any error.
func (l *Listener) Accept() (net.Conn, error) {
	if l.limits.Refusal == "" {
		select {
		case l.slots <- struct{}{}:
		case <-l.closed:
			return nil, l.errClosed()
		}
	}
	for pause := time.Duration(0); ; {
		raw, err := l.inner.Accept()
		if err == nil {
			l.failed.Store(nil)
			if c := l.admit(raw); c != nil {
				return l.wrap(c), nil
			}
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			if l.limits.Refusal == "" {
				<-l.slots
			}
			return nil, l.errClosed()
		}
		l.failed.Store(&err)
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		l.hooks.Log.Warn("accept", "err", err, "retry_in", pause)
		select {
		case <-time.After(pause):
		case <-l.closed:
		}
	}
}

// Addr is where l listens, with the real port.
func (l *Listener) Addr() net.Addr { return l.inner.Addr() }

// TLSConfig is for the protocol's own STARTTLS; nil when the listener has none. It follows the files.
func (l *Listener) TLSConfig() *tls.Config {
	if l.tls == nil || l.direct {
		return nil
	}
	return l.tls.Clone()
}

// Close stops accepting. Connections go on. It may be called twice.
func (l *Listener) Close() error {
	l.closing.Do(func() {
		close(l.closed)
		l.closeErr = l.inner.Close()
	})
	return l.closeErr
}

// Drain stops accepting and waits until every connection has ended; when ctx ends first it closes the rest
// and says how many in the error, which wraps that of ctx.
func (l *Listener) Drain(ctx context.Context) error {
	err := l.Close()
	l.mu.Lock()
	if l.empty == nil {
		l.empty = make(chan struct{})
		if len(l.conns) == 0 {
			close(l.empty)
		}
	}
	empty := l.empty
	l.mu.Unlock()
	select {
	case <-empty:
		return err
	case <-ctx.Done():
	}
	if n := l.cut(); n > 0 {
		return errors.Join(err, fmt.Errorf("drain %s: %d connections cut: %w", l.Addr(), n, ctx.Err()))
	}
	return err
}

// cut closes all connections and says how many there were.
func (l *Listener) cut() int {
	l.mu.Lock()
	conns := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // the client sees an end either way
		l.ended(endedDrain)
	}
	return len(conns)
}

// admit takes a new connection into the books, or closes it and returns nil.
func (l *Listener) admit(raw net.Conn) *conn {
	addr := clientAddr(raw)
	if addr.IsValid() && len(l.allow) > 0 && !contains(l.allow, addr) {
		l.refuse(raw, refusedAddress)
		return nil
	}
	c := &conn{Conn: raw, l: l, client: clientKey(addr), start: time.Now()}
	l.mu.Lock()
	if l.empty != nil { // accepted at the very moment that draining began
		l.mu.Unlock()
		_ = raw.Close()
		return nil
	}
	if addr.IsValid() && l.perClient[c.client] >= l.limits.MaxPerClient {
		l.mu.Unlock()
		l.refuse(raw, refusedPerClient)
		return nil
	}
	if !l.takeSlot() {
		l.mu.Unlock()
		l.refuse(raw, refusedConnections)
		return nil
	}
	l.perClient[c.client]++
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	l.hooks.Metrics.accepted.WithLabelValues(l.hooks.Name).Inc()
	l.hooks.Metrics.open.WithLabelValues(l.hooks.Name).Inc()
	return c
}

// takeSlot is false when there are MaxConnections; a listener that lets clients wait has taken one before.
func (l *Listener) takeSlot() bool {
	if l.limits.Refusal == "" {
		return true
	}
	select {
	case l.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (l *Listener) wrap(c *conn) net.Conn {
	if l.direct {
		return tls.Server(c, l.tls)
	}
	return c
}

// release is called once per admitted connection, when it is closed.
func (l *Listener) release(c *conn) {
	l.mu.Lock()
	delete(l.conns, c)
	if l.perClient[c.client]--; l.perClient[c.client] == 0 {
		delete(l.perClient, c.client)
	}
	if len(l.conns) == 0 && l.empty != nil {
		close(l.empty)
	}
	l.mu.Unlock()
	l.hooks.Metrics.open.WithLabelValues(l.hooks.Name).Dec()
	<-l.slots
}

// refusalTimeout bounds the saying of a refusal, which fits into the socket's buffer.
const refusalTimeout = time.Second

func (l *Listener) refuse(raw net.Conn, reason string) {
	if l.limits.Refusal != "" && !l.direct && reason != refusedAddress {
		// Whether it hears that is the client's affair.
		_ = raw.SetWriteDeadline(time.Now().Add(refusalTimeout))
		_, _ = raw.Write([]byte(l.limits.Refusal))
	}
	_ = raw.Close()
	l.hooks.Metrics.refused.WithLabelValues(l.hooks.Name, reason).Inc()
	l.hooks.Log.Debug("connection refused", "client", raw.RemoteAddr().String(), "reason", reason)
}

func (l *Listener) ended(reason string) {
	l.hooks.Metrics.ended.WithLabelValues(l.hooks.Name, reason).Inc()
}

func (l *Listener) errClosed() error {
	return fmt.Errorf("accept on %s: %w", l.Addr(), net.ErrClosed)
}
