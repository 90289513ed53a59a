package ui_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/ui"
)

func TestResultsAreReadAsTheyAreWritten(t *testing.T) {
	for value, want := range map[string]string{
		"mx.example.test; spf=pass smtp.mailfrom=a@example.org":                                    "spf pass good a@example.org",
		"mx.example.test 1;\tdkim=FAIL (bad; signature (nested)) header.d=example.org header.i=@x": "dkim fail bad example.org",
		`mx; dmarc=none reason="a; b" header.from=example.org; arc=pass; iprev=pass`:               "dmarc none open example.org|arc pass good ",
		"mx; none": "",
		"mx; dkim": "",
		"; (":      "",
		`mx; dkim/1=pass header.i="@example.org"`: "dkim pass good @example.org",
	} {
		var got []string
		for _, c := range ui.ParseResults(value) {
			got = append(got, c.Method+" "+c.Result+" "+c.Class+" "+c.Of)
		}
		require.Equal(t, want, strings.Join(got, "|"), value)
	}
}

// FuzzHeader reads what strangers write into headers.
func FuzzHeader(f *testing.F) {
	f.Add("Authentication-Results: mx; spf=pass (a\\)b) smtp.mailfrom=x\r\n\ty\r\nReceived: x\r\nAuthentication-Results: forged; dkim=pass\r\n", `"a@b.c" <x@xn--pypal-4ve.com>`)
	f.Add("authentication-results:;;;\r\n\r\n", "Рaypal <x@y.z>")
	f.Fuzz(func(t *testing.T, header, from string) {
		for _, value := range ui.OwnResults(header) {
			for _, c := range ui.ParseResults(value) {
				require.LessOrEqual(t, len(c.Of), 100)
				require.LessOrEqual(t, len(c.Result), 20)
				require.Contains(t, []string{"good", "bad", "open"}, c.Class)
			}
		}
		for _, s := range ui.NewSenders([]mail.Person{{Name: mail.Clean(from, 0), Address: mail.Clean(from, 0)}}) {
			require.True(t, utf8.ValidString(s.Name+s.Address+s.Readable))
			require.NotContains(t, s.Name+s.Address, "\u202e")
		}
	})
}
