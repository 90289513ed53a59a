package main

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// demoFiles are the mails. @DATE@ and @ID@ stand for the Date and Message-ID of the day.
//
//go:embed testdata/demo/*.eml
var demoFiles embed.FS

// Where the demo's mail comes from: the one server that demoSenders authorises.
const (
	demoSender     = "newsletter@sender.test"
	demoSenderIP   = "192.0.2.25"
	demoSenderName = "mx.sender.test"
)

// Bounds on one mail.
const (
	demoSendTime  = 30 * time.Second
	demoStoreTime = 15 * time.Second
)

// demoMail is a mail of the demo, and what shall become of it.
type demoMail struct {
	what string
	// file below testdata/demo, without .eml.
	file string
	to   []demoRcpt
	// milter marks a mail whose point is what the milter says of it.
	milter bool
	// refused marks a mail that nobody gets.
	refused bool
	folder  string
	tag     string
}

// demoRcpt is a recipient; mailbox is empty for one that does not exist.
type demoRcpt struct{ address, mailbox string }

func demoMails() []demoMail {
	bob, hanako := demoRcpt{demoBob, demoBob}, demoRcpt{demoHanako, demoHanako}
	return []demoMail{
		{what: "Japanese, ISO-2022-JP", file: "iso-2022-jp", to: []demoRcpt{bob}, folder: store.Inbox},
		{what: "Japanese, UTF-8, PDF and PNG", file: "attachments", to: []demoRcpt{hanako}, folder: store.Inbox},
		{what: "HTML with plain text", file: "html", to: []demoRcpt{bob}, folder: store.Inbox},
		{what: "HTML with a picture inside", file: "related", to: []demoRcpt{hanako}, folder: store.Inbox},
		{what: "English, plain text", file: "plain", to: []demoRcpt{bob}, folder: store.Inbox},
		{what: "to a +detail address", file: "detail", to: []demoRcpt{{"bob+lists@" + demoDomain, demoBob}}, folder: store.Inbox},
		{what: "to two, of whom one is unknown", file: "two", to: []demoRcpt{hanako, {"nobody@" + demoDomain, ""}}, folder: store.Inbox},
		{what: "spam that is tagged", file: "spam", to: []demoRcpt{bob}, folder: store.Inbox, milter: true, tag: "spam"},
		{what: "a program, set aside", file: "program", to: []demoRcpt{bob}, folder: store.Quarantine, milter: true, tag: "program"},
		{what: "GTUBE (test spam), refused", file: "gtube", to: []demoRcpt{bob}, milter: true, refused: true},
	}
}

// demoOutcome is what became of a mail for one recipient.
type demoOutcome struct {
	rcpt  demoRcpt
	reply lab.Reply
	// message as the API has it, nil when there is none.
	message *wire.MessageDetail
	// fault is what is not as it should be.
	fault string
}

// showMail sends every mail, looks for it through the API and prints a row for each recipient.
func (d *demo) showMail(ctx context.Context) error {
	d.out.tableHead(d.lmtpOnly)
	var stored, refused, faults, skipped int
	for i, m := range demoMails() {
		if m.milter && d.lmtpOnly {
			skipped++
			continue
		}
		outcomes, err := d.send(ctx, i+1, m)
		if err != nil {
			return err
		}
		for _, o := range outcomes {
			d.out.row(i+1, m, o)
			switch {
			case o.fault != "":
				faults++
			case o.message != nil:
				stored++
			default:
				refused++
			}
		}
	}
	d.out.text("")
	if faults > 0 {
		return fmt.Errorf("%d of the mails above did not end as they should; see %s, and in the same folder the logs of Postfix and rspamd",
			faults, d.dir.logFile())
	}
	d.out.text("%d stored and read back through the API, %d refused, all as it should be.", stored, refused)
	if skipped > 0 {
		d.out.text("%d mails that show the milter were left out, because there is no Postfix.", skipped)
	}
	return nil
}

// send sends a mail and finds out what became of it for each recipient.
func (d *demo) send(ctx context.Context, n int, m demoMail) ([]demoOutcome, error) {
	text, id, err := m.text(time.Now())
	if err != nil {
		return nil, err
	}
	// Kept with the demo, for a person to look at and to send again.
	if err := d.dir.write(fmt.Sprintf("mail/%02d-%s.eml", n, m.file), text); err != nil {
		return nil, fmt.Errorf("keep the mail: %w", err)
	}
	to := make([]string, len(m.to))
	for i, r := range m.to {
		to[i] = r.address
	}
	replies, err := d.transmit(ctx, to, text)
	if err != nil {
		return nil, fmt.Errorf("send %q: %w", m.what, err)
	}
	outcomes := make([]demoOutcome, len(m.to))
	for i, reply := range replyOfEach(replies, len(to), d.lmtpOnly) {
		o := demoOutcome{rcpt: m.to[i], reply: reply}
		if err := d.lookUp(ctx, m, id, &o); err != nil {
			return nil, err
		}
		outcomes[i] = o
	}
	return outcomes, nil
}

