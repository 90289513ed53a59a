package bounce_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy/bounce"
)

var tokyo = time.FixedZone("JST", 9*3600)

func parserAt(now time.Time) bounce.Parser {
	return bounce.Parser{Location: tokyo, Now: func() time.Time { return now }}
}

var november = time.Date(2026, 11, 26, 12, 0, 0, 0, tokyo)

const refused = `to=<nobody@example.net>, relay=mx.example.net[192.0.2.1]:25, delay=0.61, delays=0.05/0.01/0.5/0.05, dsn=5.1.1, status=bounced (host mx.example.net[192.0.2.1] said: 550 5.1.1 <nobody@example.net>: Recipient address rejected: User unknown (in reply to RCPT TO command))`

func TestEveryFormatOfALogIsRead(t *testing.T) {
	at := time.Date(2026, 11, 26, 2, 16, 9, 0, tokyo)
	for name, line := range map[string]string{
		"RFC 3164":             `Nov 26 02:16:09 mx1 postfix/smtp[1234]: 4XyZ1b2c3dzQ: ` + refused,
		"RFC 3164, priority":   `<22>Nov 26 02:16:09 mx1 postfix/smtp[1234]: 4XyZ1b2c3dzQ: ` + refused,
		"RFC 3164, no pid":     `Nov 26 02:16:09 mx1 postfix/smtp: 4XyZ1b2c3dzQ: ` + refused,
		"RFC 3339":             `2026-11-26T02:16:09+09:00 mx1 postfix/smtp[1234]: 4XyZ1b2c3dzQ: ` + refused,
		"RFC 3339, UTC":        `2026-11-25T17:16:09.000000Z mx1 postfix/smtp[1234]: 4XyZ1b2c3dzQ: ` + refused,
		"RFC 5424":             `<22>1 2026-11-26T02:16:09.000+09:00 mx1 postfix/smtp 1234 - - 4XyZ1b2c3dzQ: ` + refused,
		"RFC 5424 with data":   `<22>1 2026-11-26T02:16:09+09:00 mx1 postfix/smtp 1234 - [a@1 x="] \" - "][b@1 y="z"] 4XyZ1b2c3dzQ: ` + refused,
		"RFC 5424 with BOM":    "1 2026-11-26T02:16:09+09:00 mx1 postfix/smtp 1234 - - \xef\xbb\xbf4XyZ1b2c3dzQ: " + refused,
		"multi-instance":       `Nov 26 02:16:09 mx1 postfix-out/smtp[1234]: 4XyZ1b2c3dzQ: ` + refused,
		"a service's own name": `Nov 26 02:16:09 mx1 postfix/relay/smtp[1234]: 4XyZ1b2c3dzQ: ` + refused,
		"a connection used twice": `Nov 26 02:16:09 mx1 postfix/smtp[1]: 4XyZ1b2c3dzQ: ` +
			strings.Replace(refused, ", delay=", ", conn_use=2, delay=", 1),
	} {
		t.Run(name, func(t *testing.T) {
			d, ok := parserAt(november).Parse([]byte(line))
			require.True(t, ok)
			assert.Equal(t, "4XyZ1b2c3dzQ", d.QueueID)
			assert.Equal(t, "nobody@example.net", d.Rcpt)
			assert.Equal(t, "5.1.1", d.DSN)
			assert.Equal(t, "bounced", d.Status)
			assert.Equal(t, "mx1", d.LogHost)
			assert.True(t, d.At.Equal(at), "%s", d.At)
		})
	}
}

