package imap

import (
	"cmp"
	"crypto/tls"
	"time"
)

// Timeouts bound what a client can make long. Zero values mean the defaults.
type Timeouts struct {
	// Login is for all from the connection to the login, TLS included, whatever is said meanwhile; default 1 minute.
	Login time.Duration
	// Idle is how long a client that has logged in may be silent; default 31 minutes: RFC 9051, 5.4 wants at least 30.
	Idle time.Duration
	// Command bounds the reading of the rest of a command, once its beginning is there; default 1 minute.
	Command time.Duration
	// Recheck is how often it is looked whether logins still hold; default 1 minute.
	Recheck time.Duration
	// Search is how long a SEARCH may take; default 10 minutes. Mail programs wait for less.
	Search time.Duration
	// Write is how long a client may take to accept the next 32 KiB of an answer; default 5 minutes, as with Dovecot.
	Write time.Duration
	// Stop is the same for the answers that are under way when the server stops, and for the rest of a command; default 5 seconds.
	Stop time.Duration
}

// idleTimeout is the default of Timeouts.Idle.
const idleTimeout = 31 * time.Minute

// lastWords is how long a client may take to accept why its connection ends: a courtesy, not worth waiting for.
const lastWords = time.Second

func (t Timeouts) withDefaults() Timeouts {
	return Timeouts{
		Login: cmp.Or(t.Login, time.Minute), Idle: cmp.Or(t.Idle, idleTimeout), Command: cmp.Or(t.Command, time.Minute),
		Recheck: cmp.Or(t.Recheck, time.Minute),
		Search:  cmp.Or(t.Search, 10*time.Minute), Write: cmp.Or(t.Write, 5*time.Minute), Stop: cmp.Or(t.Stop, 5*time.Second),
	}
}

// wait begins to wait for a command: from here on wake ends it. It says why when the end has begun.
func (c *conn) wait() error {
	c.waking.Lock()
	defer c.waking.Unlock()
	if err := c.mustEnd(); err != nil {
		return err
	}
	c.waiting = true
	if c.state == notAuthenticated {
		return c.nc.SetReadDeadline(c.loginBy)
	}
	return c.nc.SetReadDeadline(time.Now().Add(c.server.deps.Timeouts.Idle))
}

// begun ends the wait: the command that came is let finish. Before the login there is nothing to finish, and one wait for all.
func (c *conn) begun() error {
	c.waking.Lock()
	defer c.waking.Unlock()
	if err := c.mustEnd(); err != nil {
		return err
	}
	if c.state == notAuthenticated {
		return nil
	}
	c.waiting = false
	return c.nc.SetReadDeadline(time.Now().Add(c.server.deps.Timeouts.Command))
}

// writing gives the client its time to accept the next piece of what is said.
func (c *conn) writing() error {
	c.waking.Lock()
	defer c.waking.Unlock()
	return c.nc.SetWriteDeadline(c.writeBy(time.Now()))
}

// written leaves time for what TLS itself says while the client is silent, as to a client that wants new keys (RFC 8446, 4.6.3).
func (c *conn) written() error {
	c.waking.Lock()
	defer c.waking.Unlock()
	if c.leaving || c.server.stopping() || c.state == notAuthenticated {
		return nil
	}
	return c.nc.SetWriteDeadline(time.Now().Add(c.server.deps.Timeouts.Idle))
}

func (c *conn) writeBy(now time.Time) time.Time {
	switch {
	case c.leaving:
		return now.Add(lastWords)
	case c.server.stopping():
		return now.Add(c.server.deps.Timeouts.Stop)
	case c.state == notAuthenticated:
		return c.loginBy
	}
	return now.Add(c.server.deps.Timeouts.Write)
}

// leave makes what is said from here on the last words.
func (c *conn) leave() {
	c.waking.Lock()
	defer c.waking.Unlock()
	c.leaving = true
}

// wake ends a wait for a command; safe from any goroutine.
func (c *conn) wake() {
	c.waking.Lock()
	defer c.waking.Unlock()
	if c.waiting {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // a connection that is closed needs no waking
	}
}

// stop is wake for the end of the server: what the client sends or takes just now has a grace. Safe from any goroutine.
func (c *conn) stop() {
	c.wake()
	c.waking.Lock()
	defer c.waking.Unlock()
	grace := time.Now().Add(c.server.deps.Timeouts.Stop)
	if !c.waiting {
		_ = c.nc.SetReadDeadline(grace) // fails only on a closed connection
	}
	_ = c.nc.SetWriteDeadline(grace) // as above
}

// hangUp closes the connection; safe from any goroutine. One that was given up while it was written to gets no goodbye of TLS
// either, for which crypto/tls would wait 5 seconds.
func (c *conn) hangUp() {
	c.waking.Lock()
	nc := c.nc
	c.waking.Unlock()
	if t, ok := nc.(*tls.Conn); ok && c.out.broken() {
		nc = t.NetConn()
	}
	_ = nc.Close() // the client sees an end either way
}
