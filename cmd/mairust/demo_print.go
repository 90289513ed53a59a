package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
)

// demoPrinter writes what a person reads. A terminal that is gone has nobody to tell, so errors end nothing.
type demoPrinter struct{ w io.Writer }

func (p demoPrinter) text(format string, args ...any) {
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// step tells that something has been done.
func (p demoPrinter) step(what, format string, args ...any) {
	p.text("  %-9s %s", what, fmt.Sprintf(format, args...))
}

const rowForm = " %2s  %-30s  %-22s  %-9s  %-10s  %5s  %s"

func (p demoPrinter) tableHead(lmtpOnly bool) {
	way := "SMTP"
	if lmtpOnly {
		way = "LMTP"
		p.text("\nSending mail of %s to LMTP, and looking for it through the API:\n", demoSender)
	} else {
		p.text("\nSending mail of %s, as if from %s (XCLIENT), and looking for it through the API:\n", demoSender, demoSenderIP)
	}
	p.text(rowForm, "#", "mail", "recipient", way, "folder", "score", "tags")
}

// row prints two lines: the facts in columns, then the subject as it was read back, or the server's answer.
func (p demoPrinter) row(n int, m demoMail, o demoOutcome) {
	folder, score, tags := "-", "-", "-"
	second := "answer: " + oneLine(o.reply.Text, 120)
	if o.message != nil {
		folder = o.message.Folder
		score = strconv.FormatFloat(o.message.Score, 'f', 1, 64)
		if len(o.message.Tags) > 0 {
			tags = oneLine(strings.Join(o.message.Tags, " "), 80)
		}
		second = o.message.ID + "  " + oneLine(o.message.Subject, 120) + attachmentNames(o.message.Attachments)
	}
	p.text(strings.TrimRight(fmt.Sprintf(rowForm, strconv.Itoa(n), m.what, o.rcpt.address, shortReply(o.reply.Code, o.reply.Text), folder, score, tags), " "))
	p.text("     %s", second)
	if o.fault != "" {
		p.text("     NOT AS IT SHOULD BE: %s", o.fault)
	}
}

// attachmentNames are the file names in brackets; empty without any.
func attachmentNames(list []wire.Attachment) string {
	var names []string
	for _, a := range list {
		if a.Name != "" {
			names = append(names, oneLine(a.Name, 80))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "  [" + strings.Join(names, ", ") + "]"
}

// shortReply is the code and the enhanced code of a reply, if it has one.
func shortReply(code int, text string) string {
	first, _, _ := strings.Cut(text, " ")
	if strings.Count(first, ".") != 2 {
		return strconv.Itoa(code)
	}
	return fmt.Sprintf("%d %s", code, first)
}

// seconds is the time since began, for people.
func seconds(began time.Time) string {
	return strconv.FormatFloat(time.Since(began).Seconds(), 'f', 1, 64) + " s"
}

// shellQuote makes one word of text for sh.
func shellQuote(text string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@%=", r)
	}
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !safe(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// showCalls prints how to go on: logins, calls that work as they stand, logs.
func (d *demo) showCalls(ctx context.Context) error {
	password, err := d.dir.password(demoMailboxPassword)
	if err != nil {
		return err
	}
	adminPassword, err := d.dir.password(demoAdminPassword)
	if err != nil {
		return err
	}
	message, attachment, err := d.api.newestPDF(ctx, demoHanako)
	if err != nil {
		return err
	}
	api := "http://" + d.ports.http + "/api/v1"
	link, err := d.mairust(ctx, "login-link", "--user", demoHanako)
	if err != nil {
		return err
	}
	d.out.text("\nOpen")
	d.out.text("  %s", link)
	d.out.text("      the Web UI, signed in as %s; works once, within 15 minutes", demoHanako)
	d.out.text("  http://%s/   the Web UI, with a login of those below", d.ports.http)
	d.out.text("  %s/docs   the REST API", api)
	d.out.text("\nLogins")
	d.out.text("  %-20s  password %s   (super_admin)", demoAdmin, adminPassword)
	for _, who := range []string{demoBob, demoHanako} {
		d.out.text("  %-20s  password %s", who, password)
	}
	d.out.text("\nRead the mail (the key is a super_admin's)")
	d.out.text("  API=%s", api)
	d.out.text("  KEY=%s", d.api.key)
	curl := `curl -sS -H "Authorization: Bearer $KEY"`
	d.out.text(`  %s "$API/messages?mailbox=%s&limit=5"`, curl, demoBob)
	d.out.text("  %s $API/messages/%s", curl, message)
	d.out.text("  %s $API/messages/%s/raw", curl, message)
	d.out.text("  %s $API/messages/%s/attachments/%s -o %s", curl, message, attachment, shellQuote(d.dir.join("invoice.pdf")))
	d.out.text(`  curl -sS $API/auth/login -H 'Content-Type: application/json' -d '{"login":"%s","password":"%s"}'`, demoBob, password)
	d.out.text("  curl -sS $API/openapi.json")
	d.out.text("  curl -sS http://%s/metrics", d.ports.ops)
	d.out.text("\nSend your own")
	d.showSending()
	d.out.text("\nLook behind it")
	d.out.text("  tail -f %s", shellQuote(d.dir.logFile()))
	if d.postfix != nil {
		d.out.text("  tail -f %s", shellQuote(d.postfix.LogFile))
	}
	d.out.text("  %s check --config %s", shellQuote(d.program), shellQuote(d.dir.configFile()))
	return nil
}

// showSending prints commands that send a mail.
func (d *demo) showSending() {
	mailFile := shellQuote(d.dir.join("mail", "05-plain.eml"))
	if d.postfix == nil {
		d.out.text("  swaks --protocol LMTP --server %s --from me@sender.test --to %s%s", d.ports.lmtp, demoBob, packageHint("swaks"))
		return
	}
	d.out.text("  curl -sS smtp://%s --mail-from me@sender.test --mail-rcpt %s --upload-file %s", d.postfix.SMTPAddr, demoBob, mailFile)
	d.out.text("  /usr/sbin/sendmail -C %s -f me@sender.test %s < %s", d.postfix.ConfDir(), demoBob, mailFile)
	d.out.text("  swaks --server %s --from me@sender.test --to %s%s", d.postfix.SMTPAddr, demoBob, packageHint("swaks"))
}

// packageHint is a comment behind a command that is not installed.
func packageHint(program string) string {
	if found(program) {
		return ""
	}
	return "   # package " + program
}
