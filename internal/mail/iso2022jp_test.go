package mail_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding/japanese"

	"github.com/mairust/mairust/internal/mail"
)

func TestISO2022JPIsReadAsSendersMakeIt(t *testing.T) {
	for _, row := range []struct{ name, in, want string }{
		{"as it should be", "\x1b$B2q5D\x1b(B ok", "会議 ok"},
		{"no ASCII before the line's end", "\x1b$B2q5D\r\nnext \x1b$B;qNA\nlast", "会議\r\nnext 資料\nlast"},
		{"half a character before the line's end", "\x1b$B2q5\r\nnext", "会\uFFFD\r\nnext"},
		{"half a character before an escape", "\x1b$B2q5\x1b(Bnext", "会\uFFFDnext"},
		{"spaces and tabs among kanji", "\x1b$B2q \t5D\x1b(B", "会 \t議"},
		{"JIS C 6226-1978", "\x1b$@2q5D\x1b(J", "会議"},
		{"four bytes of escape", "\x1b$(B2q\x1b$(@5D\x1b(B", "会議"},
		{"JIS X 0208-1990", "\x1b&@\x1b$B2q5D\x1b(B", "会議"},
		{"JIS X 0212", "\x1b$(D0!\x1b(B", "丂"},
		{"row 13 of NEC", "\x1b$B-!-j\x1b(B", "①㈱"},
		{"characters of IBM in NEC's rows", "\x1b$B|byu\x1b(B", "髙﨑"},
		{"JIS X 0213 of 2000", "\x1b$(O2q-!\x1b(B", "会①"},
		{"JIS X 0213 of 2004", "\x1b$(Q2q5D\x1b(B", "会議"},
		{"JIS X 0213 where IBM's are in NEC's rows", "\x1b$(Q|b2q\x1b(B", "\uFFFD会"},
		{"second plane of JIS X 0213", "\x1b$(P!!\x1b$B2q\x1b(B", "\uFFFD会"},
		{"Chinese of ISO-2022-JP-2", "\x1b$A0!\x1b$B2q\x1b(B", "\uFFFD会"},
		{"half-width kana", "\x1b(I6@6E\x1b(B!", "ｶﾀｶﾅ!"},
		{"half-width kana of eight bits", "\x1b$B2q5D\x1b(B \xb6\xc0\xb6\xc5", "会議 ｶﾀｶﾅ"},
		{"half-width kana of eight bits among kanji", "\x1b$B2q\xb65D\x1b(B", "会ｶ議"},
		{"half-width kana after SO", "\x0e6@\x0f \x1b$B2q\x0e6\x0f5D\x1b(B", "ｶﾀ 会ｶ議"},
		{"a line ends SO", "\x1b(B\x0e6@\r\nok\x1b$B2q\x1b(B", "ｶﾀ\r\nok会"},
		{"cut in an escape", "\x1b$B2q5D\x1b(", "会議"},
		{"cut after ESC", "\x1b$B2q5D\x1b", "会議"},
		{"cut in a character", "\x1b$B2q5", "会\uFFFD"},
		{"bytes of no charset", "\x1b$B2q\x80\xff5D\x1b(B", "会\uFFFD\uFFFD議"},
	} {
		got, ok := mail.DecodeText("ISO-2022-JP", []byte(row.in))
		require.Equal(t, row.want, got, row.name)
		require.True(t, ok, row.name)
	}
}

func TestEscapesMayBeCutBetweenEncodedWords(t *testing.T) {
	for in, want := range map[string]string{
		"=?ISO-2022-JP?B?GyRCMnE=?= =?ISO-2022-JP?B?NUQbKEI=?=":             "会議",   // in the middle of kanji
		"=?ISO-2022-JP?B?GyRCMnE1RBs=?=\r\n =?iso-2022-jp?B?KEJvaw==?=":     "会議ok", // ESC, then "(B"
		"=?ISO-2022-JP?B?Gw==?= =?ISO-2022-JP?B?JEIycTVEGyhC?=":             "会議",   // ESC, then "$B"
		"=?ISO-2022-JP?Q?=1B$?= =?ISO-2022-JP?B?QjJxNUQbKEI=?=":             "会議",   // the other encoding
		"=?ISO-2022-JP?B?GyRCMnE1RA==?= =?ISO-2022-JP?B?GyRCO3FOQRsoQg==?=": "会議資料", // each opened, the first not closed
		"=?ISO-2022-JP?B?GyRCMnE1RA==?= done":                               "会議 done",
	} {
		require.Equal(t, want, mail.DecodeHeader(in, 100), "%q", in)
	}
}

// FuzzISO2022JP reads any bytes, and what a strict encoder makes of them when they are text.
func FuzzISO2022JP(f *testing.F) {
	for _, s := range []string{"\x1b$B2q5D\x1b(B ok\r\n", "\x1b$(D0!\x1b(I6@\x1b(J", "\x1b$(Q|b\x0e6\x0f\xb6\x1b", "\x1b&@\x1b$B2q", "会議 ｶﾅ ok\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, _ := mail.DecodeText("iso-2022-jp", in)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, len(got), 3*len(in))
		if !utf8.Valid(in) || bytes.ContainsAny(in, "\x1b\x0e\x0f") {
			return
		}
		if encoded, err := japanese.ISO2022JP.NewEncoder().Bytes(in); err == nil {
			got, _ = mail.DecodeText("iso-2022-jp", encoded)
			require.Equal(t, string(in), got)
		}
	})
}
