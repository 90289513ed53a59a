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

	require.Contains(t, ctl.must(t, test...), "mode     enforce\n", "the labels are in capitals")
}
