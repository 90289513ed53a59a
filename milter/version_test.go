package milter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

func TestEveryVersionOfTheProtocolThatPostfixSpeaksCarriesAWholeSession(t *testing.T) {
	t.Parallel()
	msg := message("From: a@sender.test", "Date: Sun, 01 Feb 2026 10:00:00 +0000", "Message-ID: <1@sender.test>", "Subject: caf\xe9", "X-Tight:x", "X-Tab:\ty", "X-Empty:", "X-Spaces:  two", "X-Folded: a", "\tb", " c",
		"X-Long: "+strings.Repeat("long words ", 5000), "", "body \x00 \xff", strings.Repeat("x", 900)) +
		strings.Repeat(strings.Repeat("y", 98)+"\r\n", 3000)
	for _, version := range []string{"2", "3", "4", "6", "2 no_header_reply", "6 no_header_reply"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			var rec recorder
			authResults := mail.Verdict{Edits: []mail.Edit{{Op: mail.InsertField, Name: "Authentication-Results", Value: "mx; none"}}}
			s := newSite(t, serve(t, milter.Options{}, rec.source(), says(authResults)), lab.PostfixOptions{
				ExtraMain:          map[string]string{"milter_protocol": version},
				VirtualMailboxMaps: "inline:{bob@example.test=x, dave@example.test=x}",
			})
			c := s.dial(t)
			cmd(t, c, "MAIL FROM:<away@sender.test>", 250)
			cmd(t, c, "RCPT TO:<bob@example.test>", 250)
			cmd(t, c, "RSET", 250)
			cmd(t, c, "NONSENSE", 500)
			for n, from := range []string{"one@sender.test", "two@sender.test"} {
				cmd(t, c, "MAIL FROM:<"+from+">", 250)
				cmd(t, c, "RCPT TO:<nobody@example.test>", 550)
				cmd(t, c, "NONSENSE", 500)
				cmd(t, c, "RCPT TO:<bob@example.test>", 250)
				cmd(t, c, "DATA", 354)
				r, err := c.Body([]byte("X-MaiRust-Scan : forged\r\n"+msg), 1)
				require.NoError(t, err)
				require.Equal(t, 250, r[0].Code, "%s", r)

				m := rec.last(t)
				require.Equal(t, from, m.From.String())
				require.Len(t, m.Rcpt, 1)
				require.NotEmpty(t, m.QueueID)
				_, body, _ := strings.Cut(msg, "\r\n\r\n")
				require.True(t, strings.HasSuffix(m.raw, "\r\n\r\n"+body))
				d := s.delivered(t, n+1)
				require.Equal(t, mail.Allow, d.scan().Action)
				require.Equal(t, "Authentication-Results: mx; none", d.fields()[1])
				require.True(t, msg == d.original(), "what was delivered is not what was sent")
			}
			require.Zero(t, s.metric(t, "mairust_milter_malformed_packets_total"))
		})
	}
}