// text is the mail with the time of now and a new Message-ID, which is returned too.
func (m demoMail) text(now time.Time) (text []byte, id string, err error) {
	raw, err := demoFiles.ReadFile("testdata/demo/" + m.file + ".eml")
	if err != nil {
		return nil, "", err
	}
	id = uuid.NewString() + "@sender.test"
	raw = bytes.ReplaceAll(raw, []byte("@DATE@"), []byte(now.Format("Mon, 02 Jan 2006 15:04:05 -0700")))
	return bytes.ReplaceAll(raw, []byte("@ID@"), []byte("<"+id+">")), id, nil
}

// transmit hands a mail to Postfix as a server of the sender's would, or to LMTP.
func (d *demo) transmit(ctx context.Context, to []string, text []byte) (*lab.Replies, error) {
	ctx, cancel := context.WithTimeout(ctx, demoSendTime)
	defer cancel()
	if d.lmtpOnly {
		return lab.SMTPSend(ctx, d.ports.lmtp, demoSender, to, text, lab.SendOptions{LMTP: true, Helo: "mx." + demoDomain})
	}
	return lab.SMTPSend(ctx, d.postfix.SMTPAddr, demoSender, to, text, lab.SendOptions{
		Helo: demoSenderName, XClient: map[string]string{"ADDR": demoSenderIP, "NAME": demoSenderName},
	})
}

// replyOfEach gives the reply that decided for each of n recipients. In LMTP each accepted one has its own at the end.
func replyOfEach(r *lab.Replies, n int, lmtp bool) []lab.Reply {
	replies := make([]lab.Reply, n)
	final := 0
	for i := range replies {
		switch {
		case i >= len(r.Rcpts): // the conversation ended before
			replies[i] = r.Mail
		case !r.Rcpts[i].OK():
			replies[i] = r.Rcpts[i]
		case final >= len(r.Final):
			replies[i] = r.Data
		default:
			replies[i] = r.Final[final]
			if lmtp {
				final++
			}
		}
	}
	return replies
}

// lookUp finds the message through the API and says what is not as it should be.
func (d *demo) lookUp(ctx context.Context, m demoMail, id string, o *demoOutcome) error {
	wanted := !m.refused && o.rcpt.mailbox != ""
	switch {
	case wanted && o.reply.Code != 250:
		o.fault = "it should have been accepted"
		return nil
	case !wanted && o.reply.Code != 550:
		o.fault = "it should have been refused with 550"
		return nil
	case o.rcpt.mailbox == "":
		return nil
	}
	err := d.find(ctx, o, id, wanted)
	if err != nil || o.fault != "" || !wanted {
		return err
	}
	switch {
	case o.message.Folder != m.folder:
		o.fault = "it should be in " + m.folder
	case m.tag != "" && !slices.Contains(o.message.Tags, m.tag):
		o.fault = "it should have the tag " + m.tag
	case m.tag == "" && !d.lmtpOnly && len(o.message.Tags) > 0:
		o.fault = "it should have no tag"
	}
	return nil
}

var errNotStored = errors.New("not stored")

// find looks for the message in the recipient's mailbox; one that is wanted is waited for.
func (d *demo) find(ctx context.Context, o *demoOutcome, id string, wanted bool) error {
	waiting, cancel := context.WithTimeout(ctx, demoStoreTime)
	defer cancel()
	look := func(context.Context) (err error) {
		// Each question has a deadline of its own, so that the last one is answered.
		o.message, err = d.api.messageByID(ctx, o.rcpt.mailbox, id)
		return err
	}
	var err error
	if wanted {
		err = lab.Eventually(waiting, look)
	} else {
		err = look(ctx)
	}
	switch {
	case wanted && errors.Is(err, errNotStored):
		o.fault = fmt.Sprintf("not stored within %s", demoStoreTime)
		return nil
	case !wanted && err == nil:
		o.fault = "it is stored all the same"
		return nil
	case !wanted && errors.Is(err, errNotStored):
		return nil
	}
	return err
}

// oneLine makes a stranger's text, or a server's, fit to be printed.
func oneLine(text string, maxBytes int) string {
	return mail.Clean(strings.Join(strings.Fields(text), " "), maxBytes)
}
