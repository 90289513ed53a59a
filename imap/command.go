package imap

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
)

// command is one command under way.
type command struct {
	name string
	uid  bool
	tag  string
	args *parser
}

// handler does a command. nil is OK; a *reply is itself; any other error is a temporary NO.
type handler struct {
	// in are the states in which the command is valid.
	from, to state
	do       func(c *conn, ctx context.Context, cmd *command) error
}

// handlers are all commands. Those with UID before them are in uidHandlers too.
var handlers = map[string]handler{
	"CAPABILITY":   {notAuthenticated, selected, (*conn).capability},
	"NOOP":         {notAuthenticated, selected, (*conn).noop},
	"CHECK":        {selected, selected, (*conn).noop},
	"LOGOUT":       {notAuthenticated, selected, (*conn).logout},
	"ID":           {notAuthenticated, selected, (*conn).id},
	"STARTTLS":     {notAuthenticated, notAuthenticated, (*conn).handleStartTLS},
	"LOGIN":        {notAuthenticated, notAuthenticated, (*conn).handleLogin},
	"AUTHENTICATE": {notAuthenticated, notAuthenticated, (*conn).authenticate},
	"ENABLE":       {authenticated, selected, (*conn).enable},
	"NAMESPACE":    {authenticated, selected, (*conn).namespace},
	"LIST":         {authenticated, selected, (*conn).list},
	"LSUB":         {authenticated, selected, (*conn).lsub},
	"STATUS":       {authenticated, selected, (*conn).status},
	"SELECT":       {authenticated, selected, (*conn).selectFolder},
	"EXAMINE":      {authenticated, selected, (*conn).selectFolder},
	"IDLE":         {authenticated, selected, (*conn).idle},
	"SUBSCRIBE":    {authenticated, selected, (*conn).subscribe},
	"UNSUBSCRIBE":  {authenticated, selected, (*conn).refuse},
	"CREATE":       {authenticated, selected, (*conn).refuse},
	"DELETE":       {authenticated, selected, (*conn).refuse},
	"RENAME":       {authenticated, selected, (*conn).refuse},
	"APPEND":       {authenticated, selected, (*conn).refuse},
	"CLOSE":        {selected, selected, (*conn).unselect},
	"UNSELECT":     {selected, selected, (*conn).unselect},
	"FETCH":        {selected, selected, (*conn).fetch},
	"SEARCH":       {selected, selected, (*conn).search},
	"STORE":        {selected, selected, (*conn).refuse},
	"COPY":         {selected, selected, (*conn).refuse},
	"MOVE":         {selected, selected, (*conn).refuse},
	"EXPUNGE":      {selected, selected, (*conn).refuse},
}

// uidHandlers are the commands that may have UID before them.
var uidHandlers = map[string]bool{"FETCH": true, "SEARCH": true, "STORE": true, "COPY": true, "MOVE": true, "EXPUNGE": true}

// refuse answers a command that would change something, whatever its arguments.
func (c *conn) refuse(context.Context, *command) error { return readOnly() }

// do does one command and gives its reply.
func (c *conn) do(ctx context.Context, raw string) *reply {
	p := &parser{b: raw}
	cmd := &command{args: p}
	cmd.tag = p.word(isTagChar, "a tag")
	p.sp()
	cmd.name = p.keyword()
	if cmd.name == "UID" {
		cmd.uid = true
		p.sp()
		cmd.name = p.keyword()
	}
	if cmd.tag == "" {
		cmd.tag = "*"
	}
	r := c.handle(ctx, cmd)
	r.tag = cmd.tag
	return r
}

func (c *conn) handle(ctx context.Context, cmd *command) *reply {
	if cmd.args.err != nil {
		return c.counted("", bad("This is not a command"))
	}
	h, known := handlers[cmd.name]
	if !known || cmd.uid && !uidHandlers[cmd.name] {
		return c.counted("", bad("Unknown command"))
	}
	if c.state < h.from || c.state > h.to {
		return c.counted(cmd.name, bad("Not in this state"))
	}
	err := h.do(c, ctx, cmd)
	r, unexpected := toReply(err)
	if unexpected && !isGone(err) && ctx.Err() == nil {
		c.log.Error("command", "command", cmd.name, "err", err)
	}
	if err == nil {
		r.text = titled(cmd) + " completed"
	}
	return c.counted(cmd.name, r)
}

// isGone says whether the client has left, which is how most sessions end.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrDeadlineExceeded)
}

func (c *conn) counted(name string, r *reply) *reply {
	if name == "" {
		name = "unknown"
	}
	c.server.metrics.commands.WithLabelValues(strings.ToLower(name), strings.ToLower(r.kind)).Inc()
	return r
}

func titled(cmd *command) string {
	if cmd.uid {
		return "UID " + cmd.name
	}
	return cmd.name
}
