package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

func TestPostfixOfAStockDebianIsAdoptedAndGivenBack(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{}, func(p *lab.Postfix) { stockDebian(t, p) }, "bob")
	r := a.send(t, "before", "root@mx.example.test")
	require.True(t, r.Accepted(), "%+v", r)
	inMaildir(t, filepath.Join(a.postfix.Dir, "spool", "root"), "before")

	t.Log(a.apply(t))
	a.flows(t, "example.test")

	spool := filepath.Join(a.postfix.Dir, "spool", "root")
	for _, rcpt := range []string{"postmaster@example.test", "root@mx.example.test", "root@localhost", "root@example.test", "postmaster@mx.example.test"} {
		subject := "for " + rcpt
		r := a.send(t, subject, rcpt)
		require.True(t, r.Accepted(), "%s: %+v", rcpt, r)
		inMaildir(t, spool, subject)
	}
	require.True(t, a.send(t, "through an alias", "info@example.test").Accepted())
	a.arrives(t, "bob@example.test", "through an alias")
	require.True(t, a.send(t, "with detail", "bob+news@example.test").Accepted())
	a.arrives(t, "bob@example.test", "with detail")
	r = a.send(t, "user of the host", "daemon@example.test")
	require.Equal(t, 550, r.Rcpts[0].Code, "a user of the host is nobody in MaiRust's domain: %+v", r)
	require.NoError(t, a.postfix.Sendmail(t.Context(), "root@mx.example.test", []string{"root", "bob@example.test"}, strings.NewReader("Subject: cron\n\nx\n")))
	inMaildir(t, spool, "cron")
	require.Contains(t, string(a.daemon.raw(t, a.arrives(t, "bob@example.test", "cron").ID)), "X-MaiRust-Scan: ", "non_smtpd_milters")
	require.NotContains(t, a.postfix.Log(), "status=bounced")
	require.NotContains(t, a.postfix.Log(), "fatal")

	report := a.mairust(t, "check")
	t.Log(report)
	require.Contains(t, report, "PASS  probe")
	require.Contains(t, report, "PASS  recipients")
	require.Contains(t, report, "the verdict is believed")
	require.NotContains(t, report, "FAIL")
	a.revert(t)
	require.True(t, a.send(t, "after", "root@example.test").Accepted())
	inMaildir(t, spool, "after")
}

// A domain without a mailbox is wired too: the mail of root, which nobody has asked MaiRust to take, stays on the host.
func TestPostfixIsWiredBeforeTheFirstMailboxIsMade(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{}, func(p *lab.Postfix) { stockDebian(t, p) })
	list := filepath.Join(a.site.dir, "pilot.txt")
	require.NoError(t, os.WriteFile(list, []byte("bob@example.test\n"), 0o644))
	out, err := a.try(t, "", "apply", "--yes", "--mode", "pilot", "--recipients", list)
	require.Error(t, err)
	require.Contains(t, out, "line 1: MaiRust knows no mailbox bob@example.test, but it is not certain")
	require.Contains(t, a.apply(t), "WARN: it is not certain who has no mailbox")

	a.site.run(t, "init", "--tenant", "example", "--domain", "example.test", "--mailbox", "bob@example.test")
	a.flows(t, "example.test")
	require.NoError(t, a.postfix.Sendmail(t.Context(), "root@example.test", []string{"root@example.test"}, strings.NewReader("Subject: cron\n\nx\n")))
	spool := filepath.Join(a.postfix.Dir, "spool", "root")
	inMaildir(t, spool, "cron")
	require.True(t, a.send(t, "to root", "root@example.test").Accepted())
	inMaildir(t, spool, "to root")
	require.NotContains(t, a.postfix.Log(), "status=bounced")
	a.revert(t)
}

func TestPostfixWithVirtualDomainsIsAdoptedAndGivenBack(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{VirtualMailboxMaps: "inline:{{old@example.test=x}}"}, nil, "bob")
	out := a.apply(t)
	require.Contains(t, out, "+virtual_transport = lmtp:inet:127.0.0.1:")
	require.Contains(t, out, "-virtual_transport = discard:")
	a.flows(t, "example.test")
	require.Contains(t, a.mairust(t, "check", "--mailbox", "bob@example.test"), "PASS  probe")
	a.revert(t)
}

