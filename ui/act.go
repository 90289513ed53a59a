package ui

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// act does what a form asks to messages of one's own: one of them, or those that are ticked.
func (s *Server) act(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	m, err := s.d.Store.MailboxByAddress(p.ctx(), p.Who.Scope(), p.r.PathValue("mailbox"))
	if err != nil {
		return err
	}
	if own, err := s.owns(p, m.ID); err != nil || !own {
		return errors.Join(err, problemForbidden)
	}
	form := p.r.PostForm
	act, ids := form.Get("act"), messageIDs(form["id"])
	if one, id, ok := strings.Cut(form.Get("one"), " "); ok { // a button in a row
		act, ids = one, messageIDs([]string{id})
	}
	back := localPath(form.Get("return"), mailboxURL(m.Address, store.Inbox, ""))
	if act == "delete" || act == "move" || act == "unread" { // the message is done with
		back = localPath(form.Get("after"), back)
	}
	if act == "enter" { // no button was pressed
		if act = "tag"; strings.TrimSpace(form.Get("tag")) == "" {
			return p.redirect(back)
		}
	}
	if len(ids) == 0 {
		return p.redirect(withDone(back, "none", 0))
	}
	n, err := s.change(p, m, act, ids, form)
	if err != nil {
		return err
	}
	if p.r.Header.Get("HX-Request") == "true" { // opening a message marks it; the script shows that itself
		p.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return p.redirect(withDone(back, act, n))
}

// maxIDs is how many messages one form changes.
const maxIDs = 500

func messageIDs(values []string) []store.MessageID {
	var ids []store.MessageID
	for _, v := range values {
		if len(ids) < maxIDs && isID(v) {
			ids = append(ids, store.MessageID(v))
		}
	}
	return ids
}

// isID tells whether text has the form of an id; what has not cannot exist.
func isID(text string) bool {
	return len(text) == 36 && strings.Trim(text, "0123456789abcdef-") == ""
}

// change does one act and gives the number of messages it was done to. The scope is that of the person's own
// mailboxes; messages elsewhere are not found, whatever the form says.
func (s *Server) change(p *page, m *store.Mailbox, act string, ids []store.MessageID, form url.Values) (int, error) {
	scope := p.ownScope()
	flags := map[string]store.Change{
		"flag": {AddFlags: []string{`\Flagged`}}, "unflag": {RemoveFlags: []string{`\Flagged`}},
		"read": {AddFlags: []string{`\Seen`}}, "unread": {RemoveFlags: []string{`\Seen`}},
	}
	if c, ok := flags[act]; ok {
		return s.d.Store.ChangeMessages(p.ctx(), scope, ids, c)
	}
	switch act {
	case "tag", "untag":
		tags := mail.CleanTags([]string{strings.TrimSpace(form.Get("tag"))})
		if len(tags) == 0 {
			return 0, problemBadRequest
		}
		c := store.Change{AddTags: tags}
		if act == "untag" {
			c = store.Change{RemoveTags: tags}
		}
		return s.d.Store.ChangeMessages(p.ctx(), scope, ids, c)
	case "move":
		return s.noted(p, m, "message.move", ids, func() (int, error) {
			return s.d.Store.MoveMessages(p.ctx(), scope, ids, form.Get("folder"))
		})
	case "delete":
		return s.noted(p, m, "message.delete", ids, func() (int, error) { return s.d.Store.DeleteMessages(p.ctx(), scope, ids) })
	case "undelete":
		return s.noted(p, m, "message.undelete", ids, func() (int, error) { return s.d.Store.UndeleteMessages(p.ctx(), scope, ids) })
	default:
		return 0, problemBadRequest
	}
}

// noted does a change and writes it to the audit log, if it did anything.
func (s *Server) noted(p *page, m *store.Mailbox, action string, ids []store.MessageID, change func() (int, error)) (int, error) {
	n, err := change()
	if err != nil || n == 0 {
		return n, err
	}
	target := string(ids[0])
	if len(ids) > 1 {
		target = fmt.Sprintf("%s and %d more", ids[0], len(ids)-1)
	}
	return n, s.audit(p, action, m.Tenant, m.ID, target, "")
}

// withDone adds to a path what was done, for the page to say so.
func withDone(path, act string, n int) string {
	u, err := url.Parse(path)
	if err != nil {
		return "/"
	}
	query := u.Query()
	query.Set("done", act)
	query.Del("n")
	if n > 0 {
		query.Set("n", fmt.Sprint(n))
	}
	u.RawQuery = query.Encode()
	return u.RequestURI()
}
