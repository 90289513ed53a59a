package imap_test

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// corpus is mail of many kinds: the examples of package mail, and generated ones, the same in every run. Line ends are
// CRLF, as LMTP stores them.
func corpus(t testing.TB, generated int) []string {
	t.Helper()
	var list []string
	files, err := filepath.Glob("../internal/mail/testdata/messages/*.eml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		raw, err := os.ReadFile(name) // #nosec G304 -- our own test data
		require.NoError(t, err)
		list = append(list, "Return-Path: <a@sender.test>\r\n"+crlf(string(raw)))
	}
	g := generator{rand.New(rand.NewPCG(3, 14))} // #nosec G404 -- the same mail each time is what we want
	for i := range generated {
		list = append(list, g.message(i))
	}
	return list
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

type generator struct{ *rand.Rand }

func (g generator) pick(list []string) string { return list[g.IntN(len(list))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

var (
	subjects = []string{
		"hello", "=?ISO-2022-JP?B?GyRCMnE1RBsoQg==?=", "=?utf-8?Q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?B?5p2x5Lqs?=", "会議のお知らせ",
		"a \"quoted\" one", "back\\slash", "folded\r\n over lines\r\n\tand tabs", "", "  spaces  ", "=?broken?Q?=", "\x1b$B2q5D\x1b(B",
		"trailing \t", strings.Repeat("long ", 300), "日程の件(再送)", "Re: [list 42] =?shift_jis?B?jYeCzA==?=",
	}
	addresses = []string{
		"bob@acme.test", "Bob <bob@acme.test>", "\"Bob, the Great\" <bob@acme.test>", "bob@acme.test (Bob B)", "<bob@acme.test>",
		"=?ISO-2022-JP?B?GyRCMnE1RBsoQg==?= <k@acme.test>", "a@b.test, c@d.test", "a@b.test,, c@d.test", "A Group: a@b.test, C <c@d.test>;",
		"undisclosed-recipients:;", "Undisclosed recipients:;, x@y.test", "\"quoted local\"@acme.test", "bob", "Bob B", "<>", "bob@", "@acme.test",
		"<@relay.test,@other.test:bob@acme.test>", "bob@[192.0.2.1]", "Bob B. Bee <bob@acme.test>", "山田太郎 <yamada@acme.test>",
		"abc..def@docomo.ne.jp", "abc.@ezweb.ne.jp", "Bob <bob@acme.test", "bob@acme.test>", "Bob (comment (nested)) <bob@acme.test>",
		"\"esc \\\" aped\" <e@acme.test>", "bob @ acme . test", "Bob\r\n <bob@acme.test>,\r\n Al <al@acme.test>", "mailto:bob@acme.test",
		"a@b@c.test", "'Bob' <bob@acme.test>", "(only a comment)", ",", "\"unclosed <bob@acme.test>", "Team;", "bob@acme.test;al@acme.test",
		"\"a\" \"b\" c <d@acme.test>", "<bob>", "Bob <bob>", "a.b.c@acme.test", "Bob [x] <bob@acme.test>", "=?utf-8?B?w7w=?=@acme.test",
	}
	dates = []string{
		"Wed, 4 Mar 2026 05:06:07 +0900", "4 Mar 26 05:06 JST", "Wed, 04 Mar 2026 05:06:07 +0900 (JST)", "yesterday", "",
		"Wed,  4 Mar 2026 05:06:07 -0000\r\n (folded)",
	}
	ids   = []string{"<1@sender.test>", "<a b@sender.test>", "no-brackets@sender.test", "<1@s.test>\r\n <2@s.test>", "<\"q\"@s.test>", ""}
	types = []string{
		"text/plain", "text/plain; charset=utf-8", "text/plain; charset=\"iso-2022-jp\"", "TEXT/HTML; Charset=UTF-8", "text", "text/", "/plain",
		"text/plain; charset=utf-8; format=flowed; delsp=yes", "application/octet-stream; name=\"a b.bin\"", "text/plain;charset=us-ascii;",
		"application/pdf;\r\n name*0*=utf-8''%E6%9D%B1;\r\n name*1*=%E4%BA%AC.pdf", "image/png; name==?utf-8?B?5p2x?=", "text/plain (a comment); charset=utf-8",
		"application/x; a*0=\"one \"; a*1=two; b=c", "application/x; a*1=two; b=c", "image/jpeg; name*=utf-8''%E6%9D%B1.jpg; name=east.jpg",
		"text/plain; charset", "text/plain; =x", "text/plain; charset=utf-8 foo; b=c", "garbage here", "message/delivery-status", "text/plain; name=\"日本.txt\"",
		"text/plain; name=日本.txt", "application/x; a=\"unclosed", "message/external-body; access-type=x",
	}
	encodings    = []string{"7bit", "8bit", "base64", "quoted-printable", "BASE64", "x-uuencode", "7bit (comment)", "bad encoding", ""}
	dispositions = []string{
		"attachment", "inline; filename=\"a.txt\"", "attachment; filename*=utf-8''%E6%9D%B1.pdf", "ATTACHMENT; filename=a; size=3",
		"attachment;\r\n filename*0=\"long \";\r\n filename*1=\"name.txt\"", "bad disposition; x=y", "", "attachment; filename=\"=?utf-8?B?5p2x?=\"",
	}
	bodies = []string{
		"hello\r\n", "one\r\ntwo\r\n", "", "no line end", "\r\n\r\n", "日本語の本文\r\n", "\x1b$B@A5a=q\x1b(B\r\n", "--not a boundary\r\n-- \r\nsignature\r\n",
		strings.Repeat("line of text\r\n", 200), "R0lGODlh\r\n", "=E6=9D=B1=\r\n=E4=BA=AC\r\n", strings.Repeat("x", 5000) + "\r\n",
	}
)

// message makes one of many kinds of mail.
func (g generator) message(i int) string {
	var b strings.Builder
	b.WriteString("Return-Path: <a@sender.test>\r\n")
	fmt.Fprintf(&b, "Received: from mx by mail; id %d\r\n", i)
	g.headerField(&b, "Date", dates, 95)
	for _, name := range []string{"From", "Sender", "Reply-To", "To", "Cc", "Bcc"} {
		g.headerField(&b, name, addresses, map[string]int{"From": 95, "To": 90, "Cc": 50}[name]+20)
	}
	g.headerField(&b, "Subject", subjects, 95)
	g.headerField(&b, "Message-ID", ids, 90)
	g.headerField(&b, "In-Reply-To", ids, 30)
	if g.chance(3) {
		b.WriteString("a line that is no field\r\n")
	}
	b.WriteString("MIME-Version: 1.0\r\n")
	b.WriteString(g.entity(0))
	return b.String()
}

func (g generator) headerField(b *strings.Builder, name string, values []string, percent int) {
	for ; g.chance(percent); percent = 4 {
		fmt.Fprintf(b, "%s: %s\r\n", name, g.pick(values))
	}
}

// entity is header fields, a blank line and a body.
func (g generator) entity(depth int) string {
	switch n := g.IntN(10); {
	case n < 3 && depth < 4:
		return g.multipart(depth)
	case n < 4 && depth < 4:
		return "Content-Type: message/rfc822\r\n" + g.mimeFields() + "\r\n" + g.attached(depth)
	}
	var b strings.Builder
	if g.chance(90) {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", g.pick(types))
	}
	return b.String() + g.mimeFields() + "\r\n" + g.pick(bodies)
}

func (g generator) attached(depth int) string {
	var b strings.Builder
	g.headerField(&b, "From", addresses, 90)
	g.headerField(&b, "Subject", subjects, 90)
	return b.String() + g.entity(depth+1)
}

func (g generator) mimeFields() string {
	var b strings.Builder
	g.headerField(&b, "Content-Transfer-Encoding", encodings, 60)
	g.headerField(&b, "Content-Disposition", dispositions, 40)
	g.headerField(&b, "Content-ID", ids, 20)
	g.headerField(&b, "Content-Description", subjects, 15)
	g.headerField(&b, "Content-Language", []string{"en", "ja, en", "en (English)", ""}, 10)
	g.headerField(&b, "Content-Location", []string{"http://x.test/a", "a b", ""}, 8)
	g.headerField(&b, "Content-MD5", []string{base64.StdEncoding.EncodeToString([]byte("0123456789abcdef"))}, 5)
	return b.String()
}

func (g generator) multipart(depth int) string {
	boundary := fmt.Sprintf("b%d_%d", depth, g.IntN(1000))
	inHeader := boundary
	switch g.IntN(12) {
	case 0:
		inHeader = "" // none is named
	case 1:
		boundary += "x" // the one in the body begins with the one that is named
	case 2:
		boundary = "other"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Content-Type: multipart/%s", g.pick([]string{"mixed", "alternative", "related", "digest", "signed; micalg=sha1", "report", "Mixed"}))
	if inHeader != "" {
		fmt.Fprintf(&b, "; boundary=%s", g.pick([]string{inHeader, "\"" + inHeader + "\""}))
	}
	b.WriteString("\r\n")
	if g.chance(20) {
		b.WriteString(g.mimeFields())
	}
	b.WriteString("\r\n")
	if g.chance(30) {
		b.WriteString("prologue\r\n")
	}
	for range g.IntN(4) {
		fmt.Fprintf(&b, "--%s%s\r\n", boundary, g.pick([]string{"", "", "", " ", "\t"}))
		if g.chance(5) {
			continue // nothing at all
		}
		b.WriteString(g.entity(depth + 1))
		if g.chance(85) {
			b.WriteString("\r\n")
		}
	}
	if g.chance(85) {
		fmt.Fprintf(&b, "--%s--%s", boundary, g.pick([]string{"\r\n", "", "\r\nepilogue\r\n", " \r\n"}))
	}
	return b.String()
}

// wellFormed is mail of a few kinds that no program finds fault with.
func wellFormed(n int) []string {
	list := make([]string, n)
	for i := range list {
		header := fmt.Sprintf("Return-Path: <a@sender.test>\r\nFrom: =?utf-8?B?5bGx55Sw?= <a@sender.test>\r\nTo: bob@acme.test\r\n"+
			"Subject: =?ISO-2022-JP?B?GyRCMnE1RBsoQg==?= %d\r\nDate: Wed, 4 Mar 2026 05:06:07 +0900\r\nMessage-ID: <%d@sender.test>\r\nMIME-Version: 1.0\r\n", i, i)
		switch i % 3 {
		case 0:
			list[i] = header + "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n請求書をお送りします。\r\n" +
				strings.Repeat("line\r\n", i%50)
		case 1:
			list[i] = header + "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\ntext\r\n--b\r\n" +
				"Content-Type: application/octet-stream; name=\"a.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJDREVG\r\n--b--\r\n"
		default:
			list[i] = header + "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B@A5a=q\x1b(B\r\n"
		}
	}
	return list
}
