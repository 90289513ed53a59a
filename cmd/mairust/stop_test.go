package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
)

// A database that hangs keeps a delivery for minutes, and a stop by no more than was configured, or until somebody insists.
func TestAHangingDatabaseKeepsNobodyFromStopping(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		drain  string
		insist bool
		said   string
	}{
		"patience":      {"2", false, "leaving without them"},
		"second signal": {"3600", true, "second signal, leaving at once"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, options := ownDatabase(t)
			options.Mailboxes = []string{"bob"}
			site := newTestSite(t, options)
			site.change(t, "{timeout_seconds: 5}", "{timeout_seconds: 1, drain_timeout_seconds: "+tt.drain+"}")
			p := site.start(t)
			c := beginMessage(t, site)
			require.NoError(t, server.Freeze())
			t.Cleanup(func() { require.NoError(t, server.Thaw()) })
			cut := make(chan error, 1)
			go func() {
				_, err := c.Body([]byte("Subject: on the way\r\n\r\n"), 1)
				cut <- err
			}()
			require.NoError(t, p.askToEnd())
			require.Error(t, within(t, cut), "the connection ends without a reply")
			if tt.insist {
				require.NoError(t, p.askToEnd())
			}
			within(t, p.done)
			require.Equal(t, 1, p.cmd.ProcessState.ExitCode())
			require.Contains(t, p.tail(5), tt.said)

			require.NoError(t, server.Thaw())
			acked := &acknowledged{}
			acked.note(letter{"on the way", "bob@example.test"}, []byte("Subject: on the way\r\n\r\n"), false)
			again := site.start(t)
			waitFor(t, "deliveries to work again", func() bool { return acked.send(t, site, "bob", nil).Accepted() })
			acked.check(t, again, "bob")
		})
	}
}

// Who turns logs or keeps files in order sends SIGHUP whenever it suits him.
func TestHangupEndsNoDaemon(t *testing.T) {
	t.Parallel()
	server, options := ownDatabase(t)
	options.Mailboxes = []string{"bob"}
	site := newTestSite(t, options)
	site.change(t, "{timeout_seconds: 5}", "{timeout_seconds: 2}")
	server.Stop(lab.StopImmediate)
	p := site.launch(t)
	t.Cleanup(p.kill)
	waitFor(t, "the start to wait for the database", func() bool { return strings.Contains(p.tail(5), "database") })
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	require.NoError(t, server.Start(t.Context()))
	require.NoError(t, p.await())
	waitFor(t, "the reload", func() bool { return strings.Contains(p.tail(5), "reloaded") })

	beginMessage(t, site)
	require.NoError(t, p.askToEnd())
	waitFor(t, "the stop", func() bool { return strings.Contains(p.tail(5), "stopping") })
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGHUP))
	within(t, p.done)
	require.Contains(t, p.tail(5), "stopped", "it was not ended by the signal")
}

// within waits for less than a delivery that hangs would take.
func within[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(50 * time.Second):
		t.Fatal("not in time")
	}
	return v
}
