package mail_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"

	"github.com/mairust/mairust/internal/mail"
)

func TestEveryNameOfShiftJISIsCodePage932(t *testing.T) {
	for _, label := range []string{
		"Shift_JIS", "shift-jis", "shiftjis", "x-sjis", "sjis", "SJIS-win", "windows-31j", "csWindows31J", "windows-932", "CP932", "MS932",
		"MS_Kanji", "ms-kanji", "csShiftJIS", "Shift_JISX0213",
	} {
		// The row 13 of NEC, what NEC took of IBM, what IBM has, half-width kana.
		text, ok := mail.DecodeText(label, []byte("\x87\x40\x87\x8a \xee\xe0\xed\x95 \xfb\xfc\xfa\xb1 \xb1\x81\x60~\\"))
		require.Equal(t, "①㈱ 髙﨑 髙﨑 ｱ～~\\", text, label)
		require.True(t, ok, label)
	}
}

// notLabels are what programs say that know nothing of charsets.
var notLabels = []string{"", "us-ascii", "iso-8859-1", "ISO_8859-1", "windows-1252", "x-nonsense", "utf-8", "iso-2022-jp"}

func TestJapaneseUnderAWrongLabelIsRead(t *testing.T) {
	for _, text := range []string{
		"会議", "表.xls", "請求書", "案1", "お世話になっております。", "テスト", "ご請求書（2024年1月分）", "Re: 会議の件", "薔薇の会", "①資料の送付", "髙橋様、㈱山田の﨑です。",
		"Hello, this is a letter of which only the end is Japanese. よろしく", "「はい」と言った。", "〒100-0001 東京都", "株式会社", "ﾃｽﾄ送信のお知らせ",
		strings.Repeat("本日は晴天なり。\r\n", 100),
	} {
		for _, label := range notLabels {
			require.Equal(t, text, decodeAs(t, label, []byte(text)), "UTF-8 as %q", label)
			for name, enc := range map[string]encoding.Encoding{"Shift_JIS": japanese.ShiftJIS, "EUC-JP": japanese.EUCJP} {
				if name == "EUC-JP" && (text == "表.xls" || text == "案1") {
					continue // one kanji is two accented letters
				}
				require.Equal(t, text, decodeAs(t, label, encode(t, enc, text)), "%s as %q", name, label)
			}
			if jis, err := japanese.ISO2022JP.NewEncoder().Bytes([]byte(text)); err == nil {
				require.Equal(t, text, decodeAs(t, label, jis), "ISO-2022-JP as %q", label)
			}
		}
	}
	for _, label := range []string{"shift_jis", "euc-jp"} {
		require.Equal(t, "会議", decodeAs(t, label, []byte("\x1b$B2q5D\x1b(B")), label)
	}
}

