package lookup

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// Index is what the service asks; *store.Store is one.
type Index interface {
	// Resolve finds the mailbox that takes mail for rcpt: store.ErrNotFound when there is none for certain,
	// store.ErrSuspended and store.ErrQuota when it takes nothing at present; any other error is temporary.
	Resolve(ctx context.Context, rcpt mail.Address, delimiter string) (store.Target, error)
	// HasDomain says whether mail for domain (lower-case A-labels) is delivered here.
	HasDomain(ctx context.Context, domain string) (bool, error)
	// AliasTarget gives what an alias stands for, one step; store.ErrNotFound when addr is none.
	AliasTarget(ctx context.Context, addr mail.Address) (mail.Address, error)
}

// answer gives the reply to one request, "name key". A key may hold spaces, a name may not.
func (s *Server) answer(ctx context.Context, request []byte) string {
	ctx, cancel := context.WithTimeout(ctx, s.options.RequestTimeout)
	defer cancel()
	name, key, ok := strings.Cut(string(request), " ")
	if !ok {
		s.metrics.requests.WithLabelValues("unknown", "perm").Inc()
		return "PERM a request is a map name, a space and a key"
	}
	began := time.Now()
	value, err := s.find(ctx, name, key)
	reply, result := toReply(value, err)
	label := mapLabel(name)
	s.metrics.requests.WithLabelValues(label, result).Inc()
	s.metrics.duration.WithLabelValues(label).Observe(time.Since(began).Seconds())
	if err != nil && (result == "temp" || result == "timeout") {
		s.deps.Log.Warn("lookup", "map", label, "key", mail.Clean(key, 320), "err", err)
	}
	return reply
}

var errUnknownMap = errors.New("no such map; there are domains, mailboxes, aliases")

// find looks key up in the map name. Postfix asks for "user@domain", then for parts of it ("user", "@domain"):
// those are nobody's address and not found.
func (s *Server) find(ctx context.Context, name, key string) (string, error) {
	switch name {
	case "domains":
		return s.domain(ctx, key)
	case "mailboxes":
		return s.mailbox(ctx, key)
	case "aliases":
		return s.alias(ctx, key)
	default:
		return "", errUnknownMap
	}
}

func (s *Server) domain(ctx context.Context, key string) (string, error) {
	name, err := mail.NormalDomain(key)
	if err != nil {
		return "", store.ErrNotFound
	}
	has, err := s.deps.Index.HasDomain(ctx, name)
	switch {
	case err != nil:
		return "", err
	case !has:
		return "", store.ErrNotFound
	}
	return name, nil
}

func (s *Server) mailbox(ctx context.Context, key string) (string, error) {
	a, err := parseKey(key)
	if err != nil {
		return "", err
	}
	target, err := s.deps.Index.Resolve(ctx, a, s.deps.RecipientDelimiter)
	if err != nil {
		return "", err
	}
	return target.Address.SMTP(), nil
}

// alias gives what an alias stands for, but only when there is a mailbox at its end: in an alias domain every
// address has a target, and Postfix takes mail for whatever this map knows.
func (s *Server) alias(ctx context.Context, key string) (string, error) {
	a, err := parseKey(key)
	if err != nil {
		return "", err
	}
	target, err := s.deps.Index.Resolve(ctx, a, s.deps.RecipientDelimiter)
	switch {
	case err != nil:
		return "", err
	case target.Address.Fold() == a.Fold():
		return "", store.ErrNotFound // a mailbox of its own comes before any alias
	}
	to, err := s.deps.Index.AliasTarget(ctx, a)
	if err != nil {
		return "", err
	}
	return to.SMTP(), nil
}

// parseKey reads an address as Postfix writes it in a lookup, quoted or not.
func parseKey(key string) (mail.Address, error) {
	a, err := mail.ParseAddress(key)
	if err != nil {
		a, err = mail.ParseUnquoted(key)
	}
	if err != nil || a.Local == "" || a.Domain == "" {
		return mail.Address{}, store.ErrNotFound
	}
	return a, nil
}

// toReply puts what find said into the words of socketmap_table(5), and names the result for the metrics.
//
// A full mailbox and a suspended tenant are TEMP: Postfix answers 451 and the sender keeps the message. With OK
// it would take the message, get 452 from LMTP for days, and bounce it in the end.
func toReply(value string, err error) (reply, result string) {
	switch {
	case err == nil:
		return "OK " + value, "found"
	case errors.Is(err, store.ErrNotFound):
		return "NOTFOUND ", "not_found"
	case errors.Is(err, errUnknownMap):
		return "PERM " + err.Error(), "perm"
	case errors.Is(err, store.ErrQuota):
		return "TEMP the mailbox is full", "quota"
	case errors.Is(err, store.ErrSuspended):
		return "TEMP the tenant is suspended", "suspended"
	case errors.Is(err, context.DeadlineExceeded):
		return "TIMEOUT ", "timeout"
	default: // what exactly is wrong stands in our log
		return "TEMP the index is unavailable", "temp"
	}
}

// mapLabel keeps strangers from making up metric labels.
func mapLabel(name string) string {
	switch name {
	case "domains", "mailboxes", "aliases":
		return name
	default:
		return "unknown"
	}
}
