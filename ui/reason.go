package ui

import (
	"container/list"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// Bounds on the reason for reading mail of others.
const (
	reasonLifetime = time.Hour
	minReason      = 5
	maxReason      = 300
)

// reasonCookie keeps the reason that somebody has given. It opens nothing: what may be seen is up to the role.
// Whoever changes the cookie has given another reason.
const reasonCookie = "mairust-reason"

// given is a reason for one mailbox.
type given struct {
	Mailbox store.MailboxID `json:"m"`
	Reason  string          `json:"r"`
	Until   int64           `json:"u"`
}

// reasonFor is the reason that was given for a mailbox; empty when there is none, or none any more.
func (p *page) reasonFor(id store.MailboxID) string {
	cookie, err := p.r.Cookie(reasonCookie)
	if err != nil || len(cookie.Value) > 4096 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return ""
	}
	var g given
	if json.Unmarshal(raw, &g) != nil || g.Mailbox != id || p.s.d.Now().Unix() >= g.Until {
		return ""
	}
	if reason := cleanReason(g.Reason); len([]rune(reason)) >= minReason {
		return reason
	}
	return ""
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
	raw, err := json.Marshal(given{Mailbox: m.ID, Reason: reason, Until: s.d.Now().Add(reasonLifetime).Unix()})
	if err != nil {
		return err
	}
	http.SetCookie(p.w, s.reason(base64.RawURLEncoding.EncodeToString(raw), reasonLifetime))
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
	key := string(p.Who.User) + " " + string(m.ID) + " " + reason
	if s.reads.has(key) {
		return nil
	}
	if err := s.audit(p, string(auth.ReadMessages), m.Tenant, m.Mailbox, string(m.ID), reason); err != nil {
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
