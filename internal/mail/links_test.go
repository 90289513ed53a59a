package mail_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

func hostsOf(t testing.TB, raw string, limit int) []string {
	t.Helper()
	s, err := mail.Summarize(strings.NewReader(raw), mail.Limits{Hosts: limit})
	require.NoError(t, err)
	return s.Hosts
}

func TestHostsOfLinksAreFoundInTextAndHTML(t *testing.T) {
	raw := "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\n" +
		"see http://a.test/path, HTTPS://B.test. and https://user@c.test:8443?q and http://localhost/ and http:/d.test http\r\n--x\r\n" +
		"Content-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<a href=3D\"https://e.te=\r\nst/\">http://a.test</a>\r\n--x--\r\n"
	require.Equal(t, []string{"a.test", "b.test", "c.test", "e.test"}, hostsOf(t, raw, 10))
	require.Equal(t, []string{"a.test", "b.test"}, hostsOf(t, raw, 2))
	require.Empty(t, hostsOf(t, raw, 0))
}

func FuzzHostsAreBounded(f *testing.F) {
	f.Add("\r\nhttp://x.test")
	f.Add("\r\nhttphttps://" + strings.Repeat("a.", 300))
	f.Fuzz(func(t *testing.T, raw string) {
		hosts := hostsOf(t, raw, 3)
		require.LessOrEqual(t, len(hosts), 3)
		for _, h := range hosts {
			require.LessOrEqual(t, len(h), 253)
			require.Equal(t, mail.Clean(h, 0), h)
		}
	})
}

func TestLinkAtTheEdgeOfWhatIsReadIsSeenOnce(t *testing.T) {
	for shift := range 40 {
		text := "<p>x</p><!--" + strings.Repeat("x", 64<<10-60+shift) + "--><p>http://www.example.com/x</p>"
		require.Equal(t, []string{"www.example.com"}, hostsOf(t, "Content-Type: text/html\r\n\r\n"+text, 10), shift)
	}
}
