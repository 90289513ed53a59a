package ui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// perPage is how many messages a list shows.
const perPage = 50

// deletedFolder is the list of deleted messages in addresses; no folder of IMAP can have this name.
const deletedFolder = "//deleted"

// rail is what stands beside the pages of a mailbox.
type rail struct {
	Mailbox *store.Mailbox
	Folders []railFolder
	// Own tells whether the mailbox belongs to whoever looks; else nothing can be changed.
	Own bool
	// Reason is why someone looks at a mailbox of others.
	Reason string
	// Others are the mailboxes that the person has besides.
	Others []store.Mailbox
}

// railFolder is a folder in the rail.
type railFolder struct {
	Name, Label, Icon, URL string
	Messages               int64
	Current, Deleted       bool
}

// mailboxView is what the list shows.
type mailboxView struct {
	Folder  railFolder
	Rows    []row
	Message *messageView
	Older   string
	Newest  string
	Act     string
	Return  string
	Targets []railFolder
	MayAct  bool
}

// row is one message in a list.
type row struct {
	store.Message
	URL, Who              string
	Warn                  string
	Subject, Preview      string
	Lang                  string
	Unread, Flagged, Open bool
	Verdict               string
}

// home leads to the mailbox of whoever is signed in, or to a choice of mailboxes. What is told of a new password is
// told there.
func (s *Server) home(p *page) error {
	own, err := s.ownMailboxes(p)
	if err != nil {
		return err
	}
	told := url.Values{}
	switch query := p.r.URL.Query(); query.Get("done") {
	case "password":
		told = passwordDone(0)
	case "password_reset":
		told = passwordDone(parseCount(query.Get("n")))
	}
	switch {
	case len(own) > 0:
		return p.redirect(pathWith(mailboxURL(own[0].Address, store.Inbox, ""), told))
	case p.SeesOthers():
		return p.redirect(pathWith("/mailboxes", told))
	default:
		p.Nav, p.Title = "mail", p.T("mail.title")
		return p.show(http.StatusOK, "empty", nil)
	}
}

// maxOwn is how many mailboxes of one person are listed.
const maxOwn = 50

// ownMailboxes are those that were given to the person, whatever else the role allows.
func (s *Server) ownMailboxes(p *page) ([]store.Mailbox, error) {
	return s.d.Store.Mailboxes(p.ctx(), p.ownScope(), "", maxOwn)
}

// ownScope holds to the person's own mailboxes. Only those are ever changed here, whatever the role.
func (p *page) ownScope() store.Scope {
	if p.Who.User == "" || p.Who.Tenant == "" {
		return store.Scope{}
	}
	return store.Scope{Tenant: p.Who.Tenant, User: p.Who.User}
}

func mailboxURL(address, folder string, before store.MessageID) string {
	query := url.Values{}
	if folder != store.Inbox {
		query.Set("folder", folder)
	}
	if before != "" {
		query.Set("before", string(before))
	}
	return pathWith("/mail/"+url.PathEscape(address), query)
}

