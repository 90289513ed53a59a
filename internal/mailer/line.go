package mailer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"time"
)

const (
	// sendTimeout bounds all that comes before the end of a letter.
	sendTimeout = 30 * time.Second
	// replyTimeout is how long a server may take for its word on a whole letter (RFC 5321, section 4.5.3.2.6): many a server that is
	// left before that sends the letter all the same.
	replyTimeout = 10 * time.Minute
	// replyGrace is how long that word is waited for when the context ends meanwhile.
	replyGrace = 5 * time.Second
	// quitTimeout bounds the goodbye, which nothing depends on.
	quitTimeout = time.Second
)

// SendTakes is the most that Send takes.
const SendTakes = sendTimeout + replyTimeout + replyGrace + quitTimeout

// ErrUnsure says that the server may have taken a letter: it was given all of it, and said nothing to that.
var ErrUnsure = errors.New("the letter may have been sent: the server had all of it, and did not say whether it took it")

// line is a connection to a server, for one conversation.
type line struct {
	net.Conn
	// leave stops the waiting for the end of the context; false when that has come.
	leave func() bool
}

// errLeft says that a letter was left before its end.
var errLeft = errors.New("left before all was said")

// until lets what follows take its time until a deadline or, when ctx ends before, until a grace is over. It fails when a context
// that was given before has ended.
func (l *line) until(ctx context.Context, deadline time.Time, grace time.Duration) error {
	if l.leave != nil && !l.leave() {
		return errLeft
	}
	if err := l.SetDeadline(deadline); err != nil {
		return err
	}
	l.leave = context.AfterFunc(ctx, func() {
		if end := time.Now().Add(grace); end.Before(deadline) {
			_ = l.SetDeadline(end) // a connection that is closed needs none
		}
	})
	return nil
}

// bye calls quit, unless the context has ended.
func (l *line) bye(quit func() error) {
	if l.leave() && l.SetDeadline(time.Now().Add(quitTimeout)) == nil {
		_ = quit() // what was to be said is said, whatever becomes of the goodbye
	}
}

// unsure is the error of a server that had all of a letter: its refusal, or that it said nothing.
func unsure(err error) error {
	if _, isReply := errors.AsType[*textproto.Error](err); err == nil || isReply {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnsure, err)
}
