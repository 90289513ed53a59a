package imap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// Why the server ends a connection that was let in.
var (
	errLoginEnded  = errors.New("the login does not hold any more")
	errAccessEnded = errors.New("the mailbox may not be read any more")
)

// entered is with what a client was let in, and the mailbox that it has open; empty for none.
type entered struct {
	credential auth.Credential
	mailbox    store.MailboxID
}

// access is that to the open mailbox.
func (e entered) access() store.Access {
	return store.Access{User: e.credential.User, Mailbox: e.mailbox}
}

const (
	// connsAtOnce are looked at together, in two or three statements.
	connsAtOnce = 256
	// recheckWithin is how long the database may take for these.
	recheckWithin = 10 * time.Second
)

// recheckLogins looks again and again whether those who came in through l may still be there, until ctx ends. All are asked for
// once in Timeouts.Recheck, a few at a time, and evenly, whatever their number. A database that does not answer ends nobody.
func (s *Server) recheckLogins(ctx context.Context, l net.Listener) {
	ctx = store.Patient(ctx)
	every, failed := s.deps.Timeouts.Recheck, false
	for ctx.Err() == nil {
		pieces := slices.Collect(slices.Chunk(s.loggedIn(l), connsAtOnce))
		for _, piece := range pieces {
			err := s.recheck(ctx, piece)
			if err != nil && !failed && ctx.Err() == nil { // the first of a row says enough
				s.log.Warn("logins could not be looked at again", "err", err)
			}
			failed = err != nil
			sleep(ctx, every/time.Duration(len(pieces)))
		}
		if len(pieces) == 0 {
			sleep(ctx, every)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// loggedIn are the connections of a listener that have a login, those of one user together.
func (s *Server) loggedIn(l net.Listener) []*conn {
	users := map[*conn]store.UserID{}
	for _, c := range s.allConns() {
		if c.listener == l && c.hasEntered().credential.User != "" {
			users[c] = c.hasEntered().credential.User
		}
	}
	list := make([]*conn, 0, len(users))
	for c := range users {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *conn) int { return cmp.Compare(users[a], users[b]) })
	return list
}

// recheck asks for some connections at once, and ends those that may not be there any more.
func (s *Server) recheck(ctx context.Context, list []*conn) error {
	ctx, cancel := context.WithTimeout(ctx, recheckWithin)
	defer cancel()
	were := make(map[*conn]entered, len(list))
	for _, c := range list {
		were[c] = c.hasEntered()
	}
	ended, err := s.deps.Logins.Ended(ctx, credentialsOf(were))
	if err != nil {
		return fmt.Errorf("credentials: %w", err)
	}
	given, err := s.deps.Index.AccessGiven(ctx, accessOf(were))
	if err != nil {
		return fmt.Errorf("access to mailboxes: %w", err)
	}
	for c, was := range were {
		switch {
		case slices.Contains(ended, was.credential):
			c.revoke(was, errLoginEnded)
		case was.mailbox != "" && !slices.Contains(given, was.access()):
			c.revoke(was, errAccessEnded)
		}
	}
	return nil
}

func credentialsOf(conns map[*conn]entered) []auth.Credential {
	all := map[auth.Credential]struct{}{}
	for _, e := range conns {
		all[e.credential] = struct{}{}
	}
	return slices.Collect(maps.Keys(all))
}

func accessOf(conns map[*conn]entered) []store.Access {
	all := map[store.Access]struct{}{}
	for _, e := range conns {
		if e.mailbox != "" {
			all[e.access()] = struct{}{}
		}
	}
	return slices.Collect(maps.Keys(all))
}

// enter notes with what the client was let in; opened, which mailbox it has open.
func (c *conn) enter(credential auth.Credential) {
	c.waking.Lock()
	defer c.waking.Unlock()
	c.entered.credential = credential
}

func (c *conn) opened(mailbox store.MailboxID) {
	c.waking.Lock()
	defer c.waking.Unlock()
	c.entered.mailbox = mailbox
}

// hasEntered is safe from any goroutine.
func (c *conn) hasEntered() entered {
	c.waking.Lock()
	defer c.waking.Unlock()
	return c.entered
}

// revoke ends what the client does and the connection, unless its login, or for the end of an access its mailbox, is not any more what it was; safe from any goroutine.
func (c *conn) revoke(was entered, why error) {
	c.waking.Lock()
	defer c.waking.Unlock()
	if c.entered.credential != was.credential || errors.Is(why, errAccessEnded) && c.entered.mailbox != was.mailbox {
		return
	}
	c.revoked = why
	if c.waiting {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0)) // a connection that is closed needs no waking
	}
	c.abort()
}

// mustEnd is why the server ends the connection; nil when it does not. The caller holds waking.
func (c *conn) mustEnd() error {
	switch {
	case c.revoked != nil:
		return c.revoked
	case c.server.stopping():
		return errStopping
	}
	return nil
}

// whyEnded is why the server ended the wait, else the error with which it ended by itself.
func (c *conn) whyEnded(err error) error {
	c.waking.Lock()
	defer c.waking.Unlock()
	return cmp.Or(c.mustEnd(), err)
}
