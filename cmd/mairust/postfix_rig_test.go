package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// adoption is a Postfix that knows nothing of MaiRust, a daemon, and the files as they were.
type adoption struct {
	site         *testSite
	daemon       *process
	postfix      *lab.Postfix
	main, master string
}

// adopt starts a daemon with listeners on loopback, and a Postfix as o and edit say. edit may be nil.
func adopt(t *testing.T, o lab.PostfixOptions, edit func(p *lab.Postfix), mailboxes ...string) *adoption {
	t.Helper()
	a := &adoption{site: newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: mailboxes})}
	a.postfix = labtest.Postfix(t, o)
	if edit != nil {
		edit(a.postfix)
		a.reload(t)
	}
	a.site.listenOnLoopback(t, a.postfix)
	a.daemon = a.site.start(t)
	a.main, a.master = a.read(t, "main.cf"), a.read(t, "master.cf")
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("mail log:\n%s", a.postfix.Log())
		}
	})
	return a
}

// listenOnLoopback gives each service a port too, and sockets below the queue directory of a Postfix.
func (s *testSite) listenOnLoopback(t *testing.T, p *lab.Postfix) {
	t.Helper()
	text, err := os.ReadFile(s.configFile)
	require.NoError(t, err)
	config := string(text)
	queue := filepath.Join(p.Dir, "queue", "mairust")
	require.NoError(t, os.Mkdir(queue, 0o755))
	require.NoError(t, os.Chmod(queue, 0o755))
	for _, name := range []string{"milter", "local", "lmtp", "lookup"} {
		role, old := "", fmt.Sprintf(`{address: "%s", `, s.socket(name))
		if name == "local" {
			role = "role: local, "
		}
		require.Contains(t, config, old)
		config = strings.Replace(config, old, fmt.Sprintf(`{address: "inet:%s", %s}, {address: "unix:%s/%s.sock", socket_group: postfix, %s`,
			freeLoopback(t), strings.TrimSuffix(role, ", "), queue, name, ""), 1)
	}
	config = strings.ReplaceAll(config, ", }", "}")
	require.NoError(t, os.WriteFile(s.configFile, []byte(config), 0o600))
}

// freeLoopback is an address of loopback that nothing listens on now.
func freeLoopback(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (a *adoption) read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(a.postfix.ConfDir(), name))
	require.NoError(t, err)
	return string(text)
}

func (a *adoption) reload(t *testing.T) {
	t.Helper()
	require.NoError(t, a.postfix.Reload(t.Context()))
}

// mairust runs a sub-command of `mairust postfix` on this Postfix, which must succeed.
func (a *adoption) mairust(t *testing.T, args ...string) string {
	t.Helper()
	return a.site.run(t, append(append([]string{"postfix"}, args...), "--postfix-config", a.postfix.ConfDir())...)
}

