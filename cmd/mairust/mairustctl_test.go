package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/storetest"
)

// control is mairustctl on the host of a daemon.
type control struct {
	path, socket string
}

func newControl(t *testing.T, s *testSite) *control {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mairustctl")
	out, err := exec.Command("go", "build", "-o", path, "../mairustctl").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return &control{path: path, socket: strings.TrimPrefix(s.socket("admin"), "unix:")}
}

// run gives what is printed and the exit code.
func (c *control) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command(c.path, append(args, "--socket", c.socket)...)
	cmd.Env = append(os.Environ(), "TZ=Asia/Tokyo", "LANG=C.UTF-8", "LC_ALL=")
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	t.Logf("$ mairustctl %s\n%s", strings.Join(args, " "), out.String())
	return out.String(), cmd.ProcessState.ExitCode()
}

func (c *control) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := c.run(t, args...)
	require.Zero(t, code, out)
	return out
}

// What an operator sets holds for the next message of a daemon that runs, and is known beside the objects.
func TestOperatorLimitsMailAndKeepsItBack(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"tanaka", "hanako"}})
			site.start(t)
			ctl := newControl(t, site)
			reply := func(rcpt string) string {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				got, err := site.lmtp(ctx, "a@sender.test", []string{rcpt}, []byte("Subject: 保存容量\r\n\r\n"+strings.Repeat("x", 2000)+"\r\n"))
				require.NoError(t, err)
				return append(got.Final, got.Rcpts...)[0].String()
			}
			require.Contains(t, reply("tanaka@example.test"), "250 ")
			ctl.must(t, "mailbox", "quota", "tanaka@example.test", "3kB")
			require.Contains(t, reply("tanaka@example.test"), "452 4.2.2", "after the message, for which there is no room")
			require.Contains(t, ctl.must(t, "mailbox", "quota", "tanaka@example.test", "1kB"), "It is full")
			require.Contains(t, reply("tanaka@example.test"), "452 4.2.2", "at RCPT")
			require.Contains(t, reply("hanako@example.test"), "250 ")
			waitFor(t, "mailbox.json with the quota", func() bool {
				files, err := filepath.Glob(filepath.Join(site.dir, "data", "mail", "*", "*", "mailbox.json"))
				if err != nil {
					return false
				}
				for _, name := range files {
					if text, err := os.ReadFile(name); err == nil && strings.Contains(string(text), `"quota_bytes": 1000`) {
						return strings.Contains(string(text), "tanaka@")
					}
				}
				return false
			})
			ctl.must(t, "mailbox", "quota", "tanaka@example.test", "none")
			require.Contains(t, reply("tanaka@example.test"), "250 ")

			ctl.must(t, "tenant", "suspend", "example", "--reason", "moves tonight")
			require.Contains(t, reply("hanako@example.test"), "450 4.2.1")
			ctl.must(t, "tenant", "resume", "example", "--reason", "moved")
			ctl.must(t, "tenant", "quota", "example", "1kB")
			require.Contains(t, reply("hanako@example.test"), "452 4.2.2")
			ctl.must(t, "tenant", "quota", "example", "none", "--lang", "ja")
			require.Contains(t, reply("hanako@example.test"), "250 ")
			require.Contains(t, ctl.must(t, "mailbox", "list"), "tanaka@example.test")
		})
	}
}

// An alias takes mail from the next message on, through Postfix, and is known beside the objects.
func TestOperatorMakesAliases(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"tanaka", "hanako"}})
			site.start(t)
			ctl := newControl(t, site)
			maps := "socketmap:" + site.socket("lookup")
			postfix := labtest.Postfix(t, lab.PostfixOptions{
				VirtualMailboxMaps: maps + ":mailboxes", VirtualTransport: "lmtp:" + site.socket("lmtp"),
				ExtraMain: map[string]string{"virtual_alias_maps": maps + ":aliases"},
			})
			send := func(rcpt string) int {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				got, err := lab.SMTPSend(ctx, postfix.SMTPAddr, "a@sender.test", []string{rcpt}, []byte("Subject: alias\r\n\r\nx\r\n"), lab.SendOptions{})
				require.NoError(t, err)
				return append(got.Final, got.Rcpts...)[0].Code
			}
			require.Equal(t, 550, send("info@example.test"))
			require.Contains(t, ctl.must(t, "alias", "set", "info@example.test", "tanaka@example.test"), "info@example.test → tanaka@example.test")
			require.Equal(t, 250, send("info@example.test"))
			waitFor(t, "the message in the mailbox", func() bool {
				return strings.Contains(ctl.must(t, "mailbox", "show", "tanaka@example.test", "-o", "json"), `"messages": 1,`)
			})
			ctl.must(t, "alias", "set", "info@example.test", "hanako@example.test")
			require.Contains(t, ctl.must(t, "alias", "show", "info@example.test"), "hanako@example.test")
			waitFor(t, "tenant.json with the alias", func() bool {
				files, err := filepath.Glob(filepath.Join(site.dir, "data", "mail", "*", "tenant.json"))
				if err != nil || len(files) != 1 {
					return false
				}
				text, err := os.ReadFile(files[0])
				return err == nil && strings.Contains(string(text), `"target": "hanako@example.test"`)
			})
			out, code := ctl.run(t, "alias", "set", "sales@example.test", "tanka@example.test", "--lang", "ja")
			require.NotZero(t, code)
			require.Contains(t, out, "tanka@example.test というメールボックスも別名もありません")
			require.Contains(t, ctl.must(t, "alias", "list"), "info@example.test")
			ctl.must(t, "alias", "remove", "info@example.test")
			require.Equal(t, 550, send("info@example.test"))
			require.Contains(t, ctl.must(t, "alias", "list"), "There is nothing to show.")
		})
	}
}

