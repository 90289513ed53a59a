package listen_test

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/listen"
)

func TestClientOverACapIsToldSo(t *testing.T) {
	const refusal = "421 4.3.2 Too many connections\r\n"
	for name, limits := range map[string]listen.Limits{
		"in all":     {MaxConnections: 2, Refusal: refusal},
		"per client": {MaxPerClient: 2, Refusal: refusal},
	} {
		t.Run(name, func(t *testing.T) {
			e := openEcho(t, listen.Options{Address: "inet:127.0.0.1:0"}, limits)
			first, second := e.dial(t), e.dial(t)
			requireEcho(t, first)
			requireEcho(t, second)
			for range 5 {
				requireRefused(t, e.dial(t), refusal)
			}
			require.NoError(t, first.Close())
			require.Eventually(t, func() bool { return echoes(e.dial(t)) }, patience, 10*time.Millisecond, "a place is free again")
			requireEcho(t, second)
		})
	}
}

func requireRefused(t *testing.T, c net.Conn, refusal string) {
	t.Helper()
	said, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, refusal, string(said))
}

// echoes says whether the connection is served.
func echoes(c net.Conn) bool {
	defer c.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	answer := make([]byte, 1)
	_, err := io.ReadFull(c, answer)
	return err == nil && answer[0] == 'x'
}

func TestListenerTellsWhyClientsDoNotGetIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	e := openEcho(t, listen.Options{Address: "unix:" + path}, listen.Limits{MaxConnections: 1})
	require.NoError(t, e.Check())
	c := e.dial(t)
	requireEcho(t, c)
	require.ErrorContains(t, e.Check(), "all 1 connections of "+path+" are in use")
	require.NoError(t, c.Close())
	require.Eventually(t, func() bool { return e.Check() == nil }, patience, time.Millisecond)

	require.NoError(t, os.Remove(path))
	require.ErrorContains(t, e.Check(), "is gone")
}