// try is the same for what may fail.
func (a *adoption) try(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	cmd := a.site.command(t.Context(), append(append([]string{"postfix"}, args...), "--postfix-config", a.postfix.ConfDir())...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// apply wires Postfix, and holds that doing it again changes nothing.
func (a *adoption) apply(t *testing.T, args ...string) string {
	t.Helper()
	began := time.Now()
	out := a.mairust(t, append([]string{"apply", "--yes"}, args...)...)
	t.Logf("apply took %.1f s", time.Since(began).Seconds())
	require.Contains(t, out, "Postfix was reloaded")
	require.Contains(t, a.mairust(t, append([]string{"apply", "--yes"}, args...)...), "Nothing to do")
	return out
}

// revert takes the wiring out, and holds that the files are what they were.
func (a *adoption) revert(t *testing.T) {
	t.Helper()
	require.Contains(t, a.mairust(t, "revert", "--yes"), "byte for byte")
	require.Equal(t, a.main, a.read(t, "main.cf"))
	require.Equal(t, a.master, a.read(t, "master.cf"))
	require.NoDirExists(t, filepath.Join(a.postfix.ConfDir(), "mairust"))
	require.Contains(t, a.mairust(t, "revert", "--yes"), "Nothing to do")
}

// send offers one message to recipients over SMTP, and returns the answers to RCPT and to the message.
func (a *adoption) send(t *testing.T, subject string, rcpts ...string) *lab.Replies {
	t.Helper()
	return a.sendTo(t, a.postfix.SMTPAddr, subject, lab.SendOptions{}, rcpts...)
}

func (a *adoption) sendTo(t *testing.T, addr, subject string, o lab.SendOptions, rcpts ...string) *lab.Replies {
	t.Helper()
	msg := "From: Alice <alice@example.test>\r\nTo: " + rcpts[0] + "\r\nSubject: " + subject + "\r\nMessage-ID: <" + strings.ReplaceAll(subject, " ", ".") +
		"@sender.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0900\r\n\r\n" + subject + "\r\n"
	r, err := lab.SMTPSend(t.Context(), addr, "alice@sender.test", rcpts, []byte(msg), o)
	require.NoError(t, err)
	return r
}

// arrives waits for a message with the subject.
func (a *adoption) arrives(t *testing.T, mailbox, subject string) wire.Message {
	t.Helper()
	var found wire.Message
	waitFor(t, subject+" in "+mailbox, func() bool {
		for _, m := range a.daemon.messages(t, mailbox, "") {
			if m.Subject == subject {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// flows holds that mail for a known recipient arrives with its verdict, and that an unknown one is refused.
func (a *adoption) flows(t *testing.T, domain string) {
	t.Helper()
	began := time.Now()
	r := a.send(t, "flows to "+domain, "bob@"+domain, "nobody@"+domain)
	require.True(t, r.Accepted(), "%+v", r)
	assert.Equal(t, 550, r.Rcpts[1].Code, "%s", r.Rcpts[1])
	assert.True(t, strings.HasPrefix(r.Rcpts[1].Text, "5.1.1"), "%s", r.Rcpts[1])
	m := a.arrives(t, "bob@"+domain, "flows to "+domain)
	assert.NotContains(t, m.Tags, "unscanned")
	t.Logf("mail flowed %.1f s after it was sent", time.Since(began).Seconds())
	assert.NotContains(t, a.postfix.Log(), "status=bounced")
}

// inMaildir waits for a message with the subject in a maildir.
func inMaildir(t *testing.T, dir, subject string) {
	t.Helper()
	waitFor(t, subject+" in "+dir, func() bool {
		files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
		require.NoError(t, err)
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err == nil && strings.Contains(string(text), "\nSubject: "+subject+"\n") {
				return true
			}
		}
		return false
	})
}

// stockDebian rewrites the configuration of a Postfix to what Debian's package installs, as far as an instance of its
// own allows: its directories, ports and local spool stay.
func stockDebian(t *testing.T, p *lab.Postfix) {
	t.Helper()
	stock, err := os.ReadFile("/usr/share/postfix/main.cf.debian")
	require.NoError(t, err)
	tls, err := os.ReadFile("/usr/share/postfix/main.cf.tls")
	require.NoError(t, err)
	own, err := os.ReadFile(filepath.Join(p.ConfDir(), "main.cf"))
	require.NoError(t, err)
	main := string(stock) + string(tls) + `
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = mx.example.test
alias_maps = hash:` + p.ConfDir() + `/aliases
alias_database = hash:` + p.ConfDir() + `/aliases
mydestination = $myhostname, example.test, mx, localhost.localdomain, , localhost
relayhost = 
mynetworks = 127.0.0.2/32
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtp_dns_support_level = disabled
smtp_host_lookup = native
# of this instance
mail_spool_directory = ` + p.Dir + `/spool/
`
	for line := range strings.Lines(string(own)) {
		name, _, _ := strings.Cut(line, " ")
		switch name {
		case "queue_directory", "data_directory", "command_directory", "daemon_directory", "mail_owner", "setgid_group",
			"maillog_file_prefixes", "maillog_file", "smtpd_authorized_xclient_hosts", "smtpd_error_sleep_time":
			main += line
		}
	}
	master, err := os.ReadFile("/usr/share/postfix/master.cf.dist")
	require.NoError(t, err)
	stockMaster := strings.Replace(string(master), "\nsmtp      inet ", "\n"+p.SMTPAddr+"      inet ", 1)
	require.NoError(t, os.Mkdir(filepath.Join(p.Dir, "spool"), 0o1777))
	require.NoError(t, os.Chmod(filepath.Join(p.Dir, "spool"), 0o1777))
	for name, text := range map[string]string{
		"main.cf": main, "master.cf": stockMaster, "aliases": "postmaster: root\ninfo: bob@example.test\nteam: bob, root\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(p.ConfDir(), name), []byte(text), 0o644))
	}
	out, err := exec.CommandContext(t.Context(), "postalias", "-c", p.ConfDir(), "hash:"+p.ConfDir()+"/aliases").CombinedOutput()
	require.NoError(t, err, "%s", out)
}
