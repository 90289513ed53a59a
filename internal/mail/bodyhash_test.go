package mail_test

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mairust/mairust/internal/mail"
)

func TestBodyHashIgnoresLineEndsAtTheEnd(t *testing.T) {
	for body, canonical := range map[string]string{
		"":                   "",
		"\r\n":               "",
		"\r\n\r\n":           "",
		"a":                  "a\r\n",
		"a\r\n":              "a\r\n",
		"a\r\n\r\n\r\n":      "a\r\n",
		"\r\na\r\n\r\nb\r\n": "\r\na\r\n\r\nb\r\n",
		"a\r":                "a\r\r\n",
		"a\r\r\n":            "a\r\r\n",
		"a \r\n":             "a \r\n",
		"a\n\n":              "a\n\n\r\n",
	} {
		h := mail.NewBodyHash()
		write(t, h, body)
		require.Equal(t, sha256.Sum256([]byte(canonical)), h.Sum(), "%q", body)
		require.Equal(t, h.Sum(), h.Sum())
	}
}

func TestMessageBodyHashSkipsTheHeader(t *testing.T) {
	want := mail.NewBodyHash()
	write(t, want, "body\r\n\r\nmore\r\n")
	for _, header := range []string{"A: b\r\n\r\n", "A: b\r\n c\r\nB:\r\n\r\n", "\r\n", "A: b\n\n", "A\rB\r\n\r\n"} {
		h := mail.NewMessageBodyHash()
		write(t, h, header+"body\r\n\r\nmore\r\n")
		require.Equal(t, want.Sum(), h.Sum(), "%q", header)
	}
	h := mail.NewMessageBodyHash()
	write(t, h, "A: b\r\n")
	require.Equal(t, mail.NewBodyHash().Sum(), h.Sum())
}

func TestBodyHashDoesNotSeeHowBytesCome(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`[ab\r\n]{0,40}`).Draw(t, "text")
		whole, pieces := mail.NewBodyHash(), mail.NewBodyHash()
		wholeMsg, piecesMsg := mail.NewMessageBodyHash(), mail.NewMessageBodyHash()
		write(t, whole, s)
		write(t, wholeMsg, s)
		for s != "" {
			n := rapid.IntRange(0, len(s)).Draw(t, "n")
			write(t, pieces, s[:n])
			write(t, piecesMsg, s[:n])
			pieces.Sum() // looking changes nothing
			s = s[n:]
		}
		require.Equal(t, whole.Sum(), pieces.Sum())
		require.Equal(t, wholeMsg.Sum(), piecesMsg.Sum())
	})
}

func write(t require.TestingT, h *mail.BodyHash, s string) {
	n, err := h.Write([]byte(s))
	require.NoError(t, err)
	require.Equal(t, len(s), n)
}
