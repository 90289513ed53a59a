package ui

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
)

// How much of a message a page shows; the whole can be downloaded.
const (
	maxHTML   = 4 << 20
	maxText   = 512 << 10
	maxHeader = 128 << 10
	maxSource = 256 << 10
)

// messageView is what the reading pane shows.
type messageView struct {
	store.Message
	Subject            string
	From               sender
	To, Cc, ReplyTo    []sender
	EnvFrom, EnvTo     string
	Lang               string
	Seen, Flagged, Own bool
	Tabs               []tab
	Current            string

	// BodyURL is the frame's for HTML; Blocked counts what was not loaded of elsewhere, Remote tells that it is
	// loaded, RemoteURL shows the message with it.
	BodyURL, RemoteURL string
	Blocked            int
	Remote             bool
	Text               string
	Cut                bool
	Failed             bool

	Attachments  []attachmentView
	Checks       []check
	Targets      []railFolder
	Back         string
	Act, Return  string
	Raw          string
	VerdictShown string
}

type tab struct {
	Name, URL string
	Current   bool
}

type attachmentView struct {
	Name, Type, URL string
	Size            int64
}

func messageURL(id store.MessageID, before store.MessageID) string {
	query := url.Values{}
	if before != "" {
		query.Set("before", string(before))
	}
	return pathWith("/message/"+string(id), query)
}

// readable finds a message, and notes the read when it is not the person's own. When a reason is needed first, it
// shows the form for it; then done is true.
func (s *Server) readable(p *page) (m *store.Message, done bool, err error) {
	id := p.r.PathValue("id")
	if !isID(id) {
		return nil, false, problemNotFound
	}
	m, err = s.d.Store.Message(p.ctx(), p.Who.Scope(), store.MessageID(id))
	if err != nil {
		return nil, false, err
	}
	own, err := s.owns(p, m.Mailbox)
	if err != nil || own {
		return m, false, err
	}
	reason := p.reasonFor(m.Mailbox)
	if reason == "" {
		box, err := s.d.Store.MailboxByAddress(p.ctx(), p.Who.Scope(), string(m.Mailbox))
		if err != nil {
			return nil, false, err
		}
		return nil, true, s.askReason(p, box)
	}
	return m, false, s.auditRead(p, m, reason)
}

func (s *Server) showMessage(p *page) error {
	m, done, err := s.readable(p)
	if done || err != nil {
		return err
	}
	if done, err := s.openMailbox(p, string(m.Mailbox), m.FolderName); done || err != nil {
		return err
	}
	before := store.MessageID(p.r.URL.Query().Get("before"))
	v := s.messageView(p, m, before)
	p.Title = v.Subject
	if p.isFragment() {
		return p.showPart("mailbox", "reading", v)
	}
	list, err := s.list(p, m.FolderName, before, m.ID)
	if err != nil {
		return err
	}
	list.Message = v
	return p.show(http.StatusOK, "mailbox", list)
}

func (s *Server) messageView(p *page, m *store.Message, before store.MessageID) *messageView {
	v := &messageView{
		Message: *m, Subject: plain(m.Subject), From: newSender(m.From), To: newSenders(m.To), Cc: newSenders(m.Cc),
		EnvFrom: plain(m.EnvelopeFrom), EnvTo: plain(m.EnvelopeRcpt), Lang: languageOf(m.Subject + " " + m.Preview),
		Seen: slices.Contains(m.Flags, `\Seen`), Flagged: slices.Contains(m.Flags, `\Flagged`), Own: p.Rail.Own,
		Back: mailboxURL(p.Rail.Mailbox.Address, m.FolderName, before), Return: messageURL(m.ID, before),
		Act: "/mail/" + url.PathEscape(p.Rail.Mailbox.Address) + "/act", Raw: "/message/" + string(m.ID) + "/raw",
		VerdictShown: knownVerdict(m.Verdict),
	}
	if v.Subject == "" {
		v.Subject = p.T("message.no_subject")
	}
	if !slices.Equal(m.ReplyTo, m.From) {
		v.ReplyTo = newSenders(m.ReplyTo)
	}
	for _, f := range p.Rail.Folders {
		if f.Name != m.FolderName && !f.Deleted {
			v.Targets = append(v.Targets, f)
		}
	}
	v.Attachments = attachmentsOf(m)
	s.fill(p, m, v, before)
	return v
}