func TestOneOfSeveralVirtualDomainsIsSwitched(t *testing.T) {
	t.Parallel()
	spool := labtest.ShortDir(t)
	require.NoError(t, os.Chmod(spool, 0o1777))
	a := adopt(t, lab.PostfixOptions{
		VirtualMailboxDomains: "example.test, stays.test", VirtualMailboxMaps: "inline:{{kim@stays.test=kim/}, {lee@stays.test=lee/}}",
		VirtualTransport: "virtual", ExtraMain: map[string]string{
			"virtual_mailbox_base": spool, "virtual_uid_maps": "static:65534", "virtual_gid_maps": "static:65534",
		},
	}, nil, "bob")
	out := a.apply(t)
	require.Contains(t, out, "virtual_mailbox_maps=$mairust_kept_mailbox_maps")
	a.flows(t, "example.test")
	require.True(t, a.send(t, "stays", "kim@stays.test").Accepted())
	inMaildir(t, filepath.Join(spool, "kim"), "stays")
	require.Equal(t, 550, a.send(t, "unknown", "nobody@stays.test").Rcpts[0].Code)
	a.revert(t)
}

func TestChrootedPostfixIsReachedBySocketsInItsQueueDirectory(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{}, func(p *lab.Postfix) { chroot(t, p) }, "bob")
	out := a.apply(t, "--socket", "unix")
	require.Contains(t, out, "lmtp:unix:mairust/lmtp.sock")
	a.flows(t, "example.test")
	a.revert(t)

	config, err := os.ReadFile(a.site.configFile)
	require.NoError(t, err)
	moved := strings.ReplaceAll(string(config), a.postfix.Dir+"/queue/mairust/", a.site.dir+"/run/")
	require.NoError(t, os.WriteFile(a.site.configFile, []byte(moved), 0o600))
	out, err = a.try(t, "", "apply", "--yes", "--socket", "unix")
	require.Error(t, err)
	require.Contains(t, out, "run chrooted in "+a.postfix.Dir+"/queue")
	require.Contains(t, out, "socket_group: postfix")
	require.Equal(t, a.main, a.read(t, "main.cf"))
}

// chroot sets the chroot column of every daemon that Debian chroots.
func chroot(t *testing.T, p *lab.Postfix) {
	t.Helper()
	path := filepath.Join(p.ConfDir(), "master.cf")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	lines := strings.SplitAfter(string(text), "\n")
	for i, line := range lines {
		f := strings.Fields(line)
		if len(f) < 8 || strings.HasPrefix(line, " ") {
			continue
		}
		switch f[7] {
		case "smtpd", "cleanup", "lmtp", "smtp", "trivial-rewrite", "qmgr", "bounce":
			f[4] = "y"
			lines[i] = strings.Join(f, " ") + "\n"
		}
	}
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644))
}

// startOpenDKIM runs a signer for example.test.
func startOpenDKIM(t *testing.T) string {
	t.Helper()
	program := labtest.Program(t, "opendkim", "opendkim")
	openssl := labtest.Program(t, "openssl", "openssl")
	dir, addr := labtest.ShortDir(t), freeLoopback(t)
	out, err := exec.CommandContext(t.Context(), openssl, "genrsa", "-out", filepath.Join(dir, "key.pem"), "2048").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Chmod(filepath.Join(dir, "key.pem"), 0o600))
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	conf := "Socket inet:" + port + "@127.0.0.1\nMode s\nDomain example.test\nSelector test\nKeyFile " + dir + "/key.pem\n" +
		"InternalHosts " + dir + "/hosts\nSyslog no\nRequireSafeKeys no\nOversignHeaders From\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "hosts"), []byte("127.0.0.1\n"), 0o600))
	var stderr bytes.Buffer
	cmd := exec.CommandContext(context.Background(), program, "-f", "-x", filepath.Join(dir, "conf"), "-P", filepath.Join(dir, "pid"))
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("opendkim: %s", &stderr)
		}
	})
	waitFor(t, "opendkim listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
	return "inet:" + addr
}

