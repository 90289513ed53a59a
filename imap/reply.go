package imap

import (
	"errors"
	"strings"

	"github.com/mairust/mairust/store/blob"
)

// reply is the tagged end of a command. As an error it ends a command early.
type reply struct {
	tag, kind, code, text string
	// after is done once the reply is sent.
	after func() error
}

// Error is the reply as a client sees it.
func (r *reply) Error() string { return r.line() }

// Is makes every BAD an errSyntax.
func (r *reply) Is(target error) bool { return target == errSyntax && r.kind == "BAD" }

func (r *reply) line() string {
	var s strings.Builder
	s.WriteString(r.tag + " " + r.kind + " ")
	if r.code != "" {
		s.WriteString("[" + r.code + "] ")
	}
	s.WriteString(r.text)
	return s.String()
}

func ok(text string) *reply { return &reply{kind: "OK", text: text} }

func okCode(code, text string) *reply { return &reply{kind: "OK", code: code, text: text} }

func no(code, text string) *reply { return &reply{kind: "NO", code: code, text: text} }

func bad(text string) *reply { return &reply{kind: "BAD", text: text} }

// readOnly is the answer to everything that would change something (RFC 5530).
func readOnly() *reply { return no("NOPERM", "This server is read-only") }

// toReply turns what a command ended with into its reply; unexpected says that the log should have it.
func toReply(err error) (r *reply, unexpected bool) {
	switch {
	case err == nil:
		return ok("done"), false
	case errors.As(err, &r):
		return r, false
	case errors.Is(err, blob.ErrNotFound):
		return no("SERVERBUG", "A message is missing from the object store"), true
	case errors.Is(err, blob.ErrDamaged):
		return no("SERVERBUG", "A message is damaged in the object store"), true
	default:
		return no("UNAVAILABLE", "This cannot be done right now, please try again later"), true
	}
}
