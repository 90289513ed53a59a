package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// Notices leave through a Postfix whose mail is judged here, while the account that sends them is stopped with its whole domain,
// which is what they tell.
func TestNoticesLeaveThroughTheirOwnStoppedDomain(t *testing.T) {
	dir := labtest.ShortDir(t)
	sink := labtest.LMTPSink(t, "")
	socket := "unix:" + dir + "/run/milter.sock"
	postfix := labtest.Postfix(t, lab.PostfixOptions{
		Milter: socket, VirtualMailboxDomains: "admins.test", VirtualTransport: sink.Transport(), Users: map[string]string{"notices@example.test": "pw"},
	})
	site := newTestSite(t, siteOptions{Backend: "sqlite", Dir: dir, Mailboxes: []string{"bob"}, Extra: "outbound: {mode: enforce}\n" + fmt.Sprintf(
		"notify: {language: en, smtp: {address: %q, from: notices@example.test, to: [root@admins.test], tls: none, username: notices@example.test, password: pw}}\n",
		postfix.SubmissionAddr)})
	daemon := site.start(t)
	require.Contains(t, site.check(t), "PASS  notices        "+postfix.SubmissionAddr+" answers; notices prove that they are ours and are not judged")
	require.True(t, submit(t, postfix, "notices@example.test", 1, 1, 0).Accepted())

	daemon.post(t, "/api/v1/outbound/domains/example.test/suspend", `{"reason": "the web server was broken into"}`)
	transactions, err := sink.Wait(t.Context(), 1)
	require.NoError(t, err)
	assert.Contains(t, string(transactions[0].Data), "Sending of a whole domain stopped: @example.test")
	require.Contains(t, site.check(t), "; notices prove that they are ours and are not judged", "nor is the envelope that is tried")
	assert.Equal(t, suspendedReply, submit(t, postfix, "notices@example.test", 2, 1, 0).Mail.String(), "a thief of the account sends nothing")

	daemon.post(t, "/api/v1/outbound/tenants/example/mode", `{"reason": "an emergency", "mode": "shadow"}`)
	transactions, err = sink.Wait(t.Context(), 2)
	require.NoError(t, err)
	assert.Contains(t, string(transactions[1].Data), "\r\nTenant: example\r\n")
	assert.Contains(t, string(transactions[1].Data), "Mode: enforce =E2=86=92 shadow")
	assert.Equal(t, 550, submit(t, postfix, "notices@example.test", 3, 1, 0).Mail.Code, "a stop by hand holds in shadow")

	// Postfix that was told to forget DSN takes no proof.
	require.NoError(t, postfix.Set(t.Context(), "smtpd_discard_ehlo_keywords", "dsn"))
	require.NoError(t, postfix.Reload(t.Context()))
	waitFor(t, "the warning", func() bool {
		return strings.Contains(site.check(t), "WARN  notices        "+postfix.SubmissionAddr+": the server does not offer DSN")
	})
}

// One of two administrators is gone. The other one is told, also while the account that sends is stopped: the proof is for those
// who are taken.
func TestNoticesReachTheAdministratorsWhoAreThere(t *testing.T) {
	dir := labtest.ShortDir(t)
	sink := labtest.LMTPSink(t, "")
	postfix := labtest.Postfix(t, lab.PostfixOptions{
		Milter: "unix:" + dir + "/run/milter.sock", VirtualMailboxDomains: "admins.test", VirtualMailboxMaps: "inline:{root@admins.test=ok}",
		VirtualTransport: sink.Transport(), Users: map[string]string{"notices@example.test": "pw"},
	})
	site := newTestSite(t, siteOptions{Backend: "sqlite", Dir: dir, Mailboxes: []string{"bob"}, Extra: "outbound: {mode: enforce}\n" + fmt.Sprintf(
		"notify: {smtp: {address: %q, from: notices@example.test, to: [gone@admins.test, root@admins.test], tls: none, username: notices@example.test, password: pw}}\n",
		postfix.SubmissionAddr)})
	daemon := site.start(t)
	require.Contains(t, site.check(t), "WARN  notices        "+postfix.SubmissionAddr+": gone@admins.test is refused: 550 ")
	daemon.post(t, "/api/v1/outbound/domains/example.test/suspend", `{"reason": "the web server was broken into"}`)
	transactions, err := sink.Wait(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, []string{"root@admins.test"}, transactions[0].Rcpts)
	require.Contains(t, site.check(t), "WARN  notices        "+postfix.SubmissionAddr+": gone@admins.test is refused: 550 ", "what is tried is not refused as a whole")
	waitFor(t, "the health of notices", func() bool { return daemon.failing("notices") })
}
