package milter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// oddSenders are paths that Postfix takes, though some are no addresses.
var oddSenders = []string{
	strings.Repeat("a", 257) + "@evil.test",
	strings.Repeat("a", 600) + "@evil.test",
	strings.Repeat("a", 1100) + "@evil.test",
	`""@evil.test`,
	`"a b"@evil.test`,
	"a b@evil.test",
	`"a\"b\\c@d"@evil.test`,
	`"a` + "\x01\t" + `b"@evil.test`,
	"a@b@evil.test",
	"a@-evil-.test",
	"a@" + strings.Repeat("x", 100) + ".test",
	"a@evil..test",
	"a@[192.0.2.1]",
	"a@[ipv6:2001:DB8::1]",
	"<a@evil.test",
	"Some One <a@evil.test",
	"(comment)a@evil.test",
	"@relay.test:a@evil.test",
	"a!b",
	"A.@EVIL.test.",
	"a%b@evil.test",
	"か\u3099@evil.test",
	"a@例え.テスト",
	"a\xff\xfe@evil.test",
	"a\u2028b\u0085@evil.test",
	"root",
	"-f@evil.test",
	"'a'@evil.test",
	"a;b,c:d@evil.test",
	// Postfix takes these for the null sender.
	"()",
	",",
	";",
	" ",
	"\t",
	"(a@evil.test",
	`">("`,
	// These are the null sender for LMTP, and not for a milter.
	"MAILER-DAEMON",
	`"MAILER-DAEMON"`,
	"MAILER-DAEMON (x)",
	// These lose what stands behind the last "@" for a milter, and not for LMTP: of the host itself, or of a domain in mydestination.
	"a%b@[127.0.0.1]",
	`"a@b"@[127.0.0.1]`,
	"a%b@",
	"a%b@localhost",
	"b!a@localhost",
	`"a@b"@localhost`,
	"a@b@localhost",
	// Postfix folds these for a milter, and not for LMTP.
	"a@straße.test",
	"a@ΟΔΟΣ.test",
	"a@οδος.test",
	"a@xn--strae-oqa.test",
}

// A verdict that is not believed would bring a quarantined message to INBOX.
func TestVerdictHoldsForEverySenderThatPostfixTakes(t *testing.T) {
	t.Parallel()
	for _, destinations := range []string{"", "mx.example.test, localhost"} {
		s := newSite(t, serve(t, milter.Options{}, says(mail.Verdict{Action: mail.Quarantine})), lab.PostfixOptions{ExtraMain: map[string]string{"mydestination": destinations}})
		n, refused := 0, 0
		for _, from := range oddSenders {
			before := n
			for _, params := range []string{"", "SMTPUTF8"} {
				r := s.sendWith(t, from, []string{"bob@example.test"}, plain, lab.SendOptions{MailParams: params})
				if !r.Accepted() {
					continue // Postfix refused it
				}
				n++
				require.Equal(t, mail.Quarantine, s.delivered(t, n).scan().Action, "%q", from)
			}
			if n == before {
				refused++
			}
		}
		require.Less(t, refused, len(oddSenders)/4)
	}
}

func TestVerdictHoldsForEverySenderOfSendmail(t *testing.T) {
	t.Parallel()
	s := newSite(t, serve(t, milter.Options{}, says(mail.Verdict{Action: mail.Tag, Tags: []string{"seen"}})), lab.PostfixOptions{})
	n := 0
	for _, from := range append([]string{"", strings.Repeat("a", 5000) + "@evil.test"}, oddSenders...) {
		if err := s.pf.Sendmail(waiting(t), from, []string{"bob@example.test"}, strings.NewReader("Subject: x\n\nx\n")); err != nil {
			continue // sendmail refused it
		}
		n++
		require.Equal(t, []string{"seen"}, s.delivered(t, n).scan().Tags, "%q", from)
	}
	require.Greater(t, n, len(oddSenders)/2)
}
