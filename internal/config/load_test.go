package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

func TestPrintedDefaultsLoadToTheDefaults(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, config.Defaults(&b))
	c, src, err := config.Load(write(t, b.String()))
	require.NoError(t, err)
	require.NotEmpty(t, src.Path)
	require.Equal(t, config.Default(), c)
}

func TestPrintedDefaultsSayWhereTheDataIs(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, config.Defaults(&b))
	_, src, err := config.Load(write(t, b.String()))
	require.NoError(t, err)
	require.True(t, src.Has("data_dir"), "the user of the service would look elsewhere than root")
	require.Equal(t, os.Geteuid() == 0, src.Has("run_dir"))
}

func TestUncommentedDefaultsLoadToTheDefaults(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, config.Defaults(&b))
	var lines []string
	for line := range strings.Lines(b.String()) {
		body := strings.TrimLeft(line, " ")
		if rest, ok := strings.CutPrefix(body, "# "); ok && keyOrItem.MatchString(rest) {
			line = line[:len(line)-len(body)] + rest
		}
		lines = append(lines, line)
	}
	c, src, err := config.Load(write(t, strings.Join(lines, "")))
	require.NoError(t, err)
	require.True(t, src.Has("run_dir"))
	require.True(t, src.Has("milter.listeners[0].address"))
	require.Equal(t, config.Default(), c)
}

func TestFilesThatMeanTheDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             "",
		"comments only":     "# 何もない\n\n# nothing\n",
		"byte order mark":   "\ufefflog: {level: info}\n",
		"document markers":  "---\nlog:\n  level: info\n...\n",
		"empty sections":    "log:\nmilter:\n  listeners:\nhttp:\n",
		"windows line ends": "log:\r\n  level: info\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := config.Load(write(t, text))
			require.NoError(t, err)
			require.Equal(t, config.Default(), c)
		})
	}
}

func TestValuesOfEveryShape(t *testing.T) {
	c, _, err := config.Load(write(t, `
data_dir: /srv/メール   # 日本語のコメント
database: {max_connections: 50}
milter:
  listeners: []
lmtp:
  listeners:
    - address: unix:/run/lmtp.sock
      socket_mode: 0600
    - address: inet:192.0.2.1:2424
      allow:
        - 192.0.2.0/24
        - "2001:db8::/32"
http:
  public_url: >-
    https://mail.example.com
`))
	require.NoError(t, err)
	require.Equal(t, "/srv/メール", c.DataDir)
	require.Equal(t, "/srv/メール/run", c.RunDir)
	require.Equal(t, "/srv/メール/run/admin.sock", c.AdminSocket())
	require.Equal(t, "file:/srv/メール/keyring", c.Secrets.Keyring)
	require.Equal(t, "/srv/メール/mairust.db", c.Database.Path)
	require.Equal(t, "/srv/メール/mail", c.Storage.Options.BasePath)
	require.Equal(t, 50, c.Database.MaxConnections)
	require.Empty(t, c.Milter.Listeners, "an empty list is no listeners, not the default ones")
	require.Len(t, c.LMTP.Listeners, 2)
	require.Equal(t, "0600", c.LMTP.Listeners[0].SocketMode)
	require.Equal(t, []string{"192.0.2.0/24", "2001:db8::/32"}, c.LMTP.Listeners[1].Allow)
	require.Equal(t, "unix:/srv/メール/run/lookup.sock", c.Lookup.Listeners[0].Address)
	require.Equal(t, "https://mail.example.com", c.HTTP.PublicURL)
}

func TestTheFirstFileFoundIsTaken(t *testing.T) {
	if _, err := os.Stat("/etc/mairust/config.yaml"); err == nil {
		t.Skip("this machine has an /etc/mairust/config.yaml, which is always first")
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Chdir(t.TempDir())

	c, src, err := config.Load("")
	require.NoError(t, err)
	require.Equal(t, "embedded defaults", src.String())
	require.Equal(t, config.Default(), c)

	require.NoError(t, os.WriteFile("config.yaml", []byte("log: {level: warn}"), 0o600))
	c, src, err = config.Load("")
	require.NoError(t, err)
	require.Equal(t, "config.yaml", src.String())
	require.Equal(t, "warn", c.Log.Level)

	inHome := filepath.Join(home, ".config", "mairust", "config.yaml")
	require.NoError(t, os.MkdirAll(filepath.Dir(inHome), 0o700))
	require.NoError(t, os.WriteFile(inHome, []byte("log: {level: error}"), 0o600))
	c, src, err = config.Load("")
	require.NoError(t, err)
	require.Equal(t, inHome, src.Path)
	require.Equal(t, "error", c.Log.Level)
}

func TestFilesThatCannotBeRead(t *testing.T) {
	_, src, err := config.Load("/nonexistent/config.yaml")
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Equal(t, "/nonexistent/config.yaml", src.Path)

	_, _, err = config.Load(t.TempDir())
	require.ErrorContains(t, err, "is not a regular file")

	_, _, err = config.Load("/dev/zero")
	require.ErrorContains(t, err, "is not a regular file")

	_, _, err = config.Load(write(t, strings.Repeat("# x\n", 1<<18)+"#"))
	require.ErrorContains(t, err, "is larger than 1048576 bytes")
}

func TestAFileOfTooManyElementsIsRefusedBeforeItIsParsed(t *testing.T) {
	_, _, err := config.Load(write(t, "x: ["+strings.Repeat("1,", 40_000)+"]"))
	require.ErrorContains(t, err, "more than 50000 YAML elements")
}

func TestFindingsAreCutAtAReadableNumber(t *testing.T) {
	_, _, err := config.Load(write(t, strings.Repeat("x: 1\n", 200)))
	var findings config.Findings
	require.ErrorAs(t, err, &findings)
	require.Len(t, findings, 51)
	require.Equal(t, "and 150 more", findings[50].Problem)
}

func TestAChangedConfigCanBeCheckedAgain(t *testing.T) {
	c, src, err := config.Load(write(t, "log:\n  level: info\n"))
	require.NoError(t, err)
	require.NoError(t, c.Check(src))
	c.Log.Level = "loud"
	require.EqualError(t, c.Check(src), src.Path+`:2:3: log.level: "loud" is not allowed (allowed: debug, info, warn, error)`)
}