func TestPostfixWithOpenDKIMAndRspamdKeepsThem(t *testing.T) {
	t.Parallel()
	signer := startOpenDKIM(t)
	rspamd := "{ inet:127.0.0.1:11332, default_action=accept }" // nobody is there
	a := adopt(t, lab.PostfixOptions{
		Milter: signer + ", " + rspamd, LocalMilter: "$smtpd_milters", Users: map[string]string{"alice": "secret"},
	}, func(p *lab.Postfix) {
		path := filepath.Join(p.ConfDir(), "master.cf")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		// A submission service with milters of its own, and the way back from a filter.
		with := strings.Replace(string(text), "  -o milter_macro_daemon_name", "  -o smtpd_milters="+signer+"\n  -o milter_macro_daemon_name", 1)
		with += freeLoopback(t) + " inet n - n - - smtpd\n  -o content_filter=\n  -o smtpd_milters=\n"
		require.NoError(t, os.WriteFile(path, []byte(with), 0o644))
	}, "bob")
	out := a.apply(t)
	t.Log(out)
	require.Contains(t, out, "+smtpd_milters = $mairust_milter, "+signer+", "+rspamd)
	require.Contains(t, out, "+non_smtpd_milters = $mairust_local_milter, "+signer+", "+rspamd)
	require.Contains(t, out, "+  -o smtpd_milters=$mairust_milter,"+signer)
	require.Contains(t, out, "WARN: rspamd is a milter of this Postfix already")
	require.Contains(t, out, "takes mail back from a filter and stays without the milter")
	a.flows(t, "example.test")
	m := a.arrives(t, "bob@example.test", "flows to example.test")
	raw := string(a.daemon.raw(t, m.ID))
	require.Contains(t, raw, "DKIM-Signature: ")
	require.Contains(t, raw, "X-MaiRust-Scan: ")

	r := a.sendTo(t, a.postfix.SubmissionAddr, "submitted", lab.SendOptions{Username: "alice", Password: "secret"}, "bob@example.test")
	require.True(t, r.Accepted(), "%+v", r)
	require.NotContains(t, a.arrives(t, "bob@example.test", "submitted").Tags, "unscanned")
	require.NoError(t, a.postfix.Sendmail(t.Context(), "root@example.test", []string{"bob@example.test"}, strings.NewReader("Subject: cron\n\nx\n")))
	require.Contains(t, string(a.daemon.raw(t, a.arrives(t, "bob@example.test", "cron").ID)), "X-MaiRust-Scan: ")
	require.NotContains(t, a.mairust(t, "check"), "WARN")
	a.revert(t)
}

func TestPilotMovesItsRecipientsAndNobodyElse(t *testing.T) {
	t.Parallel()
	sink := labtest.LMTPSink(t, "")
	a := adopt(t, lab.PostfixOptions{
		VirtualMailboxMaps: "inline:{{bob@example.test=1}, {kim@example.test=1}, {robert@example.test=1}}", VirtualTransport: sink.Transport(),
		ExtraMain: map[string]string{"transport_maps": "inline:{{nowhere.test=discard:}}"},
	}, nil, "bob")
	list := filepath.Join(a.site.dir, "pilot.txt")
	require.NoError(t, os.WriteFile(list, []byte("# pilot\nbob@example.test\n"), 0o644))
	out := a.apply(t, "--mode", "pilot", "--recipients", list)
	require.Contains(t, out, "+transport_maps = texthash:$config_directory/mairust/transport, inline:{{nowhere.test=discard:}}")
	require.Contains(t, out, "lmtp_line_length_limit stays")
	require.True(t, a.send(t, "pilot", "bob@example.test", "kim@example.test").Accepted())
	a.arrives(t, "bob@example.test", "pilot")
	got, err := sink.Wait(t.Context(), 1)
	require.NoError(t, err)
	require.Equal(t, []string{"kim@example.test"}, got[0].Rcpts)
	report := a.mairust(t, "check")
	require.Contains(t, report, "mode pilot")
	require.Contains(t, report, "PASS  probe")

	// The probe is looked for where an alias leads.
	a.site.run(t, "init", "--tenant", "example", "--domain", "example.test", "--alias", "robert@example.test=bob@example.test")
	require.NoError(t, os.WriteFile(list, []byte("robert@example.test\n"), 0o644))
	a.apply(t, "--mode", "pilot", "--recipients", list)
	require.Contains(t, a.mairust(t, "check"), "in bob@example.test by robert@example.test (INBOX)")
	require.NoError(t, os.WriteFile(list, []byte("robert@example.test\nbob@example.test\n"), 0o644))
	a.apply(t, "--mode", "pilot", "--recipients", list)
	require.Contains(t, a.mairust(t, "check"), "in bob@example.test (INBOX)", "a mailbox of its own comes first")

	// The same list with an address that MaiRust does not have.
	require.NoError(t, os.WriteFile(list, []byte("bob@example.test\nkim@example.test\nx@elsewhere.test\n"), 0o644))
	out, err = a.try(t, "", "apply", "--yes", "--mode", "pilot", "--recipients", list)
	require.Error(t, err)
	require.Contains(t, out, "line 2: MaiRust has no mailbox kim@example.test")
	require.Contains(t, out, "line 3: ")

	// With scanning, and then with another mode: what was written before is replaced.
	require.NoError(t, os.WriteFile(list, []byte("bob@example.test\n"), 0o644))
	a.apply(t, "--mode", "pilot", "--recipients", list, "--scan", "all")
	require.True(t, a.send(t, "scanned", "bob@example.test").Accepted())
	require.NotContains(t, a.arrives(t, "bob@example.test", "scanned").Tags, "unscanned")
	a.apply(t, "--mode", "replace")
	require.NotContains(t, a.read(t, "main.cf"), "mairust/transport")
	a.flows(t, "example.test")
	require.Contains(t, a.mairust(t, "check", "--mailbox", "Robert+probe@example.test"), "in bob@example.test by robert+probe@example.test (INBOX)")
	out, err = a.try(t, "", "check", "--mailbox", "nobody@example.test")
	require.Error(t, err)
	require.Contains(t, out, "MaiRust has no mailbox for nobody@example.test")
	a.revert(t)
}

