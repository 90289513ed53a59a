package mail_test

import (
	"testing"

	"github.com/stretchr/testify/require"

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
