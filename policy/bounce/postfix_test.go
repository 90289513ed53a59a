package bounce_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// A real Postfix, with short and long queue ids, whose next hop refuses one recipient.
func TestBouncesOfARealPostfix(t *testing.T) {
	for _, long := range []string{"no", "yes"} {
		t.Run("long queue ids "+long, func(t *testing.T) {
			sink := refusing(t)
			f := newFeed(t)
			f.deps.FromStart = true
			p := labtest.Postfix(t, lab.PostfixOptions{
				Users:        map[string]string{"alice@example.test": "secret"},
				LocalDomains: "local.test",
				ExtraMain:    map[string]string{"enable_long_queue_ids": long, "default_transport": sink.Transport(), "relayhost": ""},
			})
			f.log, f.options.File = p.LogFile, p.LogFile
			to := []string{"bob@far.test", "nobody@far.test", `"abc..def"@far.test`, `"a>, dsn=2.0.0, status=sent (x"@far.test`, "none@local.test", "full@far.test"}
			r, err := lab.SMTPSend(t.Context(), p.SubmissionAddr, "alice@example.test", to, []byte("Subject: hello\n\nhello\n"),
				lab.SendOptions{Username: "alice@example.test", Password: "secret"})
			require.NoError(t, err)
			require.True(t, r.Accepted(), "%v", r)
			require.NoError(t, lab.Eventually(t.Context(), func(context.Context) error {
				if n := strings.Count(p.Log(), ", delays="); n < len(to) {
					return fmt.Errorf("%d deliveries", n)
				}
				return nil
			}))
			f.once()
			got := map[string]string{}
			for _, b := range f.sink.got {
				got[b.Rcpt] = b.DSN
				assert.Contains(t, r.Final[0].Text, b.QueueID)
			}
			assert.Equal(t, map[string]string{
				"nobody@far.test": "5.1.1", `"abc..def"@far.test`: "5.1.1", `"a>, dsn=2.0.0, status=sent (x"@far.test`: "5.1.1",
				"none@local.test": "5.1.1",
			}, got)
			f.options.LogHost = "mx.example.test" // Postfix logs it without its domain
			f.deps.PositionPath += ".other"
			assert.Len(t, f.once(), len(got))
		})
	}
}

// refusing is a next hop where only bob is known, and whose mailboxes may be full.
func refusing(t *testing.T) *lab.LMTPSink {
	t.Helper()
	s := labtest.LMTPSink(t, "")
	s.OnRcpt = func(rcpt string) string {
		switch {
		case strings.HasPrefix(rcpt, "bob@"):
			return "250 2.1.5 ok"
		case strings.HasPrefix(rcpt, "full@"):
			return "552 5.2.2 full; dsn=5.1.1, status=bounced ("
		default:
			return "550 5.1.1 unknown, dsn=2.0.0, status=sent (250 ok)"
		}
	}
	return s
}
