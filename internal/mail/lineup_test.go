package mail_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

// inLines cuts text into lines of n characters.
func inLines(text string, n int, eol string) string {
	var lines []string
	for ; len(text) > n; text = text[n:] {
		lines = append(lines, text[:n])
	}
	return strings.Join(append(lines, text), eol)
}

// requireLookup wants every offset found, whatever is known of the lines.
func requireLookup(t *testing.T, p mail.Part, message string) {
	t.Helper()
	body := message[p.Offset : p.Offset+p.Size]
	whole, err := io.ReadAll(p.Decode(strings.NewReader(body)))
	require.NoError(t, err)
	require.Len(t, whole, int(p.DecodedSize))
	for offset := range len(whole) + 1 {
		encoded, before := p.Lookup(int64(offset))
		require.LessOrEqual(t, int(encoded), len(body))
		got, err := io.ReadAll(p.Decode(strings.NewReader(body[encoded:])))
		require.NoError(t, err)
		require.True(t, bytes.Equal(whole[offset:], got[before:]), "offset %d", offset)
	}
}

func TestLinesOfBase64AreFoundWithoutDecodingThoseBefore(t *testing.T) {
	plain := make([]byte, 500)
	for i := range plain {
		plain[i] = byte(i * 7)
	}
	digits := base64.StdEncoding.EncodeToString(plain)      // 668, the last of them padding
	even := base64.StdEncoding.EncodeToString(plain[:57*8]) // 8 lines of 76
	for name, tt := range map[string]struct {
		body string
		want int
	}{
		"76":                           {inLines(digits, 76, "\r\n"), 76},
		"60":                           {inLines(digits, 60, "\r\n"), 60},
		"all full":                     {inLines(even, 76, "\r\n"), 76},
		"all full, and a line end":     {inLines(even, 76, "\r\n") + "\r\n", 76},
		"blank lines at the end":       {inLines(digits, 76, "\r\n") + "\r\n\r\n\r\n", 76},
		"junk at the end":              {inLines(even, 76, "\r\n") + "\r\n!!", 76},
		"one line":                     {even, 608},
		"a short one":                  {digits[:8], 0},
		"lines of no whole groups":     {inLines(digits, 75, "\r\n"), 0},
		"bare line ends":               {inLines(digits, 76, "\n"), 0},
		"a shorter line":               {digits[:72] + "\r\n" + inLines(digits[72:], 76, "\r\n"), 0},
		"a longer line at the end":     {digits[:76] + "\r\n" + digits[76:], 0},
		"a shorter line between":       {digits[:76] + "\r\n" + digits[76:148] + "\r\n" + inLines(digits[148:], 76, "\r\n"), 0},
		"a blank line between":         {digits[:76] + "\r\n\r\n" + inLines(digits[76:], 76, "\r\n"), 0},
		"a blank line first":           {"\r\n" + inLines(digits, 76, "\r\n"), 0},
		"white space in a line":        {digits[:76] + "\r\n" + digits[76:148] + "    \r\n" + inLines(digits[148:], 76, "\r\n"), 0},
		"padding between":              {digits[:76] + "\r\nAA==" + digits[76:148] + "\r\n" + inLines(digits[148:], 76, "\r\n"), 0},
		"one line end is bare":         {digits[:76] + "\n" + inLines(digits[76:], 76, "\r\n"), 0},
		"a carriage return in a line":  {digits[:75] + "\r\r\n" + inLines(digits[75:], 76, "\r\n"), 0},
		"less than a group at the end": {inLines(even, 76, "\r\n") + "\r\nAAA=\r\nAAA", 0},
		"nothing":                      {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			message := "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + tt.body
			sum, err := mail.Summarize(strings.NewReader(message), mail.Limits{})
			require.NoError(t, err)
			if name != "a short one" {
				require.Equal(t, tt.want, sum.Parts[0].LineDigits)
			}
			requireLookup(t, sum.Parts[0], message)
		})
	}
}

func TestLinesOfOtherEncodingsAreNotCounted(t *testing.T) {
	for _, encoding := range []string{"quoted-printable", "7bit", "x-unknown"} {
		message := fmt.Sprintf("Content-Transfer-Encoding: %s\r\n\r\nAAAA\r\nAAAA\r\n", encoding)
		sum, err := mail.Summarize(strings.NewReader(message), mail.Limits{})
		require.NoError(t, err)
		require.Zero(t, sum.Parts[0].LineDigits)
		requireLookup(t, sum.Parts[0], message)
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("AAAA\r\nAAAA\r\nAA==")
	f.Add("AAAA\r\nAA==\r\nAAAA")
	f.Add("AAAAAAAA\r\n\r\nAAAA\r\n")
	f.Add("0000\r\n000=\r\n000")
	f.Fuzz(func(t *testing.T, body string) {
		message := "Content-Transfer-Encoding: base64\r\n\r\n" + body[:min(len(body), 500)]
		sum, err := mail.Summarize(strings.NewReader(message), mail.Limits{})
		require.NoError(t, err)
		requireLookup(t, sum.Parts[0], message)
	})
}