// Mail of the sendmail command is looked up by cleanup(8), which has one answer for all its recipients.
func TestAFullMailboxKeepsNoOtherRecipientWaiting(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"tanaka", "hanako"}})
	site.start(t)
	ctl := newControl(t, site)
	acked := &acknowledged{}
	require.True(t, acked.send(t, site, "tanaka", nil).Accepted())
	require.Contains(t, ctl.must(t, "mailbox", "quota", "tanaka@example.test", "10B"), "It is full")
	maps := "socketmap:" + site.socket("lookup")
	postfix := labtest.Postfix(t, lab.PostfixOptions{
		VirtualMailboxMaps: maps + ":mailboxes", VirtualTransport: "lmtp:" + site.socket("lmtp"),
		ExtraMain: map[string]string{"virtual_alias_maps": maps + ":aliases"},
	})
	require.NoError(t, postfix.Sendmail(t.Context(), "a@sender.test", []string{"tanaka@example.test", "hanako@example.test"}, strings.NewReader("Subject: both\n\nx\n")))
	waitFor(t, "the message in the other mailbox", func() bool {
		return strings.Contains(ctl.must(t, "mailbox", "show", "hanako@example.test", "-o", "json"), `"messages": 1,`)
	})
}

func TestHelpdeskSeesExplainsAndReleasesFromTheCommandLine(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"tanaka", "hanako"}, Extra: "outbound: {mode: enforce}\n"})
	site.start(t)
	ctl := newControl(t, site)
	postfix := labtest.Postfix(t, lab.PostfixOptions{
		Milter: site.socket("milter"), VirtualMailboxMaps: "socketmap:" + site.socket("lookup") + ":mailboxes", VirtualTransport: "lmtp:" + site.socket("lmtp"),
		Users: map[string]string{"tanaka@example.test": "pw", "hanako@example.test": "pw"},
	})
	letter := filepath.Join(t.TempDir(), "letter.eml")
	require.NoError(t, os.WriteFile(letter, []byte("From: tanaka@example.test\nTo: suzuki@sender.test\nSubject: hello\n\nSee you tomorrow at ten.\n"), 0o600))
	test := []string{"policy", "test", letter, "--as", "tanaka@example.test", "--client", "127.0.0.1"}

	require.Regexp(t, `(?m)^ACTION +sent$`, ctl.must(t, test...))

	stopped := false
	for round := 0; round < 40 && !stopped; round++ {
		stopped = submit(t, postfix, "tanaka@example.test", round, 5, 2).Mail.Code == 550
	}
	require.True(t, stopped)
	waitFor(t, "the suspension in the list", func() bool {
		return strings.Contains(ctl.must(t, "suspension", "list"), "tanaka@example.test")
	})
	waitFor(t, "its explanation", func() bool {
		return strings.Contains(ctl.must(t, "suspension", "explain", "tanaka@example.test"), "The sender saw: "+suspendedReply)
	})
	ja := ctl.must(t, "suspension", "explain", "tanaka@example.test", "--lang", "ja")
	require.Contains(t, ja, "送信停止中")
	require.Contains(t, ja, "存在しません")
	require.Contains(t, ja, "JST")
	ctl.must(t, "account", "show", "tanaka@example.test")
	ctl.must(t, "account", "decisions", "tanaka@example.test", "--limit", "5")
	_, code := ctl.run(t, test...)
	require.Equal(t, 8, code, "it would be refused now")

	ctl.must(t, "suspension", "release", "tanaka@example.test", "--reason", "password changed", "--ticket", "T-1024")
	waitFor(t, "mail flows again", func() bool {
		r := submit(t, postfix, "tanaka@example.test", 300, 1, 0)
		return r.Accepted() && r.Final[0].Code == 250
	})
	ctl.must(t, "account", "history", "tanaka@example.test")

	ctl.must(t, "domain", "suspend", "example.test", "--reason", "the web server was broken into")
	waitFor(t, "nobody of the domain sends", func() bool {
		return submit(t, postfix, "hanako@example.test", 400, 1, 0).Mail.String() == suspendedReply
	})
	ctl.must(t, "domain", "release", "example.test", "--reason", "it is clean")
	waitFor(t, "they send again", func() bool { return submit(t, postfix, "hanako@example.test", 401, 1, 0).Accepted() })

	ctl.must(t, "suspension", "suspend", "hanako@example.test", "--reason", "phishing reported")
	waitFor(t, "the stop by hand", func() bool {
		return submit(t, postfix, "hanako@example.test", 402, 1, 0).Mail.String() == suspendedReply
	})
	ctl.must(t, "suspension", "release", "hanako@example.test", "--reason", "a mistake", "--probation-hours", "0")
	waitFor(t, "mail flows again", func() bool { return submit(t, postfix, "hanako@example.test", 403, 1, 0).Accepted() })
	require.Contains(t, ctl.must(t, "policy", "show"), "auto_suspend: true")
}