// fill reads what the chosen view shows of the object. When it cannot be read, the view says so and keeps the rest.
func (s *Server) fill(p *page, m *store.Message, v *messageView, before store.MessageID) {
	hasHTML, hasText := hasHTML(m.Parts), len(mail.Shown(m.Parts, "text/plain")) > 0
	v.Current = chooseView(p.r.URL.Query().Get("view"), hasHTML, hasText)
	v.Tabs = tabs(m.ID, before, v.Current, hasHTML, hasText)
	var err error
	if v.Checks, err = s.checks(p, m); err == nil {
		switch v.Current {
		case "html":
			err = s.fillHTML(p, m, v, before)
		case "text":
			v.Text, v.Cut, err = s.text(p, m)
		case "headers":
			v.Text, v.Cut, err = s.raw(p, m, headerEnd(m), maxHeader)
		case "source":
			v.Text, v.Cut, err = s.raw(p, m, m.SizeBytes, maxSource)
		}
	}
	if err != nil {
		s.bodyFailed(p, m, err)
		v.Failed = true
	}
}

// chooseView is the view that was asked for, if the message has it.
func chooseView(wanted string, hasHTML, hasText bool) string {
	switch {
	case wanted == "headers" || wanted == "source" || wanted == "text" && hasText:
		return wanted
	case hasHTML:
		return "html"
	case hasText:
		return "text"
	default:
		return "none"
	}
}

func tabs(id, before store.MessageID, current string, hasHTML, hasText bool) []tab {
	var list []tab
	for _, name := range []string{"html", "text", "headers", "source"} {
		if name == "html" && !hasHTML || name == "text" && !hasText {
			continue
		}
		query := url.Values{"view": {name}}
		if before != "" {
			query.Set("before", string(before))
		}
		list = append(list, tab{Name: name, URL: pathWith("/message/"+string(id), query), Current: name == current})
	}
	return list
}

// hasHTML says whether HTML is among what is shown of a message. The view of it has its plain parts too.
func hasHTML(parts []mail.Part) bool {
	return slices.ContainsFunc(mail.Shown(parts, "text/html"), func(p mail.Part) bool { return p.Type == "text/html" })
}

// headerEnd is where the header of the message ends in its object.
func headerEnd(m *store.Message) int64 {
	if len(m.Parts) == 0 {
		return min(m.SizeBytes, maxHeader)
	}
	return m.Parts[0].Offset
}

// fillHTML sets the frame's address. The body is made safe here too, to tell what is blocked in it.
func (s *Server) fillHTML(p *page, m *store.Message, v *messageView, before store.MessageID) error {
	v.Remote = p.r.URL.Query().Get("remote") == "1"
	report, err := s.writeHTML(p, m, v.Remote, io.Discard)
	if err != nil {
		return err
	}
	v.Blocked, v.Cut = report.RemoteBlocked, report.Truncated
	body, query := url.Values{}, url.Values{"remote": {"1"}}
	if v.Remote {
		body.Set("remote", "1")
	}
	if before != "" {
		query.Set("before", string(before))
	}
	v.BodyURL = pathWith("/message/"+string(m.ID)+"/body", body)
	v.RemoteURL = pathWith("/message/"+string(m.ID), query)
	return nil
}

// text reads what is shown as text.
func (s *Server) text(p *page, m *store.Message) (string, bool, error) {
	text, cut, err := mail.ShownText(m.Parts, maxText, func(part mail.Part, limit int64) ([]byte, bool, error) {
		return s.readPart(p.ctx(), m, part, limit)
	})
	return strings.TrimRight(text, "\r\n\t "), cut, err
}

// raw reads n bytes from the beginning of the object, as they are.
func (s *Server) raw(p *page, m *store.Message, n, limit int64) (string, bool, error) {
	raw, cut, err := s.readObject(p.ctx(), m, 0, n, limit)
	if err != nil {
		return "", false, err
	}
	return strings.ReplaceAll(strings.ToValidUTF8(string(raw), "\uFFFD"), "\x00", "\uFFFD"), cut, nil
}

func attachmentsOf(m *store.Message) []attachmentView {
	var list []attachmentView
	for _, part := range (&mail.Summary{Parts: m.Parts}).Attachments() {
		list = append(list, attachmentView{
			Name: attachment.FileName(part), Type: part.Type, Size: part.DecodedSize,
			URL: "/message/" + string(m.ID) + "/part/" + url.PathEscape(part.ID),
		})
	}
	return list
}

// knownVerdict is the verdict as the catalogue knows it; "none" for a message that nobody has scanned.
func knownVerdict(verdict string) string {
	if action, err := mail.ParseAction(verdict); err == nil {
		return action.String()
	}
	return "none"
}
