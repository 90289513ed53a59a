package attachment_test

import (
	"mime"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/attachment"
)

func TestNamesOfAttachmentsAreMadeHarmless(t *testing.T) {
	for name, want := range map[string]string{
		"report.pdf":           `attachment; filename="report.pdf"`,
		"":                     `attachment; filename="part-2"`,
		"...":                  `attachment; filename="part-2"`,
		"../../etc/passwd":     `attachment; filename="_.._etc_passwd"`,
		`C:\autoexec.bat`:      `attachment; filename="C__autoexec.bat"`,
		".htaccess":            `attachment; filename="htaccess"`,
		"a\r\nSet-Cookie: x=y": `attachment; filename="aSet-Cookie_ x=y"`,
		`a"; filename="b.exe`:  `attachment; filename="a_; filename=_b.exe"`,
		"invoice\u202efdp.exe": `attachment; filename="invoicefdp.exe"`,
		"100%41.txt":           `attachment; filename="100_41.txt"; filename*=UTF-8''100%2541.txt`,
		"請求書.pdf":              `attachment; filename="___.pdf"; filename*=UTF-8''%E8%AB%8B%E6%B1%82%E6%9B%B8.pdf`,
		"\xff\xfe\x00":         `attachment; filename="part-2"`,
		"con":                  `attachment; filename="_con"`,
		"Aux.tar.gz":           `attachment; filename="_Aux.tar.gz"`,
		"com1 .txt":            `attachment; filename="_com1 .txt"`,
		"contract.pdf":         `attachment; filename="contract.pdf"`,
		"it's (1)*.txt":        `attachment; filename="it's (1)_.txt"`,
	} {
		require.Equal(t, want, attachment.Disposition(attachment.FileName(mail.Part{ID: "2", Name: name})), name)
	}
}

func FuzzNamesOfAttachments(f *testing.F) {
	for _, seed := range []string{"a.pdf", "", "..", "請求書.pdf", "\x00\xff", strings.Repeat("長", 300) + ".pdf", "a." + strings.Repeat("x", 500), `";\%`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		field := attachment.Disposition(attachment.FileName(mail.Part{ID: "1.2", Name: name}))
		for _, c := range []byte(field) {
			require.True(t, c >= 0x20 && c < 0x7f, field)
		}
		disposition, params, err := mime.ParseMediaType(field)
		require.NoError(t, err, field)
		require.Equal(t, "attachment", disposition)
		got := params["filename"]
		require.NotEmpty(t, got)
		require.True(t, utf8.ValidString(got))
		require.LessOrEqual(t, len(got), 200)
		require.Equal(t, path.Base(got), got, "no directories")
		require.NotEqual(t, byte('.'), got[0])
	})
}
