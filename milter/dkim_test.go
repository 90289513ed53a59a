package milter_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// A signature over header and body as they are (c=simple/simple, RFC 6376, 3.4.1) breaks with the
// first changed space. The fields here have every spacing that SMTP passes.
func TestSimpleDKIMSignatureSurvives(t *testing.T) {
	t.Parallel()
	signed, verify := signSimple(t, message(
		"From:Alice <alice@sender.test>",
		"To:  bob@example.test",
		"Subject:\thello \t ",
		"Date: Sun,  01 Feb 2026 10:00:00 +0000",
		"X-Folded: one",
		"\ttwo",
		"    three ",
		"X-Empty:",
		"X-Blank: ",
		"X-Percent: 100%s",
		"Message-ID: <dkim@sender.test>",
		"",
		"Hello  ",
		"\tworld ",
		".",
		"..",
		"",
		"",
	))
	require.NoError(t, verify(signed))

	var rec recorder
	s := newSite(t, serve(t, milter.Options{}, rec.source(), says(mail.Verdict{
		Action: mail.Tag,
		Edits:  []mail.Edit{{Op: mail.AppendField, Name: "Authentication-Results", Value: "mx.example.test; none"}},
	})), lab.PostfixOptions{})
	s.accepted(t, signed)
	d := s.delivered(t, 1)
	d.scan()
	require.NoError(t, verify(string(d.Data)), "as delivered")
	require.NoError(t, verify(rec.last(t).raw), "as the checks see it")
	require.Equal(t, "Authentication-Results: mx.example.test; none", d.fields()[1], "above Received, where it is believed")
	require.Equal(t, signed, d.original())
}

// signSimple signs msg with a key of its own and gives a function that verifies with that key.
func signSimple(t *testing.T, msg string) (signed string, verify func(msg string) error) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	var b bytes.Buffer
	require.NoError(t, dkim.Sign(&b, strings.NewReader(msg), &dkim.SignOptions{
		Domain:                 "sender.test",
		Selector:               "s",
		Signer:                 crypto.Signer(private),
		HeaderCanonicalization: dkim.CanonicalizationSimple,
		BodyCanonicalization:   dkim.CanonicalizationSimple,
		HeaderKeys:             []string{"From", "To", "Subject", "Date", "X-Folded", "X-Empty", "X-Blank", "X-Percent", "Message-ID"},
	}))
	record := "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(public)
	return b.String(), func(msg string) error {
		list, err := dkim.VerifyWithOptions(strings.NewReader(msg), &dkim.VerifyOptions{
			LookupTXT: func(string) ([]string, error) { return []string{record}, nil },
		})
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0].Err
	}
}
