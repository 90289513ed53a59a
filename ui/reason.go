package ui

import (
	"container/list"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// Bounds on the reason for reading mail of others.
const (
	reasonLifetime = time.Hour
	minReason      = 5
	maxReason      = 300
)

// reasonCookie keeps the reason that somebody has given. It proves that the reason was written to the audit log, so it
// carries a MAC: nobody makes one for themselves.
const reasonCookie = "mairust-reason"

// reasonMAC is what the MAC of a reason is for.
const reasonMAC keyring.Purpose = "reason"

// maxReasonCookie bounds the cookie: browsers keep no longer one.
const maxReasonCookie = 4096

// given is a reason for one mailbox, and who has given it.
type given struct {
	User    store.UserID    `json:"-"`
	Mailbox store.MailboxID `json:"m"`
	Reason  string          `json:"r"`
	Until   int64           `json:"u"`
}

// fields are what the MAC covers.
func (g given) fields() []string {
	return []string{string(g.User), string(g.Mailbox), g.Reason, strconv.FormatInt(g.Until, 10)}
}

// sealReason is the value of the cookie: base64url of JSON, "~", and the MAC.
func (s *Server) sealReason(g given) (string, error) {
	raw, err := json.Marshal(g)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw) + "~" + s.d.Keyring.MAC(reasonMAC, g.fields()...), nil
}

// openReason reads the cookie that sealReason made for a user; false when it did not.
func (s *Server) openReason(value string, user store.UserID) (given, bool) {
	text, mac, ok := strings.Cut(value, "~")
	if !ok || len(value) > maxReasonCookie {
		return given{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return given{}, false
	}
	var g given
	if json.Unmarshal(raw, &g) != nil {
		return given{}, false
	}
	g.User = user
	return g, s.d.Keyring.Verify(reasonMAC, mac, g.fields()...) == nil
}

// reasonFor is the reason that was given for a mailbox; empty when there is none, or none any more.
func (p *page) reasonFor(id store.MailboxID) string {
	cookie, err := p.r.Cookie(reasonCookie)
	if err != nil {
		return ""
	}
	g, ok := p.s.openReason(cookie.Value, p.Who.User)
	if !ok || g.Mailbox != id || p.s.d.Now().Unix() >= g.Until {
		return ""
	}
	return g.Reason
}

func cleanReason(text string) string {
	return mail.Clean(strings.Join(strings.Fields(text), " "), maxReason)
}

// reasonView is what the form for the reason shows.
type reasonView struct {
	Address, Post, Return string
}

func (s *Server) askReason(p *page, m *store.Mailbox) error {
	p.Nav, p.Title = "mailboxes", p.T("reason.title")
	here := p.Here()
	if p.r.Method != http.MethodGet {
		here = mailboxURL(m.Address, store.Inbox, "")
	}
	if p.isFragment() { // the form wants the whole page
		p.w.Header().Set("HX-Redirect", here)
		p.w.WriteHeader(http.StatusForbidden)
		return nil
	}
	return p.show(http.StatusForbidden, "reason", reasonView{
		Address: m.Address, Post: "/mail/" + string(m.ID) + "/reason", Return: here,
	})
}

// giveReason notes in the audit log why somebody opens a mailbox that is not theirs, and lets them in.
func (s *Server) giveReason(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	m, err := s.d.Store.MailboxByAddress(p.ctx(), p.Who.Scope(), p.r.PathValue("mailbox"))
	if err != nil {
		return err
	}
	reason := cleanReason(p.r.PostForm.Get("reason"))
	if len([]rune(reason)) < minReason {
		p.Warn = p.T("reason.short")
		return s.askReason(p, m)
	}
	if err := s.audit(p, "mailbox.open", m.Tenant, m.ID, string(m.ID), reason); err != nil {
		return err
	}
	sealed, err := s.sealReason(given{User: p.Who.User, Mailbox: m.ID, Reason: reason, Until: s.d.Now().Add(reasonLifetime).Unix()})
	if err != nil {
		return err
	}
	http.SetCookie(p.w, s.reason(sealed, reasonLifetime))
	return p.redirect(localPath(p.r.PostForm.Get("return"), mailboxURL(m.Address, store.Inbox, "")))
}

// reason is the cookie that keeps a reason for a while.
func (s *Server) reason(value string, lifetime time.Duration) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // not Secure only over plain http on loopback
		Name: reasonCookie, Value: value, Path: "/", MaxAge: int(lifetime.Seconds()),
		Secure: s.public.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteStrictMode,
	}
}

// noReason is the cookie that makes a browser forget the reason.
func (s *Server) noReason() *http.Cookie { return s.reason("", -time.Second) }

// touched is what the audit log keeps beside an act on mail, so that owners find it.
type touched struct {
	Mailbox store.MailboxID `json:"mailbox"`
}

// audit notes an act on a mailbox.
func (s *Server) audit(p *page, action string, tenant store.TenantID, mailbox store.MailboxID, target, reason string) error {
	after, err := json.Marshal(touched{Mailbox: mailbox})
	if err != nil {
		return err
	}
	return s.d.Store.Audit(p.ctx(), store.AuditEntry{
		Tenant: tenant, Actor: p.Who.Login, ActorKind: string(p.Who.Kind), Action: action, Target: target,
		Reason: reason, After: string(after), RequestID: auth.RequestID(p.ctx()),
	})
}

// auditRead notes that somebody reads a message of a mailbox that is not theirs. It comes before the answer: a
// read that cannot be noted does not happen. Page, body and attachments within a few minutes are one read.
func (s *Server) auditRead(p *page, m *store.Message, reason string) error {
	return s.auditOnce(p, string(auth.ReadMessages), m.Tenant, m.Mailbox, string(m.ID), reason)
}

// listMessages is the audit log's word for looking at a list of subjects and previews.
const listMessages = "message.list"

// auditList is auditRead for a list, where a page after the other is one look.
func (s *Server) auditList(p *page, m *store.Mailbox, reason string) error {
	return s.auditOnce(p, listMessages, m.Tenant, m.ID, string(m.ID), reason)
}

// auditOnce is audit, unless the same was noted a moment ago.
func (s *Server) auditOnce(p *page, action string, tenant store.TenantID, mailbox store.MailboxID, target, reason string) error {
	key := strings.Join([]string{string(p.Who.User), action, target, reason}, " ")
	if s.reads.has(key) {
		return nil
	}
	if err := s.audit(p, action, tenant, mailbox, target, reason); err != nil {
		return err
	}
	s.reads.add(key)
	return nil
}

// readLog remembers for a while which reads were noted; the oldest of many go first.
type readLog struct {
	now   func() time.Time
	mu    sync.Mutex
	order *list.List
	at    map[string]time.Time
}

// Bounds on what a readLog remembers.
const (
	oneRead  = 5 * time.Minute
	maxReads = 1000
)

func newReadLog(now func() time.Time) *readLog {
	return &readLog{now: now, order: list.New(), at: map[string]time.Time{}}
}

func (l *readLog) has(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.at[key]
	return ok && l.now().Sub(at) < oneRead
}

func (l *readLog) add(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.at[key]; !ok {
		l.order.PushBack(key)
	}
	l.at[key] = l.now()
	for l.order.Len() > maxReads {
		if oldest, ok := l.order.Remove(l.order.Front()).(string); ok {
			delete(l.at, oldest)
		}
	}
}
