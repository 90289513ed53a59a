package api_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestTheTextOfAnAttachedMessageIsNotTheMessagesOwn(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, "From: a@sender.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"+
		"--b\r\nContent-Type: text/html\r\n\r\n<p>own\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--b--\r\n")
	m := decode[wire.MessageDetail](t, r.get(t, r.session(t, site.Users["bob"].ID), "/api/v1/messages/"+string(id)))
	require.NotContains(t, m.Text, "inner")
	require.Equal(t, "own", m.Preview)
}

func TestAllTextsOfAMessageAreItsText(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	read := func(raw string) wire.MessageDetail {
		id := r.deliver(t, site.Mailboxes["bob"], store.Inbox, raw)
		return decode[wire.MessageDetail](t, r.get(t, r.session(t, site.Users["bob"].ID), "/api/v1/messages/"+string(id)))
	}
	m := read("From: a@sender.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nbefore\r\n--b\r\nContent-Type: image/png; name=a.png\r\n\r\nx\r\n" +
		"--b\r\nContent-Type: text/html\r\nContent-Disposition: inline\r\n\r\n<p>af<i>ter</i>\r\n" +
		"--b\r\nContent-Type: text/plain; name=a.txt\r\n\r\nfile\r\n--b\r\n\r\nfooter\r\n--b--\r\n")
	require.Equal(t, "before\n\n----------\n\nafter\n\n----------\n\nfooter", m.Text)
	require.False(t, m.TextTruncated)
	require.Len(t, m.Attachments, 2)
	require.Equal(t, "before after footer", m.Preview)
	m = read("From: a@sender.test\r\nContent-Type: text/html\r\n\r\n<title>x</title><p>a<p>b")
	require.Equal(t, "a\nb", m.Text)
	m = read("From: a@sender.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n" + strings.Repeat("a", 60<<10) +
		"\r\n--b\r\n\r\n" + strings.Repeat("b", 60<<10) + "\r\n--b--\r\n")
	require.Len(t, m.Text, 64<<10)
	require.True(t, m.TextTruncated)
	m = read("From: a@sender.test\r\nContent-Type: text/html\r\n\r\n<p>a" + strings.Repeat("<p><i></i></p>\r\n", 400_000) + "b")
	require.Equal(t, "a", m.Text)
	require.True(t, m.TextTruncated)
}
