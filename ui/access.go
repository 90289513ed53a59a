package ui

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// Bounds on one page of the access log: how many entries it shows, and how many of the tenant's audit log are
// looked through for them.
const (
	accessRows  = 50
	accessBatch = 200
	accessLook  = 2000
)

// accessView is what the access log shows.
type accessView struct {
	Rows []accessRow
	// Older continues the list; LookedUntil is how far back was looked when that was not the end.
	Older       string
	LookedUntil time.Time
}

// accessRow is one time that somebody else opened a mailbox or read a message of it.
type accessRow struct {
	At                       time.Time
	Actor, Action, Reason    string
	Mailbox, Subject, Target string
}

// showAccess lists who else has read the person's own mail.
func (s *Server) showAccess(p *page) error {
	own, err := s.ownMailboxes(p)
	if err != nil {
		return err
	}
	look := accessSearch{s: s, p: p, own: own, messages: map[store.MessageID]*store.Message{}}
	v, err := look.from(beforeParameter(p.r.URL.Query().Get("before")))
	if err != nil {
		return err
	}
	p.Nav, p.Title = "access", p.T("access.title")
	if err := s.beside(p); err != nil {
		return err
	}
	return p.show(http.StatusOK, "access", v)
}

func beforeParameter(text string) time.Time {
	us, err := strconv.ParseInt(text, 10, 64)
	if err != nil || us <= 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

// accessSearch looks through the tenant's audit log for what concerns one person's mailboxes.
type accessSearch struct {
	s        *Server
	p        *page
	own      []store.Mailbox
	messages map[store.MessageID]*store.Message
}

func (a *accessSearch) from(before time.Time) (accessView, error) {
	var v accessView
	for looked := 0; looked < accessLook; looked += accessBatch {
		entries, err := a.s.d.Store.AuditLog(a.p.ctx(), store.Scope{Tenant: a.p.Who.Tenant}, before, accessBatch)
		if err != nil {
			return v, err
		}
		for _, e := range entries {
			before = e.At
			row, ok, err := a.row(e)
			if err != nil {
				return v, err
			}
			if ok {
				v.Rows = append(v.Rows, row)
			}
			if len(v.Rows) == accessRows {
				v.Older = olderAccess(before)
				return v, nil
			}
		}
		if len(entries) < accessBatch {
			return v, nil
		}
	}
	v.Older, v.LookedUntil = olderAccess(before), before
	return v, nil
}

func olderAccess(before time.Time) string {
	return "/access?" + url.Values{"before": {strconv.FormatInt(before.UnixMicro(), 10)}}.Encode()
}

// accessActions are the acts that the owner of a mailbox is told of: a message read, a list of messages looked at, the
// mailbox opened in the Web UI.
var accessActions = []string{string(auth.ReadMessages), listMessages, "mailbox.open"}

// row tells an entry, if it is about a mailbox of the person and somebody else did it.
func (a *accessSearch) row(e store.AuditEntry) (accessRow, bool, error) {
	if !slices.Contains(accessActions, e.Action) || e.Actor == a.p.Who.Login && e.ActorKind == string(auth.KindUser) {
		return accessRow{}, false, nil
	}
	var about touched
	if e.After != "" && json.Unmarshal([]byte(e.After), &about) != nil {
		about = touched{}
	}
	message, err := a.message(e, about)
	if err != nil {
		return accessRow{}, false, err
	}
	if message != nil {
		about.Mailbox = message.Mailbox
	}
	at := slices.IndexFunc(a.own, func(m store.Mailbox) bool { return m.ID == about.Mailbox })
	if at < 0 {
		return accessRow{}, false, nil
	}
	row := accessRow{At: e.At, Actor: plain(e.Actor), Action: e.Action, Reason: plain(e.Reason), Mailbox: a.own[at].Address}
	if message != nil {
		row.Subject, row.Target = plain(message.Subject), messageURL(message.ID, "")
	}
	return row, true, nil
}

// message finds the message that an entry is about in the person's own mailboxes; nil when it is not there.
func (a *accessSearch) message(e store.AuditEntry, about touched) (*store.Message, error) {
	if e.Action != string(auth.ReadMessages) || !isID(e.Target) {
		return nil, nil
	}
	if about.Mailbox != "" && !slices.ContainsFunc(a.own, func(m store.Mailbox) bool { return m.ID == about.Mailbox }) {
		return nil, nil
	}
	id := store.MessageID(e.Target)
	if m, ok := a.messages[id]; ok {
		return m, nil
	}
	m, err := a.s.d.Store.Message(a.p.ctx(), a.p.ownScope(), id)
	if errors.Is(err, store.ErrNotFound) {
		m, err = nil, nil
	}
	if err == nil {
		a.messages[id] = m
	}
	return m, err
}

func (s *Server) showHelp(p *page) error {
	if err := s.identify(p); err != nil && !errors.Is(err, auth.ErrCredentials) {
		return err
	}
	p.Nav, p.Title = "help", p.T("help.title")
	if err := s.beside(p); err != nil {
		return err
	}
	return p.show(http.StatusOK, "help", nil)
}
