package api_test

import (
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