func TestRecipientsOfEveryKindAreRead(t *testing.T) {
	for in, want := range map[string]string{
		`to=<bob@x.test>, relay=none`:                                      `bob@x.test`,
		`to=<bob@x.test>, orig_to=<alias@y.test>, relay=local`:             `bob@x.test`,
		`to=<"abc..def"@docomo.ne.jp>, relay=none`:                         `"abc..def"@docomo.ne.jp`,
		`to=<"a>, dsn=2.0.0, status=sent (x"@x.test>, relay=none`:          `"a>, dsn=2.0.0, status=sent (x"@x.test`,
		`to=<"a\">, dsn=2.0.0, status=sent ("@x.test>, relay=none`:         `"a\">, dsn=2.0.0, status=sent ("@x.test`,
		`to=<利用者@例え.test>, relay=none`:                                     `利用者@例え.test`,
		`to=<b@x.test>, orig_to=<">, relay=none, delay=9"@y>, relay=local`: `b@x.test`,
	} {
		line := `Nov  6 02:16:09 mx1 postfix/local[1]: 3F2A1B4C5D: ` + in + `, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (unknown user)`
		d, ok := parserAt(november).Parse([]byte(line))
		require.True(t, ok, in)
		assert.Equal(t, want, d.Rcpt)
		assert.Equal(t, "bounced", d.Status)
		assert.Equal(t, "3F2A1B4C5D", d.QueueID)
	}
}

// What strangers can make Postfix log must not pass for a delivery.
func TestTextOfStrangersIsNoDelivery(t *testing.T) {
	bounced := `to=<a@x>, relay=none, delay=0, delays=0/0/0/0, dsn=5.1.1, status=bounced (x)`
	for name, line := range map[string]string{
		"header check of cleanup":    `Nov 26 02:16:09 mx1 postfix/cleanup[1]: 3F2A1B4C5D: warning: header Subject: 3F2A1B4C5D: ` + bounced,
		"smtpd":                      `Nov 26 02:16:09 mx1 postfix/smtpd[1]: 3F2A1B4C5D: ` + bounced,
		"text before the program":    `Nov 26 02:16:09 mx1 sshd[1]: invalid user postfix/smtp[1]: 3F2A1B4C5D: ` + bounced,
		"another program":            `Nov 26 02:16:09 mx1 smtp[1]: 3F2A1B4C5D: ` + bounced,
		"a warning of smtp":          `Nov 26 02:16:09 mx1 postfix/smtp[1]: warning: 3F2A1B4C5D: ` + bounced,
		"answer of a remote host":    `Nov 26 02:16:09 mx1 postfix/smtp[1]: 3F2A1B4C5D: host a[1.2.3.4] said: 450 B2C3D4E5F6: ` + bounced,
		"NOQUEUE":                    `Nov 26 02:16:09 mx1 postfix/smtp[1]: NOQUEUE: ` + bounced,
		"no date":                    `postfix/smtp[1]: 3F2A1B4C5D: ` + bounced,
		"bad date":                   `Foo 26 02:16:09 mx1 postfix/smtp[1]: 3F2A1B4C5D: ` + bounced,
		"unknown field":              `Nov 26 02:16:09 mx1 postfix/smtp[1]: 3F2A1B4C5D: to=<a@x>, x=y, dsn=5.1.1, status=bounced (x)`,
		"no dsn":                     `Nov 26 02:16:09 mx1 postfix/smtp[1]: 3F2A1B4C5D: to=<a@x>, relay=none, status=bounced (x)`,
		"bad dsn":                    `Nov 26 02:16:09 mx1 postfix/smtp[1]: 3F2A1B4C5D: to=<a@x>, relay=none, dsn=5.1, status=bounced (x)`,
		"unknown status":             `Nov 26 02:16:09 mx1 postfix/smtp[1]: 3F2A1B4C5D: to=<a@x>, relay=none, dsn=5.1.1, status=gone (x)`,
		"quote without end":          `Nov 26 02:16:09 mx1 postfix/smtp[1]: 3F2A1B4C5D: to=<"a@x>, relay=none, dsn=5.1.1, status=bounced (x)`,
		"structured data, unclosed":  `<22>1 2026-11-26T02:16:09Z mx1 postfix/smtp 1 - [a x="] 3F2A1B4C5D: ` + bounced,
		"structured data, malformed": `<22>1 2026-11-26T02:16:09Z mx1 postfix/smtp 1 - a 3F2A1B4C5D: ` + bounced,
	} {
		_, ok := parserAt(november).Parse([]byte(line))
		assert.False(t, ok, name)
	}
}

