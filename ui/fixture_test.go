package ui_test

import (
	"encoding/base64"
	"fmt"
	"mime"
	"strings"
	"testing"

	"github.com/mairust/mairust/store"
)

// letter is a message to be composed.
type letter struct {
	from, subject string
	text, html    string
	// files are names of attachments.
	files []string
	// above are header lines that our own server put on top.
	above  string
	folder string
	tags   []string
}

const ownResults = "Authentication-Results: mx.example.test; dkim=pass header.d=example.org; spf=pass smtp.mailfrom=example.org;\r\n" +
	" dmarc=pass header.from=example.org\r\n"

const received = "Received: from mail.example.org (mail.example.org [192.0.2.1])\r\n\tby mx.example.test (Postfix) with ESMTPS id 4Xyz\r\n" +
	"\tfor <hanako@example.test>; Wed, 01 Apr 2026 09:00:01 +0900 (JST)\r\n"

func (l letter) data() string {
	var b strings.Builder
	b.WriteString(l.above + received)
	fmt.Fprintf(&b, "From: %s\r\nTo: =?UTF-8?B?5bGx55Sw6Iqx5a2Q?= <hanako@example.test>\r\nSubject: %s\r\n", l.from, mime.BEncoding.Encode("utf-8", l.subject))
	b.WriteString("Date: Wed, 01 Apr 2026 09:00:00 +0900\r\nMessage-ID: <20260401.1@example.org>\r\nMIME-Version: 1.0\r\n")
	b.WriteString("Content-Type: multipart/mixed; boundary=mixed\r\n\r\n--mixed\r\nContent-Type: multipart/alternative; boundary=alt\r\n\r\n")
	if l.text != "" {
		part(&b, "alt", "text/plain; charset=utf-8", "", l.text)
	}
	if l.html != "" {
		part(&b, "alt", "text/html; charset=utf-8", "", l.html)
	}
	b.WriteString("--alt--\r\n")
	for _, name := range l.files {
		kind := "application/pdf"
		if strings.HasSuffix(name, ".html") {
			kind = "text/html"
		}
		part(&b, "mixed", kind, "Content-Disposition: attachment; filename="+quoted(mime.BEncoding.Encode("utf-8", name))+"\r\n", strings.Repeat("%PDF-1.7 ", 9000))
	}
	b.WriteString("--mixed--\r\n")
	return b.String()
}

func quoted(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

func part(b *strings.Builder, boundary, kind, more, body string) {
	fmt.Fprintf(b, "--%s\r\nContent-Type: %s\r\n%sContent-Transfer-Encoding: base64\r\n\r\n", boundary, kind, more)
	text := base64.StdEncoding.EncodeToString([]byte(body))
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	b.WriteString(text + "\r\n")
}

// newsletter loads pictures from elsewhere, were it let.
const newsletter = `<html><head><title>x</title></head><body bgcolor="#f0f0f0"><table width="600" align="center" style="background:#ffffff;border:1px solid #ddd">
<tr><td style="padding:24px;font-family:sans-serif"><h1 style="color:#0b5fa5;font-size:22px">春の新商品のご案内</h1>
<p>いつもご利用いただき、ありがとうございます。<br>新しい季節にあわせて、定番の文具を一新しました。</p>
<p><img src="https://images.example.org/banner.png" width="552" height="120" alt="春のセール"></p>
<p><a href="https://shop.example.org/spring?id=12345" style="background:#0b5fa5;color:#ffffff;padding:10px 18px">商品を見る</a></p>
<p style="color:#888888;font-size:12px">配信停止は<a href="https://shop.example.org/stop">こちら</a><img src="https://track.example.org/p.gif?u=1" width="1" height="1"></p>
</td></tr></table></body></html>`

// letters fill a mailbox as people's mailboxes are filled.
func letters() []letter {
	return []letter{
		{from: "Postmaster <postmaster@example.test>", subject: "Welcome", text: "Welcome to your new mailbox.\r\n"},
		{from: "Liam O'Connor <liam@partner.example.com>", subject: "Re: Contract draft, second round", text: "Hi Hanako,\r\n\r\nattached is the second round. Section 4 is still open: we would like to talk about it on Thursday.\r\n\r\nRegards,\r\nLiam\r\n\r\n> On Tuesday Hanako wrote:\r\n> Please find our remarks below.\r\n", files: []string{"contract-draft-v2.pdf", "remarks.pdf"}, above: ownResults},
		{from: "=?UTF-8?B?5Lq65LqL6YOo?= <jinji@example.test>", subject: "【重要】年末調整の書類提出について（11月28日締切）", text: "各位\r\n\r\nお疲れさまです。人事部です。\r\n年末調整の書類は11月28日（金）までにご提出ください。\r\n\r\n提出先: 3階 人事部窓口\r\n", tags: []string{"internal"}},
		{from: "=?UTF-8?B?5L2Q6Jek5bu66Kit5qCq5byP5Lya56S+?= <keiri@sato-kensetsu.example.jp>", subject: "請求書（2026年11月分）の送付", text: "山田様\r\n\r\n平素よりお世話になっております。\r\n11月分の請求書をお送りいたします。ご査収ください。\r\n", files: []string{"請求書_2026年11月分.pdf"}, above: ownResults},
		{from: "Monitor <monitor@ops.example.net>", subject: "[OK] disk usage back to 61 %", text: "Host db-2: /var is at 61 %.\r\n", tags: []string{"automatic"}},
		{from: `"PayPal <service@paypal.com>" <x9@xn--pypal-4ve.com>`, subject: "Your account has been limited", text: "Please confirm your data.\r\n", tags: []string{"phishing", "spf-fail"}, folder: store.Quarantine, above: "Authentication-Results: mx.example.test; spf=fail smtp.mailfrom=paypal.com; dkim=none; dmarc=fail header.from=xn--pypal-4ve.com\r\n"},
		{from: "=?UTF-8?B?5paH5YW35bqX?= <news@shop.example.org>", subject: "春の新商品のご案内と会員様限定セールのお知らせ", text: "春の新商品のご案内", html: newsletter, tags: []string{"newsletter"}, above: ownResults},
		{from: "=?UTF-8?B?55Sw5Lit5LiA6YOO?= <tanaka@example.org>", subject: "来週の打ち合わせの件", text: "山田様\r\n\r\nお世話になっております。田中です。\r\n来週の打ち合わせですが、火曜日の 14 時からでいかがでしょうか。\r\n場所は弊社 5 階の会議室を予定しております。\r\n\r\nご都合が悪い場合は、候補日をいくつかお知らせください。\r\nよろしくお願いいたします。\r\n\r\n田中 一郎\r\n", above: ownResults},
		{from: "security@xn--r8jz45g.jp", subject: "日本語ドメインからのメール", text: "例え.jp から送信しています。\r\n"},
	}
}

// fill delivers the letters to hanako; the newest comes last.
func (r *rig) fill(t testing.TB) map[string]store.MessageID {
	t.Helper()
	ids := map[string]store.MessageID{}
	for i, l := range letters() {
		if l.folder == "" {
			l.folder = store.Inbox
		}
		id := r.deliver(t, l.folder, l.data(), l.tags...)
		ids[l.subject] = id
		if i < 3 {
			_, err := r.store.ChangeMessages(t.Context(), store.System, []store.MessageID{id}, store.Change{AddFlags: []string{`\Seen`}})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err := r.store.ChangeMessages(t.Context(), store.System, []store.MessageID{ids[letters()[3].subject]}, store.Change{AddFlags: []string{`\Flagged`}})
	if err != nil {
		t.Fatal(err)
	}
	return ids
}
