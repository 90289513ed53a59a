package imap

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// Capabilities (the IANA registry of IMAP capabilities names the RFC of each).
const (
	capsAlways = "IMAP4rev1 LITERAL+ SASL-IR ID ENABLE"
	capsUser   = " IDLE NAMESPACE UIDPLUS UNSELECT CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE" +
		" STATUS=SIZE ESEARCH SEARCHRES WITHIN CONDSTORE QRESYNC"
)

// capabilities are what is there in the connection's state.
func (c *conn) capabilities() string {
	if c.state != notAuthenticated {
		return capsAlways + capsUser
	}
	caps := capsAlways
	if c.security.StartTLS != nil && !c.secure {
		caps += " STARTTLS"
	}
	if c.canLogin() {
		return caps + " AUTH=PLAIN"
	}
	return caps + " LOGINDISABLED"
}

func (c *conn) capability(_ context.Context, cmd *command) error {
	cmd.args.end()
	if cmd.args.err == nil {
		c.out.line("* CAPABILITY " + c.capabilities())
	}
	return cmd.args.err
}

func (c *conn) logout(_ context.Context, cmd *command) error {
	c.closeFolder()
	c.state = loggedOut
	c.out.line("* BYE See you later")
	return nil
}

// id tells who we are (RFC 2971). What the client says of itself is not needed.
func (c *conn) id(_ context.Context, _ *command) error {
	b := append([]byte("* ID ("), `"name" "MaiRust"`...)
	if c.server.deps.Version != "" && c.state != notAuthenticated {
		b = appendString(append(b, ` "version" `...), c.server.deps.Version)
	}
	c.out.line(string(b) + ")")
	return nil
}

func (c *conn) handleStartTLS(_ context.Context, cmd *command) error {
	cmd.args.end()
	switch {
	case cmd.args.err != nil:
		return cmd.args.err
	case c.security.StartTLS == nil:
		return bad("There is no STARTTLS here")
	case c.secure:
		return bad("TLS is on")
	}
	r := ok("Begin TLS negotiation now")
	r.after = c.startTLS
	return r
}

func (c *conn) handleLogin(ctx context.Context, cmd *command) error {
	p := cmd.args
	p.sp()
	login := p.astring()
	p.sp()
	password := p.astring()
	p.end()
	if p.err != nil {
		return p.err
	}
	return c.logIn(ctx, login, password)
}

// authenticate does SASL PLAIN (RFC 4616), with or without an initial response (RFC 4959).
func (c *conn) authenticate(ctx context.Context, cmd *command) error {
	p := cmd.args
	p.sp()
	mechanism := p.keyword()
	var response string
	initial := p.take(' ')
	if initial {
		response = p.b
	}
	if p.err != nil {
		return p.err
	}
	if mechanism != "PLAIN" {
		return no("CANNOT", "Only PLAIN is known")
	}
	if !c.canLogin() {
		return noTLS()
	}
	if !initial {
		c.out.line("+ ")
		if err := c.out.flush(); err != nil {
			return err
		}
		line, err := c.readLine(nil, maxUnknownBytes)
		if err != nil {
			c.broken = err
			return err
		}
		response = string(line)
	}
	if response == "*" {
		return bad("Cancelled")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(response))
	parts := bytes.Split(raw, []byte{0})
	if err != nil || len(parts) != 3 {
		return bad("This is not a response of PLAIN")
	}
	as, login := string(parts[0]), string(parts[1])
	if as != "" && as != login {
		return no("AUTHORIZATIONFAILED", "Nobody can log in as somebody else")
	}
	return c.logIn(ctx, login, string(parts[2]))
}

func noTLS() *reply { return no("PRIVACYREQUIRED", "TLS is needed before a password is sent") }

func (c *conn) logIn(ctx context.Context, login, password string) error {
	if !c.canLogin() {
		return noTLS()
	}
	who, err := c.server.deps.Logins.CheckLogin(ctx, login, password, c.client)
	outcome, answer := loginOutcome(err)
	c.server.metrics.logins.WithLabelValues(outcome).Inc()
	if err != nil {
		c.log.Warn("login refused", "login", mail.Clean(login, 100), "outcome", outcome, "err", err)
		return answer
	}
	if who.User == "" {
		return no("CONTACTADMIN", "Only people have mailboxes")
	}
	c.login = who.Login
	// The mailboxes given to the user, whatever the role: an admin's IMAP client shows the admin's own mail.
	c.scope = store.Scope{Tenant: who.Tenant, User: who.User}
	c.state = authenticated
	c.enter(who.Credential)
	c.log = c.log.With("login", who.Login)
	c.log.Debug("login")
	return okCode("CAPABILITY "+c.capabilities(), "Logged in")
}

// loginOutcome names the end of a login, for metrics and for the client.
func loginOutcome(err error) (string, *reply) {
	var throttled *auth.ThrottledError
	switch {
	case err == nil:
		return "ok", nil
	case errors.Is(err, auth.ErrCredentials):
		return "refused", no("AUTHENTICATIONFAILED", "Unknown login or wrong password")
	case errors.As(err, &throttled):
		return "throttled", no("UNAVAILABLE", "Too many failed logins, please wait")
	case errors.Is(err, auth.ErrBusy):
		return "busy", no("UNAVAILABLE", "Too many logins at once, please try again")
	default:
		return "error", no("UNAVAILABLE", "Logins are not possible right now, please try again later")
	}
}

// enable turns on what changes the protocol (RFC 5161).
func (c *conn) enable(_ context.Context, cmd *command) error {
	p := cmd.args
	var enabled string
	for p.err == nil && p.b != "" {
		p.sp()
		switch name := p.keyword(); name {
		case "CONDSTORE":
			c.condstore = true
			enabled += " CONDSTORE"
		case "QRESYNC":
			c.condstore, c.qresync = true, true
			enabled += " QRESYNC"
		}
	}
	if p.err == nil {
		c.out.line("* ENABLED" + enabled)
	}
	return p.err
}

// noop tells what has changed.
func (c *conn) noop(ctx context.Context, cmd *command) error {
	cmd.args.end()
	if cmd.args.err != nil || c.view == nil {
		return cmd.args.err
	}
	return c.sync(ctx, expunges)
}
