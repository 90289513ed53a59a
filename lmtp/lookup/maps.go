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
	// LeadsTo finds out where mail for target ends: in a mailbox, or, with ok false, elsewhere; store.ErrNotFound when nowhere. from is
	// an address that it must not come back to, and may be zero.
	LeadsTo(ctx context.Context, from, target mail.Address, delimiter string) (end store.Target, ok bool, err error)
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
	if errors.Is(err, store.ErrNotFound) {
		return "", s.unknown(ctx, a, false)
	}
	if err != nil {
		return "", err
	}
	return target.Address.SMTP(), nil
}

// errUncertain says that an address is not known to a database that may not know all.
var errUncertain = errors.New("an unknown address, in a database that may be another or an old one")

// unknown is store.ErrNotFound for an address that was not found, or errUncertain. Where Postfix asks for all recipients, those of domains that are
// not known are other hosts'.
func (s *Server) unknown(ctx context.Context, a mail.Address, askedForAll bool) error {
	known, err := s.deps.Index.HasDomain(ctx, a.Fold().Domain)
	switch {
	case err != nil:
		return err
	case !known && askedForAll:
		return store.ErrNotFound
	}
	uncertain, err := s.deps.Uncertain(ctx, known)
	switch {
	case err != nil:
		return err
	case uncertain:
		return errUncertain
	}
	return store.ErrNotFound
}

// alias gives what an alias stands for, but only when there is a mailbox at its end, or an address elsewhere: in an alias domain
// every address has a target, and Postfix takes mail for whatever this map knows. It asks this map for all recipients, those of other
// hosts too.
func (s *Server) alias(ctx context.Context, key string) (string, error) {
	a, err := parseKey(key)
	if err != nil {
		return "", err
	}
	target, err := s.deps.Index.Resolve(ctx, a, s.deps.RecipientDelimiter)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return s.elsewhere(ctx, a)
	case errors.Is(err, store.ErrQuota), errors.Is(err, store.ErrSuspended):
		return "", s.isAlias(ctx, a, err)
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

// isAlias gives why an alias is not to be followed now, or store.ErrNotFound for an address that is none. Postfix's cleanup(8) asks this map for
// mail that smtpd has not seen, such as bounces and that of sendmail(1): for want of one answer it keeps the whole message in the maildrop, for
// all its recipients and without end, where a mailbox that is full is deferred by LMTP alone. For an alias there is no better answer: smtpd
// would take mail for it that cannot be delivered.
func (s *Server) isAlias(ctx context.Context, a mail.Address, why error) error {
	if _, err := s.deps.Index.AliasTarget(ctx, a); err != nil {
		return err
	}
	return why
}

// elsewhere gives what an alias stands for whose mail leaves the installation.
func (s *Server) elsewhere(ctx context.Context, a mail.Address) (string, error) {
	to, err := s.withoutDetail(ctx, a)
	if err == nil {
		var here bool
		_, here, err = s.deps.Index.LeadsTo(ctx, mail.Address{}, to, s.deps.RecipientDelimiter)
		if err == nil && !here {
			return to.SMTP(), nil
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", err
	}
	return "", s.unknown(ctx, a, true)
}

// withoutDetail is what an alias stands for, as the address stands or without its detail. Postfix tries that by itself only where its own
// recipient_delimiter says so.
func (s *Server) withoutDetail(ctx context.Context, a mail.Address) (mail.Address, error) {
	to, err := s.deps.Index.AliasTarget(ctx, a)
	if base, _, ok := a.Detail(s.deps.RecipientDelimiter); ok && errors.Is(err, store.ErrNotFound) {
		return s.deps.Index.AliasTarget(ctx, base)
	}
	return to, err
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

// What is said after TEMP. Package internal/postfix tells by these words whether an address exists.
const (
	Full        = "the mailbox is full"
	Suspended   = "the tenant is suspended"
	Uncertain   = "the database may be another or an old one"
	Unavailable = "the index is unavailable"
)

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
		return "TEMP " + Full, "quota"
	case errors.Is(err, store.ErrSuspended):
		return "TEMP " + Suspended, "suspended"
	case errors.Is(err, errUncertain):
		return "TEMP " + Uncertain, "temp"
	case errors.Is(err, context.DeadlineExceeded):
		return "TIMEOUT ", "timeout"
	default: // what exactly is wrong stands in our log
		return "TEMP " + Unavailable, "temp"
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