func TestCopyLeavesDeliveryAloneAndFillsMaiRust(t *testing.T) {
	t.Parallel()
	sink := labtest.LMTPSink(t, "")
	a := adopt(t, lab.PostfixOptions{VirtualMailboxMaps: "static:ok", VirtualTransport: sink.Transport()}, nil, "bob")
	a.apply(t, "--mode", "copy")
	require.True(t, a.send(t, "copied", "bob@example.test", "unknown@example.test").Accepted())
	m := a.arrives(t, "bob@example.test", "copied")
	require.Equal(t, "bob@example.test", m.EnvelopeRcpt)
	got, err := sink.Wait(t.Context(), 1)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"bob@example.test", "unknown@example.test"}, got[0].Rcpts)
	require.NotContains(t, string(a.daemon.raw(t, m.ID)), "invalid", "the address of the copy does not show")
	require.NoError(t, a.postfix.WaitQueueEmpty(t.Context()))
	require.NotContains(t, a.postfix.Log(), "sender non-delivery notification", "nobody hears of a copy that cannot be delivered")

	// Delivery goes on while MaiRust is away, and the copy comes later.
	require.NoError(t, a.daemon.terminate(t))
	require.True(t, a.send(t, "while away", "bob@example.test").Accepted())
	_, err = sink.Wait(t.Context(), 2)
	require.NoError(t, err)
	a.daemon = a.site.start(t)
	a.arrives(t, "bob@example.test", "while away")
	require.Contains(t, a.mairust(t, "check"), "PASS  probe")
	a.revert(t)
}

func TestPostfixCheckNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{}, nil, "bob")
	out, err := a.try(t, "", "check")
	require.Error(t, err)
	require.Contains(t, out, "FAIL  wiring")
	require.Contains(t, out, "mend: mairust postfix apply")
	a.apply(t)
	require.NoError(t, a.postfix.Set(t.Context(), "virtual_mailbox_maps", "static:ok"))
	require.NoError(t, a.postfix.Set(t.Context(), "smtpd_milters", ""))
	out, err = a.try(t, "", "check")
	require.Error(t, err)
	require.Contains(t, out, "WARN  wiring")
	require.Contains(t, out, "FAIL  recipients")
	require.Contains(t, out, "PASS  probe")
	require.Contains(t, out, "tagged unscanned")
	require.NoError(t, a.daemon.terminate(t))
	out, err = a.try(t, "", "check")
	require.Error(t, err)
	require.Contains(t, out, "the daemon does not answer")
	out, err = a.try(t, "", "apply", "--yes")
	require.Error(t, err)
	require.Contains(t, out, "name them with --domain")
	out, err = a.try(t, "", "apply", "--yes", "--domain", "example.test")
	require.NoError(t, err, out)
	require.Contains(t, out, "WARN: MaiRust does not answer")
}
