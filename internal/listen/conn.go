package listen

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// writeChunk is how much a client must take within Limits.Idle.
const writeChunk = 64 << 10

// conn is an accepted connection with idle deadlines, which also ends its place in the caps when closed.
// The deadlines that its user sets hold as well: the earlier one counts.
type conn struct {
	net.Conn
	l      *Listener
	client netip.Addr
	active atomic.Int64 // when bytes last moved, in nanoseconds since start
	start  time.Time

	mu          sync.Mutex // makes "look at the user's deadline, set the real one" one step
	read, write time.Time  // the user's deadlines; zero: none

	closing  sync.Once
	closeErr error
}

// Read reads what has come, waiting at most until the idle deadline.
func (c *conn) Read(b []byte) (int, error) {
	for {
		if err := c.arm(&c.read, c.Conn.SetReadDeadline); err != nil {
			return 0, err
		}
		n, err := c.Conn.Read(b)
		if n > 0 {
			c.touch()
		}
		if n > 0 || !c.byIdle(&c.read, err) {
			return n, err
		}
		if time.Since(c.start)-time.Duration(c.active.Load()) >= c.l.limits.Idle {
			c.l.ended(endedIdle)
			return n, err
		}
		// Bytes were written meanwhile, as when a client waits for a long answer: it is not idle.
	}
}

// Write writes b, waiting at most for the idle time for the client to take each chunk.
func (c *conn) Write(b []byte) (n int, err error) {
	for first := true; first || len(b) > 0; first = false {
		chunk := b[:min(len(b), writeChunk)]
		if err := c.arm(&c.write, c.Conn.SetWriteDeadline); err != nil {
			return n, err
		}
		written, err := c.Conn.Write(chunk)
		n += written
		if written > 0 {
			c.touch()
		}
		if err != nil {
			if c.byIdle(&c.write, err) {
				c.l.ended(endedIdle)
			}
			return n, err
		}
		b = b[len(chunk):]
	}
	return n, nil
}

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets a deadline beside the idle one. It takes effect on a Read under way.
func (c *conn) SetReadDeadline(t time.Time) error {
	return c.set(&c.read, t, c.Conn.SetReadDeadline)
}

// SetWriteDeadline sets a deadline beside the idle one. It takes effect on a Write under way.
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.set(&c.write, t, c.Conn.SetWriteDeadline)
}

// Close closes the connection and gives its place back. It may be called twice.
func (c *conn) Close() error {
	c.closing.Do(func() {
		c.closeErr = c.Conn.Close()
		c.l.release(c)
	})
	return c.closeErr
}

// CloseWrite ends our side only, where the transport can (http.Server does so after an error).
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// NetConn gives the connection inside.
func (c *conn) NetConn() net.Conn { return c.Conn }

// SyscallConn gives access to the socket.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	if s, ok := c.Conn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (c *conn) touch() { c.active.Store(int64(time.Since(c.start))) }

func (c *conn) set(user *time.Time, t time.Time, apply func(time.Time) error) error {
	c.mu.Lock()
	*user = t
	c.mu.Unlock()
	return c.arm(user, apply)
}

// arm applies the earlier of the user's deadline and the idle one.
func (c *conn) arm(user *time.Time, apply func(time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	deadline := time.Now().Add(c.l.limits.Idle)
	if !user.IsZero() && user.Before(deadline) {
		deadline = *user
	}
	return apply(deadline)
}

// byIdle says whether err is our deadline passing, not the user's.
func (c *conn) byIdle(user *time.Time, err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return user.IsZero() || time.Now().Before(*user)
}
