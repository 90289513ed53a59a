package imap

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

var (
	errLeft    = fmt.Errorf("the client left: %w", net.ErrClosed)
	errTooSlow = errors.New("the search took too long")
)

// attended gives a context for a command that says nothing while it is done, however long: it ends when the client leaves, or
// after limit. end must be called before anything else is read; it says why the context ended, nil if it did not. A client that
// has sent its next command already is not watched.
func (c *conn) attended(ctx context.Context, limit time.Duration) (attended context.Context, end func() error) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { cancel(errTooSlow) })
	c.waking.Lock()
	c.waiting = true // the end of the server ends the watch, not the command
	if c.mustEnd() == nil {
		_ = c.nc.SetReadDeadline(time.Time{}) // fails only on a closed connection
	}
	c.waking.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := c.br.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel(errLeft)
		}
	}()
	return ctx, func() error {
		timer.Stop()
		c.wake()
		<-done
		c.waking.Lock()
		c.waiting = false
		c.waking.Unlock()
		err := context.Cause(ctx)
		cancel(nil)
		return err
	}
}
