package main

import (
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

func TestAdministratorsGetOneMailHoweverManyMessagesMeetAnOutage(t *testing.T) {
	sink := labtest.LMTPSink(t, "")
	relay := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: sink.Transport()})
	server, options := ownDatabase(t)
	options.Mailboxes = []string{"bob", "eve"}
	options.Extra = quickAlerts + fmt.Sprintf("notify: {smtp: {address: %q, from: mairust@host.test, to: [root@admins.test, night@admins.test], tls: none}}\n", relay.SMTPAddr)
	site := newTestSite(t, options)
	daemon := site.start(t)

	closeDatabase(t, server)
	acked := &acknowledged{}
	for range 50 {
		require.False(t, acked.send(t, site, "bob", nil).Accepted())
	}
	transactions, err := sink.Wait(t.Context(), 1)
	require.NoError(t, err, "the database is not needed to send")
	requireNotice(t, transactions[0], "The database: failing")
	assert.ElementsMatch(t, []string{"root@admins.test", "night@admins.test"}, transactions[0].Rcpts)
	assert.Contains(t, site.check(t), "WARN  alert          database since")

	runSQL(t, server, "ALTER ROLE mairust CONNECTION LIMIT -1")
	waitFor(t, "the end of the alert", func() bool { return !daemon.failing("database") })
	for range 20 {
		require.True(t, acked.send(t, site, "bob", nil).Accepted())
	}
	assert.Len(t, sink.Transactions(), 1, "the next mail about the same part comes 10 minutes later at the earliest")
	assert.NotContains(t, site.check(t), "alert")
}

func TestRolesThatRunApartTellOnceOfWhatAllOfThemWatch(t *testing.T) {
	inbox := labtest.LMTPSink(t, "")
	relay := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: inbox.Transport()})
	site := newTestSite(t, siteOptions{
		Backend: sqldb.Postgres, Mailboxes: []string{"bob"},
		Extra: "alert: {check_every: 200ms, remind_every: 2s, disk_free_bytes: 1125899906842624}\n" +
			fmt.Sprintf("notify: {smtp: {address: %q, from: mairust@host.test, to: [root@admins.test], tls: none}}\n", relay.SMTPAddr),
	})
	var all []*process
	for _, role := range allRoles {
		all = append(all, site.startAs(t, string(role)))
	}
	for _, p := range all {
		waitFor(t, "a reminder, long after a mail would have gone", func() bool { return strings.Contains(p.tail(1000), "part still fails") })
	}
	sent := func() (sum float64) {
		for _, p := range all {
			sum += p.metricOf(`mairust_alert_mails_total{result="sent"}`)
		}
		return sum
	}
	waitFor(t, "the mail", func() bool { return sent() >= 1 })
	assert.InDelta(t, 1, sent(), 0)
	got, err := inbox.Wait(t.Context(), 1)
	require.NoError(t, err)
	assert.Contains(t, string(got[0].Data), "Disk space")
}

// check runs mairust check, whose exit code is another test's affair.
func (s *testSite) check(t *testing.T) string {
	t.Helper()
	out, _ := s.command(t.Context(), "check").Output()
	require.NotEmpty(t, out)
	return string(out)
}

// requireNotice reads a notice as a mail program does.
func requireNotice(t *testing.T, tx lab.Transaction, subject string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(string(tx.Data)))
	require.NoError(t, err)
	host, err := os.Hostname()
	require.NoError(t, err)
	assert.Equal(t, "[MaiRust "+host+"] "+subject, m.Header.Get("Subject"))
	assert.Equal(t, "auto-generated", m.Header.Get("Auto-Submitted"))
	date, err := m.Header.Date()
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), date, time.Minute)
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	require.NoError(t, err)
	assert.Contains(t, string(body), "New mail is deferred and waits in Postfix")
	assert.Contains(t, string(body), "新着メールは保留され")
	assert.Contains(t, string(body), "too many connections for role")
	assert.NotContains(t, string(body), "outage-", "nothing of a message")
}
