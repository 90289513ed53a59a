package imap

import (
	"context"
	"errors"
	"runtime/debug"
	"strings"
	"time"
)

var errPanic = errors.New("panic while idling")

// idle tells what happens in the folder until the client says DONE (RFC 2177).
func (c *conn) idle(ctx context.Context, cmd *command) error {
	cmd.args.end()
	if cmd.args.err != nil {
		return cmd.args.err
	}
	c.out.line("+ idling")
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan error, 1)
	if c.view != nil {
		go func() {
			defer func() {
				if v := recover(); v != nil {
					c.server.metrics.panics.Inc()
					c.log.Error("panic", "panic", v, "stack", string(debug.Stack()))
					told <- errPanic
				}
			}()
			told <- c.tellNews(ctx)
		}()
	} else {
		told <- c.out.flush()
	}
	line, err := c.readDone()
	cancel()
	if err = errors.Join(err, <-told); err != nil {
		c.broken = err
		return err
	}
	if !strings.EqualFold(line, "DONE") {
		return bad("Expected DONE")
	}
	return nil
}

// readDone waits for the client, as long as for a command.
func (c *conn) readDone() (string, error) {
	if err := c.wait(); err != nil {
		return "", err
	}
	if _, err := c.br.Peek(1); err != nil {
		return "", c.whyEnded(err)
	}
	if err := c.begun(); err != nil {
		return "", err
	}
	line, err := c.readLine(nil, maxUnknownBytes)
	return string(line), err
}

// tellNews tells what is new now, and whenever the folder changes, until ctx ends. It alone writes meanwhile. A look that
// failed is tried again: the watcher tells of each change once, and this may have been the last one of the day.
func (c *conn) tellNews(ctx context.Context) (err error) {
	changed, stop := c.server.hub.watch(c.view.folder, c.view.snap.modSeq)
	defer stop()
	var again <-chan time.Time
	for {
		err := c.sync(ctx, expunges)
		if errors.Is(err, errRenumbered) {
			return c.stopWaiting(ctx, err)
		}
		switch {
		case err == nil:
			again = nil
		case ctx.Err() == nil:
			if again == nil { // the first of a row says enough
				c.log.Warn("idle", "err", err)
			}
			again = time.After(pollInterval)
		}
		if err := c.out.flush(); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

// stopWaiting ends the wait for the client, which may not have begun yet.
func (c *conn) stopWaiting(ctx context.Context, err error) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		c.wake()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}