func TestLatinTextIsNotTakenForJapanese(t *testing.T) {
	for _, text := range []string{
		"Grüße", "déjà vu", "café", "naïve", "Müller", "für Ärzte", "Ä", "ÄÖ", "ÄÖÜß", "FÜSSE, MAßE", "STRAßE", "GRÜßE", "élève", "l’élève", "L’Été", "à", "où", "Œuvre", "œuvre",
		"crème brûlée", "CRÉÉE", "INFORMAÇÕES", "SOLICITAÇÃO DE INFORMAÇÕES SOBRE A NÃO ACEITAÇÃO", "Señor", "¿Qué?", "¡Ánimo!", "¡Él!", "Åse", "Ångström", "æøå", "ÆØÅ", "Þórður",
		"it’s", "don’t", "“I’m fine”", "“I’m", "“It’s – well – “fine””", "10 – 20 €", "5 °C", "½ l", "«Été»", "“À propos”", "‚Über‘", "‚Test‘", "„Grüße“", "«‹Être›»", "•\tone", "Škoda", "Šéf Žárovky",
		"\u00a0", "100 £", "¥100", "§ 5 Abs. 2", "Straße 5, 80331 München – Grüße aus Köln und Düsseldorf", "Voilà, c’est très “intéressant” – n’est-ce pas\u00a0?",
		strings.Repeat("Mit freundlichen Grüßen, Ihr „Büro für Öffentlichkeit“ – Jürgen’s Ämter. ", 100),
		strings.Repeat("Dès Noël où un zéphyr haï me vêt de glaçons würmiens, je dîne d’exquis rôtis de bœuf au kir à l’aÿ d’âge mûr & cætera ! ", 100),
		"Your card •••• 1234 was charged. We don’t share it.", "Menu ········ 12", "»»»» next", "°°°°", "¡¡¡¡Oferta", "———— cut here ————", "……… more …",
		strings.Repeat("It’s what I’d call “fine”: we’ll see… she’s “there”—isn’t she? ", 100),
	} {
		for _, label := range notLabels[:len(notLabels)-1] {
			require.Equal(t, text, decodeAs(t, label, encode(t, charmap.Windows1252, text)), "%q", label)
		}
	}
	for _, text := range []string{"Grüße", "déjà vu", "naïve"} { // what is not half-width kana
		require.Equal(t, text, decodeAs(t, "iso-2022-jp", encode(t, charmap.Windows1252, text)))
	}
	for label, enc := range map[string]encoding.Encoding{
		"iso-8859-2": charmap.ISO8859_2, "windows-1250": charmap.Windows1250, "koi8-r": charmap.KOI8R, "windows-1251": charmap.Windows1251,
	} { // of these the label is believed
		text := "ÄÖ äöü"
		if label == "koi8-r" || label == "windows-1251" {
			text = "ПРИВЕТ привет"
		}
		require.Equal(t, text, decodeAs(t, label, encode(t, enc, text)), label)
	}
}

// A text is cut where its limit is.
func TestTextCutInACharacterIsStillKnown(t *testing.T) {
	for name, enc := range map[string]encoding.Encoding{"UTF-8": encoding.Nop, "Shift_JIS": japanese.ShiftJIS, "EUC-JP": japanese.EUCJP} {
		b := encode(t, enc, "お世話になっております")
		for _, label := range notLabels {
			text, _ := mail.DecodeText(label, b[:len(b)-1])
			require.True(t, strings.HasPrefix(text, "お世話になっておりま"), "%s as %q: %s", name, label, text)
		}
	}
}

func TestHalfWidthKanaOfEightBitsIsReadWhereJapaneseIsSaid(t *testing.T) {
	for _, text := range []string{"ﾃｽﾄ", "ｶﾀｶﾅ ｵﾝﾘｰ", "ｺﾝﾆﾁﾊ､ｱﾅﾀ"} {
		require.Equal(t, text, decodeAs(t, "iso-2022-jp", encode(t, japanese.ShiftJIS, text)))
	}
	require.Equal(t, "あいう", decodeAs(t, "iso-2022-jp", encode(t, japanese.EUCJP, "あいう")))
}

func TestHeadersOfWrongCharsetsAreRead(t *testing.T) {
	for _, row := range []struct {
		want string
		enc  encoding.Encoding
	}{
		{"会議の件", japanese.ShiftJIS}, {"会議の件", japanese.EUCJP}, {"会議の件", encoding.Nop}, {"会議の件", japanese.ISO2022JP},
		{"Grüße, déjà vu", charmap.Windows1252}, {"it’s “fine”", charmap.Windows1252},
	} {
		raw := encode(t, row.enc, row.want)
		require.Equal(t, row.want, mail.DecodeHeader(string(raw), 100), "raw")
		for _, label := range notLabels[1:] {
			word := "=?" + label + "?B?" + base64.StdEncoding.EncodeToString(raw) + "?="
			require.Equal(t, row.want, mail.DecodeHeader(word, 100), word)
		}
	}
}

func decodeAs(t *testing.T, label string, b []byte) string {
	t.Helper()
	text, _ := mail.DecodeText(label, b)
	return text
}

func encode(t *testing.T, enc encoding.Encoding, text string) []byte {
	t.Helper()
	b, err := enc.NewEncoder().Bytes([]byte(text))
	require.NoError(t, err, text)
	return b
}