func TestWhatARemoteHostSaysChangesNothing(t *testing.T) {
	line := `Nov 26 02:16:09 mx1 postfix/smtp[1]: 3F2A1B4C5D: to=<a@x>, relay=a[1.2.3.4]:25, delay=1, delays=0/0/0/1, dsn=2.0.0, ` +
		`status=sent (250 ok), dsn=5.1.1, status=bounced (B2C3D4E5F6: to=<b@y>, relay=none, dsn=5.1.1, status=bounced (x))`
	d, ok := parserAt(november).Parse([]byte(line))
	require.True(t, ok)
	assert.Equal(t, "sent", d.Status)
	assert.Equal(t, "2.0.0", d.DSN)
	assert.Equal(t, "a@x", d.Rcpt)
}

func TestYearOfALineIsTheLatestThatHasPassed(t *testing.T) {
	line := func(stamp string) []byte { return []byte(stamp + ` mx1 postfix/smtp[1]: 3F2A1B4C5D: ` + refused) }
	for _, c := range []struct {
		stamp     string
		now, want time.Time
	}{
		{"Dec 31 23:59:59", time.Date(2027, 1, 1, 0, 0, 1, 0, tokyo), time.Date(2026, 12, 31, 23, 59, 59, 0, tokyo)},
		{"Jan  1 00:00:05", time.Date(2026, 12, 31, 23, 59, 59, 0, tokyo), time.Date(2027, 1, 1, 0, 0, 5, 0, tokyo)},
		{"Nov 26 02:16:09", november, time.Date(2026, 11, 26, 2, 16, 9, 0, tokyo)},
		{"Feb 29 02:16:09", time.Date(2028, 3, 1, 0, 0, 0, 0, tokyo), time.Date(2028, 2, 29, 2, 16, 9, 0, tokyo)},
	} {
		d, ok := parserAt(c.now).Parse(line(c.stamp))
		require.True(t, ok, c.stamp)
		assert.True(t, c.want.Equal(d.At), "%s is %s", c.stamp, d.At)
	}
}

func TestOnlyStatusCodesAboutARecipientCount(t *testing.T) {
	for dsn, want := range map[string]bool{
		"5.1.1": true, "5.1.2": true, "5.1.3": true, "5.1.6": true, "5.1.0": true, "5.1.10": true,
		"5.1.7": false, "5.1.8": false, // about the sender
		"4.1.1": false, "5.7.1": false, "5.2.1": false, "5.11.1": false, "5.1": false, "5.1.": false,
	} {
		err := bounce.Bounce{At: november, QueueID: "3F2A1B4C5D", Rcpt: "a@x", DSN: dsn}.Validate()
		assert.Equal(t, want, err == nil, dsn)
	}
}

func FuzzParse(f *testing.F) {
	for _, line := range []string{
		`Nov 26 02:16:09 mx1 postfix/smtp[1234]: 4XyZ1b2c3dzQ: ` + refused,
		`<22>1 2026-11-26T02:16:09.000+09:00 mx1 postfix/smtp 1234 - [a@1 x="] \" - "] 4XyZ1b2c3dzQ: ` + refused,
		`2026-11-26T02:16:09+09:00 mx1 postfix-out/lmtp[1]: 3F2A1B4C5D: to=<"a>, b"@x>, orig_to=<c@d>, relay=none, dsn=4.1.1, status=deferred (x)`,
		"\x00\x00\xff<22>", `<192>1 `, `Feb 29 02:16:09 `,
	} {
		f.Add([]byte(line))
	}
	parser := parserAt(november)
	f.Fuzz(func(t *testing.T, line []byte) {
		d, ok := parser.Parse(line)
		if !ok {
			return
		}
		text := string(line)
		assert.Contains(t, text, d.QueueID+": to=<"+d.Rcpt+">, ")
		assert.Contains(t, text, "dsn="+d.DSN+", status="+d.Status)
		assert.NotContains(t, d.LogHost, " ")
		assert.LessOrEqual(t, len(d.Rcpt), bounce.MaxRcpt+2)
	})
}