func pathWith(path string, query url.Values) string {
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// openMailbox finds a mailbox and what stands beside it. For a mailbox of others without a reason it shows the
// form that asks for one; then done is true.
func (s *Server) openMailbox(p *page, addressOrID, folder string) (done bool, err error) {
	m, err := s.d.Store.MailboxByAddress(p.ctx(), p.Who.Scope(), addressOrID)
	if err != nil {
		return false, err
	}
	own, err := s.owns(p, m.ID)
	if err != nil {
		return false, err
	}
	r := &rail{Mailbox: m, Own: own}
	if !own {
		if r.Reason = p.reasonFor(m.ID); r.Reason == "" {
			return true, s.askReason(p, m)
		}
	}
	if r.Others, err = s.otherMailboxes(p, m.ID); err != nil {
		return false, err
	}
	r.Folders = p.railFolders(m, folder, own)
	p.Rail, p.Nav = r, "mail"
	return false, nil
}

// beside puts the folders of the person's own mailbox beside a page that is about something else.
func (s *Server) beside(p *page) error {
	own, err := s.ownMailboxes(p)
	if err != nil || len(own) == 0 {
		return err
	}
	nav := p.Nav
	_, err = s.openMailbox(p, string(own[0].ID), "")
	p.Nav = nav
	return err
}

// owns tells whether the mailbox was given to the person who looks.
func (s *Server) owns(p *page, id store.MailboxID) (bool, error) {
	if p.Who.Role == auth.User {
		return true, nil // the scope let through nothing else
	}
	return s.d.Store.OwnsMailbox(p.ctx(), p.Who.User, id)
}

func (s *Server) otherMailboxes(p *page, except store.MailboxID) ([]store.Mailbox, error) {
	own, err := s.ownMailboxes(p)
	return slices.DeleteFunc(own, func(m store.Mailbox) bool { return m.ID == except }), err
}

// folderOrder puts the folders that every mailbox has first.
var folderOrder = []string{store.Inbox, store.Quarantine, store.Archive, store.Trash}

func (p *page) railFolders(m *store.Mailbox, current string, own bool) []railFolder {
	folders := slices.Clone(m.Folders)
	rank := func(f store.Folder) int {
		if at := slices.Index(folderOrder, f.Name); at >= 0 {
			return at
		}
		return len(folderOrder)
	}
	slices.SortStableFunc(folders, func(a, b store.Folder) int { return rank(a) - rank(b) })
	var list []railFolder
	for _, f := range folders {
		list = append(list, railFolder{
			Name: f.Name, Label: p.folderLabel(f.Name), Icon: folderIcon(f.Name), URL: mailboxURL(m.Address, f.Name, ""),
			Messages: f.Messages, Current: f.Name == current,
		})
	}
	if own {
		list = append(list, railFolder{
			Name: deletedFolder, Label: p.T("folder.deleted"), Icon: "deleted", URL: mailboxURL(m.Address, deletedFolder, ""),
			Current: current == deletedFolder, Deleted: true,
		})
	}
	return list
}

// folderLabel is the name in the page's language for the folders that MaiRust itself knows.
func (p *page) folderLabel(name string) string {
	if slices.Contains(folderOrder, name) {
		return p.T("folder." + strings.ToLower(name))
	}
	return plain(name)
}

func folderIcon(name string) string {
	if slices.Contains(folderOrder, name) {
		return strings.ToLower(name)
	}
	return "folder"
}

func (s *Server) showMailbox(p *page) error {
	folder := p.r.URL.Query().Get("folder")
	if folder == "" {
		folder = store.Inbox
	}
	if done, err := s.openMailbox(p, p.r.PathValue("mailbox"), folder); done || err != nil {
		return err
	}
	v, err := s.list(p, folder, store.MessageID(p.r.URL.Query().Get("before")), "")
	if err != nil {
		return err
	}
	p.Title = v.Folder.Label
	return p.show(http.StatusOK, "mailbox", v)
}

// list reads one page of a folder of the open mailbox, and notes the look when the mailbox is not the person's own. open
// is the message that is shown beside it.
func (s *Server) list(p *page, folder string, before, open store.MessageID) (*mailboxView, error) {
	at := slices.IndexFunc(p.Rail.Folders, func(f railFolder) bool { return f.Name == folder })
	if at < 0 {
		return nil, problemNotFound
	}
	m := p.Rail.Mailbox
	if !p.Rail.Own {
		if err := s.auditList(p, m, p.Rail.Reason); err != nil {
			return nil, err
		}
	}
	filter := store.MessageFilter{Mailbox: m.ID, Folder: folder, Before: before, Limit: perPage + 1}
	if folder == deletedFolder {
		filter.Folder, filter.Deleted = "", true
	}
	messages, err := s.d.Store.Messages(p.ctx(), p.Who.Scope(), filter)
	if err != nil {
		return nil, err
	}
	v := &mailboxView{Folder: p.Rail.Folders[at], MayAct: p.Rail.Own, Act: "/mail/" + url.PathEscape(m.Address) + "/act"}
	v.Return = mailboxURL(m.Address, folder, before)
	if len(messages) > perPage {
		messages = messages[:perPage]
		v.Older = mailboxURL(m.Address, folder, messages[perPage-1].ID)
	}
	if before != "" {
		v.Newest = mailboxURL(m.Address, folder, "")
	}
	for _, f := range p.Rail.Folders {
		if f.Name != folder && !f.Deleted {
			v.Targets = append(v.Targets, f)
		}
	}
	for _, m := range messages {
		v.Rows = append(v.Rows, p.row(m, before, open, folder == deletedFolder))
	}
	return v, nil
}

// row prepares a message for the list.
func (p *page) row(m store.Message, before, open store.MessageID, deleted bool) row {
	sender := newSender(m.From)
	r := row{
		Message: m, URL: messageURL(m.ID, before), Who: sender.short(p), Warn: sender.Warn,
		Subject: plain(m.Subject), Preview: plain(m.Preview), Lang: languageOf(m.Subject + " " + m.Preview),
		Unread: !slices.Contains(m.Flags, `\Seen`), Flagged: slices.Contains(m.Flags, `\Flagged`), Open: m.ID == open,
		Verdict: verdictWord(m.Verdict),
	}
	if deleted {
		r.URL = "" // what is deleted is not read
	}
	if r.Subject == "" {
		r.Subject = p.T("message.no_subject")
	}
	return r
}

// verdictWord is the verdict if it is more than what every message gets.
func verdictWord(verdict string) string {
	if action, err := mail.ParseAction(verdict); err == nil && action >= mail.Quarantine {
		return action.String()
	}
	return ""
}

// mailboxesView is what the choice of mailboxes shows.
type mailboxesView struct {
	Rows  []mailboxRow
	Next  string
	Query string
}

type mailboxRow struct {
	store.Mailbox
	URL string
	Own bool
}

// showMailboxes lists the mailboxes that the role may see.
func (s *Server) showMailboxes(p *page) error {
	if !p.SeesOthers() {
		return problemForbidden
	}
	query := p.r.URL.Query()
	if address := strings.TrimSpace(query.Get("address")); address != "" {
		switch m, err := s.d.Store.MailboxByAddress(p.ctx(), p.Who.Scope(), address); {
		case err == nil:
			return p.redirect(mailboxURL(m.Address, store.Inbox, ""))
		case !errors.Is(err, store.ErrNotFound):
			return err
		default:
			p.Warn = p.T("mailboxes.none", "address", mail.Clean(address, 100))
		}
	}
	rows, err := s.d.Store.Mailboxes(p.ctx(), p.Who.Scope(), query.Get("after"), perPage+1)
	if err != nil {
		return err
	}
	v := mailboxesView{Query: query.Get("address")}
	if len(rows) > perPage {
		rows = rows[:perPage]
		v.Next = "/mailboxes?" + url.Values{"after": {store.SortedBy(rows[perPage-1].Address)}}.Encode()
	}
	own, err := s.ownMailboxes(p)
	if err != nil {
		return err
	}
	for _, m := range rows {
		isOwn := slices.ContainsFunc(own, func(o store.Mailbox) bool { return o.ID == m.ID })
		v.Rows = append(v.Rows, mailboxRow{Mailbox: m, URL: mailboxURL(m.Address, store.Inbox, ""), Own: isOwn})
	}
	p.Nav, p.Title = "mailboxes", p.T("mailboxes.title")
	return p.show(http.StatusOK, "mailboxes", v)
}
