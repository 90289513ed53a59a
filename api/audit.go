package api

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// listMessages is the audit log's word for looking at a list of subjects and previews.
const listMessages = "message.list"

// auditRead notes that somebody reads mail of a mailbox that is not theirs. It comes before the answer: a
// read that cannot be noted does not happen.
func (s *Server) auditRead(ctx context.Context, m *store.Message, reason string) error {
	own, err := s.owns(ctx, asker(ctx), m.Mailbox)
	if err != nil || own {
		return err
	}
	return s.audit(ctx, string(auth.ReadMessages), m.Tenant, m.Mailbox, string(m.ID), reason)
}

// auditList is auditRead for a list, where a page after the other is one look.
func (s *Server) auditList(ctx context.Context, m *store.Mailbox, reason string) error {
	own, err := s.owns(ctx, asker(ctx), m.ID)
	if err != nil || own {
		return err
	}
	key := look{kind: asker(ctx).Kind, who: asker(ctx).ID, mailbox: m.ID}
	if s.looks.fresh(key, s.d.Now()) {
		return nil
	}
	if err := s.audit(ctx, listMessages, m.Tenant, m.ID, string(m.ID), reason); err != nil {
		return err
	}
	s.looks.note(key, s.d.Now())
	return nil
}

// audit notes an act on a mailbox. The mailbox is kept beside the target, so that its owner finds the entry.
func (s *Server) audit(ctx context.Context, action string, tenant store.TenantID, mailbox store.MailboxID, target, reason string) error {
	after, err := json.Marshal(map[string]store.MailboxID{"mailbox": mailbox})
	if err != nil {
		return err
	}
	p := asker(ctx)
	return s.d.Store.Audit(ctx, store.AuditEntry{
		Tenant: tenant, Actor: p.Actor(), ActorKind: string(p.Kind), Action: action, Target: target,
		Reason: mail.Clean(reason, 500), After: string(after), RequestID: auth.AuditID(ctx),
	})
}

// owns tells whether the mailbox was given to the person who asks, whatever else the role allows.
func (s *Server) owns(ctx context.Context, p auth.Principal, id store.MailboxID) (bool, error) {
	if p.Role == auth.User {
		return true, nil // the scope let through nothing else
	}
	if p.User == "" {
		return false, nil
	}
	return s.d.Store.OwnsMailbox(ctx, p.User, id)
}

// Bounds on the looks that are remembered: how long one lasts, and how many there are.
const (
	lookLifetime = 10 * time.Minute
	maxLooks     = 10_000
)

// look is who lists the messages of which mailbox.
type look struct {
	kind    auth.Kind
	who     string
	mailbox store.MailboxID
}

// lookLog remembers which looks were noted of late. One that is forgotten too early is only noted once more.
type lookLog struct {
	mu    sync.Mutex
	noted map[look]time.Time
}

func newLookLog() *lookLog { return &lookLog{noted: map[look]time.Time{}} }

// fresh tells whether the look was noted within lookLifetime.
func (l *lookLog) fresh(key look, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, ok := l.noted[key]
	return ok && now.Sub(at) < lookLifetime
}

func (l *lookLog) note(key look, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.noted) >= maxLooks {
		clear(l.noted)
	}
	l.noted[key] = now
}
