package mail_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"mime/quotedprintable"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

// Bodies longer than any buffer, as bad as mailers write them: what is found at an offset is what is there in the whole.
func TestARangeIsThatOfTheWholeHoweverTheLinesAre(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- no secret
	plain := make([]byte, 100_000)
	for i := range plain {
		plain[i] = byte(random.Uint32())
	}
	for _, eol := range []string{"\r\n", "\n", " \r\n", "\t \r\n", "\r\r\n", "\r\n\r\n"} {
		for _, digits := range []int{4, 60, 72, 75, 76, 77, 998, 32 << 10, 40_000} {
			text := base64.StdEncoding.EncodeToString(plain[:99_000+random.IntN(1000)])
			for _, end := range []string{"", eol, eol + eol, " ", "=", "=\r\n", "A", "\r\n=\r\nAA", "\r\nAAAA\r\n"} {
				requireRanges(t, random, "base64", inLines(text, digits, eol)+end)
			}
		}
	}
	var quoted strings.Builder
	w := quotedprintable.NewWriter(&quoted)
	_, _ = w.Write(plain)
	require.NoError(t, w.Close())
	for _, end := range []string{"", "=", "=\r\n", " ", " \t\r\n", "=A", "\r\n"} {
		requireRanges(t, random, "quoted-printable", quoted.String()+end)
	}
}

// requireRanges looks at the first and last places, around the ends of some lines, and some others.
func requireRanges(t *testing.T, random *rand.Rand, encoding, body string) {
	t.Helper()
	message := "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: " +
		encoding + "\r\n\r\n" + body + "\r\n--b--\r\n"
	sum, err := mail.Summarize(strings.NewReader(message), mail.Limits{})
	require.NoError(t, err)
	p := sum.Parts[1]
	body = message[p.Offset : p.Offset+p.Size]
	whole, err := io.ReadAll(p.Decode(strings.NewReader(body)))
	require.NoError(t, err)
	require.EqualValues(t, len(whole), p.DecodedSize)
	size, line := p.DecodedSize, int64(max(p.LineDigits/4*3, 1))
	offsets := []int64{0, 1, size - 3, size - 2, size - 1, size}
	for range 4 {
		at := random.Int64N(size/line+1) * line
		offsets = append(offsets, at-1, at, at+1, random.Int64N(size))
	}
	for _, offset := range offsets {
		offset = min(max(offset, 0), size)
		encoded, before := p.Lookup(offset)
		r := p.Decode(strings.NewReader(body[encoded:]))
		_, err := io.CopyN(io.Discard, r, before)
		require.NoError(t, err)
		got, err := io.ReadAll(io.LimitReader(r, 100))
		require.NoError(t, err)
		require.Equal(t, whole[offset:min(offset+100, size)], got, fmt.Sprintf("%s, lines of %d, offset %d of %d", encoding, p.LineDigits, offset, size))
	}
}
