package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
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
