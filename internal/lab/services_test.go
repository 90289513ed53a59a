package lab_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

func TestPostgresDatabasesAreFresh(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	a, b := labtest.Postgres(t), labtest.Postgres(t)
	require.NotEqual(t, a.URL(), b.URL())
	_, err := a.Exec(ctx, "CREATE TABLE x (y int)")
	require.NoError(t, err)
	_, err = b.Exec(ctx, "SELECT * FROM x")
	require.ErrorContains(t, err, "does not exist")
	for setting, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "server_encoding": "UTF8"} {
		got, err := a.Exec(ctx, "SHOW "+setting)
		require.NoError(t, err)
		require.Equal(t, want, strings.TrimSpace(got), setting)
	}
}

func TestPostgresComesBackWithItsDataOnTheSamePort(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	p := labtest.OwnPostgres(t, lab.PostgresOptions{Settings: map[string]string{"max_connections": "17"}})
	_, err := p.Exec(ctx, "CREATE TABLE x AS SELECT 42 AS y")
	require.NoError(t, err)
	for _, mode := range []lab.StopMode{lab.StopImmediate, lab.StopFast} {
		url := p.URL()
		p.Stop(mode)
		_, err = p.Exec(ctx, "SELECT 1")
		require.Error(t, err)
		require.NoError(t, p.Start(ctx))
		require.Equal(t, url, p.URL())
		got, err := p.Exec(ctx, "SELECT y FROM x; SHOW max_connections")
		require.NoError(t, err)
		require.Equal(t, "42\n17\n", got)
	}
	require.Contains(t, p.Log(), "not properly shut down", "the immediate stop was one")
}

func TestRedisComesBackEmptyOnTheSamePort(t *testing.T) {
	t.Parallel()
	r := labtest.Redis(t)
	require.Equal(t, "+OK\r\n", redisSays(t, r.Addr, "SET a 1"))
	require.Equal(t, "$1\r\n1\r\n", redisSays(t, r.Addr, "GET a"))
	r.Stop()
	_, err := net.Dial("tcp", r.Addr)
	require.Error(t, err)
	require.NoError(t, r.Start(soon(t)))
	require.Equal(t, "$-1\r\n", redisSays(t, r.Addr, "GET a"))
}

// redisSays sends an inline command.
func redisSays(t *testing.T, addr, command string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte(command + "\r\n"))
	require.NoError(t, err)
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	require.NoError(t, err)
	return string(buf[:n])
}

// gtube is the text that every filter takes for spam (the Generic Test for Unsolicited Bulk Email).
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

func TestRspamdRejectsGTUBEAndKnowsItsDNS(t *testing.T) {
	t.Parallel()
	r := labtest.OwnRspamd(t, lab.RspamdOptions{DNS: lab.DNSRecords{
		"sender.test": {"TXT v=spf1 ip4:192.0.2.7 -all", "MX 10 mx.sender.test"},
	}})
	action, _ := checkv2(t, r, strings.Replace(message, "body", gtube, 1), "192.0.2.7")
	require.Equal(t, "reject", action)
	_, symbols := checkv2(t, r, message, "192.0.2.7")
	require.Contains(t, symbols, "R_SPF_ALLOW")
	_, symbols = checkv2(t, r, message, "192.0.2.8")
	require.Contains(t, symbols, "R_SPF_FAIL")
}

func TestRspamdIsShared(t *testing.T) {
	t.Parallel()
	require.Same(t, labtest.Rspamd(t), labtest.Rspamd(t))
	action, _ := checkv2(t, labtest.Rspamd(t), message, "192.0.2.7")
	require.NotEqual(t, "reject", action)
}

// checkv2 asks rspamd about a message; it returns the action and the symbols.
func checkv2(t *testing.T, r *lab.Rspamd, msg, ip string) (string, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(soon(t), http.MethodPost, r.URL()+"/checkv2", strings.NewReader(msg))
	require.NoError(t, err)
	for k, v := range map[string]string{"IP": ip, "From": "a@sender.test", "Rcpt": "bob@example.test", "Helo": "mx.sender.test"} {
		req.Header.Set(k, v)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	var answer struct {
		Action  string         `json:"action"`
		Symbols map[string]any `json:"symbols"`
	}
	require.NoError(t, json.Unmarshal(body, &answer), "%s", body)
	return answer.Action, answer.Symbols
}
