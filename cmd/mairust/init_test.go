package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// Where the daemon has the database, it makes things for the command; a password that it has made must be seen.
func TestInitBesideADaemonPrintsThePasswordsThatWereMadeBeforeItFailed(t *testing.T) {
	t.Parallel()
	site := newTestSite(t, siteOptions{Backend: "sqlite"})
	site.start(t)
	var stdout, stderr bytes.Buffer
	cmd := site.command(t.Context(), "init", "--tenant", "example", "--domain", "example.test",
		"--mailbox", "bob@example.test", "--alias", "info@example.test=nobody@example.test")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	require.Error(t, cmd.Run())
	require.Contains(t, stderr.String(), "there is no mailbox or alias nobody@example.test")
	require.Regexp(t, `(?m)^created  mailbox  bob@example.test$`, stdout.String())
	require.Regexp(t, `(?m)^created  user     bob@example.test  password: [a-z2-9]{26}$`, stdout.String())
}
