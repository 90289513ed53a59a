package mail_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mairust/mairust/internal/mail"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestSummarizeMessages holds what is read of each message in testdata: subject, persons, preview, tree,
// defects, and which parts are attachments.
func TestSummarizeMessages(t *testing.T) {
	for _, file := range messages(t) {
		raw := read(t, file)
		s := summarize(t, raw)
		requireSound(t, raw, s)
		got, err := json.MarshalIndent(struct {
			*mail.Summary
			Attachments []string
		}{s, names(s.Attachments())}, "", "  ")
		require.NoError(t, err)
		golden := strings.TrimSuffix(file, ".eml") + ".json"
		if *update {
			require.NoError(t, os.WriteFile(golden, append(got, '\n'), 0o644))
		}
		require.Equal(t, string(read(t, golden)), string(got)+"\n", file)
	}
}

func TestSummaryDoesNotDependOnHowBytesCome(t *testing.T) {
	for _, file := range messages(t) {
		raw := read(t, file)
		slow, err := mail.Summarize(iotest.OneByteReader(bytes.NewReader(raw)), mail.Limits{})
		require.NoError(t, err)
		require.Equal(t, summarize(t, raw), slow, file)
	}
}

func TestPartsAreWhereTheySay(t *testing.T) {
	raw := read(t, "testdata/messages/attachment-names.eml")
	var bodies []string
	for _, p := range summarize(t, raw).Attachments() {
		bodies = append(bodies, p.Name+": "+string(decoded(t, raw, p)))
	}
	require.Equal(t, []string{
		"2231優先.pdf: hello",
		"請求書類.xls: " + strings.Repeat("x", 40),
		"長い名前のファイル.pdf:  %PDF",
		"圧縮ソ表.zip: PK",
		"report 1.csv: a,b",
		"logo.png: PNG",
	}, bodies)
}

func TestReaderErrorsAreGivenBack(t *testing.T) {
	broken := errors.New("disk gone")
	s, err := mail.Summarize(io.MultiReader(strings.NewReader("Subject: x\r\n"), iotest.ErrReader(broken)), mail.Limits{})
	require.ErrorIs(t, err, broken)
	require.Nil(t, s)
}

func TestLimitsHold(t *testing.T) {
	var m strings.Builder
	m.WriteString("Subject: " + strings.Repeat("あ", 5000) + "\r\nTo: " + strings.Repeat("a@b.test, ", 5000) + "\r\n")
	for range 3000 {
		m.WriteString("X-Filler: x\r\n")
	}
	m.WriteString("Message-ID: <too-late@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
	s := summarize(t, []byte(m.String()))
	require.LessOrEqual(t, len(s.Subject), 2048)
	require.Len(t, s.To, 100)
	require.Empty(t, s.MessageID)
	require.Contains(t, s.Defects, mail.DefectHeaderTooLong)

	raw := []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n" + strings.Repeat("--b\r\n\r\nx\r\n", 50) + "--b--\r\n")
	s, err := mail.Summarize(bytes.NewReader(raw), mail.Limits{Parts: 10, Preview: 1})
	require.NoError(t, err)
	require.Len(t, s.Parts, 10)
	require.Contains(t, s.Defects, mail.DefectTooManyParts)
	require.Equal(t, "x", s.Preview)
	requireSound(t, raw, s)
}

func TestSummaryIsBoundedAsAWhole(t *testing.T) {
	const limit = 100 << 10
	part := func(name, id string) string {
		return "--b\r\nContent-Type: text/plain; name=\"" + name + "\"\r\nContent-ID: <" + id + ">\r\n\r\n\r\n"
	}
	repeat := strings.Repeat
	multipart := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	persons := repeat("\""+repeat("n", 400)+"\" <"+repeat("a", 300)+"@b.test>,\r\n ", 80)
	for name, m := range map[string]struct {
		raw    string
		defect string
	}{
		"long names":      {multipart + repeat(part(repeat("<", 1024), repeat("&", 1024)), 999), mail.DefectTooManyParts},
		"escaped names":   {multipart + repeat(part(repeat("\\\"", 1024), repeat("\\", 1024)), 999), mail.DefectTooManyParts},
		"japanese names":  {multipart + repeat(part(repeat("名", 340), "x"), 999), mail.DefectTooManyParts},
		"parts alone":     {multipart + repeat("--b\r\n\r\n\r\n", 999), mail.DefectTooManyParts},
		"messages within": {multipart + repeat("--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n", 999), mail.DefectTooManyParts},
		"persons": {"From: " + persons + "x\r\nTo: " + persons + "x\r\nCc: " + persons + "x\r\nReply-To: " + persons + "x\r\n" +
			multipart + part("evil.exe", "1"), mail.DefectTooManyPersons},
		"persons of one letter": {"To: " + repeat("a,", 5000) + "\r\n\r\n", mail.DefectTooManyPersons},
	} {
		s := summarize(t, []byte("From: a@b.test\r\n"+m.raw))
		requireSound(t, []byte("From: a@b.test\r\n"+m.raw), s)
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		require.NoError(t, e.Encode(s))
		require.LessOrEqual(t, b.Len(), limit, name)
		require.Contains(t, s.Defects, m.defect, name)
		if name == "persons" {
			require.Equal(t, "evil.exe", s.Parts[1].Name, "persons must not crowd out parts")
		}
	}
	// What mail is like every day has room.
	raw := []byte("To: " + repeat("\"Somebody Someone\" <somebody@example.test>,\r\n ", 90) + "x\r\n" + multipart + repeat(part("report 2026.pdf", "1@example.test"), 150) + "--b--\r\n")
	s := summarize(t, append([]byte("From: a@b.test\r\n"), raw...))
	require.Empty(t, s.Defects)
	require.Len(t, s.Parts, 151)
}

func TestWhatHidesAttachmentsIsNamed(t *testing.T) {
	repeat := strings.Repeat
	multipart := "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	exe := "--b\r\nContent-Type: application/octet-stream; name=evil.exe\r\n\r\nMZ\r\n--b--\r\n"
	params := ""
	for i := range 70 {
		params += fmt.Sprintf("; p%d=x", i)
	}
	for name, m := range map[string]string{
		"after a thousand parts":   multipart + repeat("--b\r\n\r\n\r\n", 1000) + exe,
		"after much header":        "X: " + repeat("x", 300<<10) + "\r\n" + multipart + exe,
		"after many fields":        repeat("X: y\r\n", 2001) + multipart + exe,
		"boundary of 2000":         "Content-Type: multipart/mixed; boundary=" + repeat("b", 2000) + "\r\n\r\n" + strings.ReplaceAll(exe, "--b", "--"+repeat("b", 2000)),
		"no such boundary":         "Content-Type: multipart/mixed; boundary=c\r\n\r\n" + exe,
		"no boundary":              "Content-Type: multipart/mixed\r\n\r\n" + exe,
		"nested deeply":            repeat("Content-Type: message/rfc822\r\n\r\n", 70) + multipart + exe,
		"message in base64":        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString([]byte(multipart+exe)),
		"name behind other params": "Content-Type: application/octet-stream" + params + "; name=evil.exe\r\n\r\nMZ\r\n",
	} {
		s := summarize(t, []byte("From: a@b.test\r\n"+m))
		require.True(t, s.Unexplored(), "%s: %v", name, s.Defects)
		require.Subset(t, mail.AllDefects(), s.Defects)
	}
	for name, m := range map[string]string{
		"boundary of 257":    "Content-Type: multipart/mixed; boundary=" + repeat("b", 257) + "\r\n\r\n" + strings.ReplaceAll(exe, "--b", "--"+repeat("b", 257)),
		"boundary in pieces": "Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\r\n\r\n" + strings.ReplaceAll(exe, "--b", "--ab"),
		"in a message":       "Content-Type: message/rfc822\r\n\r\n" + multipart + exe,
		"a very long name":   "Content-Type: application/octet-stream; name=\"" + repeat("名", 1000) + "evil.exe\"\r\n\r\nMZ\r\n",
	} {
		s := summarize(t, []byte("From: a@b.test\r\n"+m))
		require.False(t, s.Unexplored(), "%s: %v", name, s.Defects)
		last := s.AllAttachments()[len(s.AllAttachments())-1]
		require.True(t, strings.HasSuffix(last.Name, "evil.exe"), "%s: %q", name, last.Name)
		require.LessOrEqual(t, len(last.Name), 1024)
		require.True(t, utf8.ValidString(last.Name))
	}
}

// TestHostileMessagesAreReadInLinearTime would not end for years if any of these were quadratic.
func TestHostileMessagesAreReadInLinearTime(t *testing.T) {
	repeat := func(s string, n int) string { return strings.Repeat(s, n/len(s)) }
	const size = 1 << 20
	multipart := "From: a@b.test\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
	var nested strings.Builder
	for i := range 2000 {
		nested.WriteString("Content-Type: multipart/mixed; boundary=" + strings.Repeat("n", i%200) + "\r\n\r\n--" + strings.Repeat("n", i%200) + "\r\n")
	}
	for name, m := range map[string]string{
		"boundaries":           multipart + repeat("--b\r\n", size),
		"dashes":               multipart + repeat("--\r\n", size),
		"near boundaries":      multipart + repeat("--bb\r\n", size),
		"nested prefixes":      nested.String() + repeat("--"+strings.Repeat("n", 250)+"\r\n", size),
		"nested messages":      repeat("Content-Type: message/rfc822\r\n\r\n", size),
		"one line":             multipart + repeat("x", 10<<20),
		"one header line":      "Subject: " + repeat("x", 10<<20),
		"one folded header":    "Subject: x\r\n" + repeat(" x\r\n", size),
		"newlines":             multipart + repeat("\n", size),
		"carriage returns":     repeat("\r", size),
		"NULs":                 repeat("\x00", size),
		"encoded word starts":  "Subject: " + repeat("=?a?B?", size),
		"encoded words":        "From: " + repeat("=?a?B?YQ==?=", size),
		"open comments":        "From: " + repeat("(", size) + "\r\nTo: " + repeat("(((\"", size),
		"open quotes":          "From: " + repeat(`"\`, size),
		"open brackets":        "From: " + repeat("<", size) + "\r\nTo: " + repeat("a:", size),
		"parameters":           "Content-Type: a/b" + repeat("; name*0*=x", size),
		"soft breaks":          "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + repeat("="+strings.Repeat(" ", 998)+"x", size),
		"equal signs":          "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + repeat("=", size),
		"trailing blanks":      "Content-Transfer-Encoding: quoted-printable\r\n\r\n" + repeat(" ", size),
		"padding":              "Content-Transfer-Encoding: base64\r\n\r\n" + repeat("=", size),
		"tags":                 "Content-Type: text/html\r\n\r\n" + repeat("<", size),
		"comments in HTML":     "Content-Type: text/html\r\n\r\n" + repeat("<!--", size),
		"entities":             "Content-Type: text/html\r\n\r\n" + repeat("&", size),
		"escapes of ISO-2022":  "Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n" + repeat("\x1b$B\x1b(B", size),
		"Received of brackets": "Received: " + repeat("(", size),
		"date of brackets":     "Date: " + repeat("(", size),
	} {
		s := summarize(t, []byte(m))
		requireSound(t, []byte(m), s)
		require.LessOrEqual(t, len(s.Parts), 1000, name)
	}
}

func TestDecodeIsLenient(t *testing.T) {
	for _, tt := range []struct{ encoding, in, want string }{
		{"base64", "aGVsbG8=", "hello"},
		{"base64", "aGVs\r\nbG8", "hello"},
		{"base64", "a!G V*s\x00bG8=\r\n", "hello"},
		{"base64", "aGVsbG8=IHdvcmxk", "hello world"},
		{"base64", "a", ""},
		{"base64", "====", ""},
		{"quoted-printable", "a=3Db=\r\nc=20\r\n", "a=bc \r\n"},
		{"quoted-printable", "a  \t\r\nb ", "a\r\nb"},
		{"quoted-printable", "a=  \r\nb=\nc", "abc"},
		{"quoted-printable", "100% =ZZ =4 =", "100% =ZZ =4 "},
		{"quoted-printable", "a=3", "a=3"},
		{"quoted-printable", "a=\r=41", "a=\rA"},
		{"quoted-printable", "=e3=81=82", "あ"},
		{"quoted-printable", "a \r b \r\r\n", "a \r b \r\r\n"},
		{"8bit", "a=3D", "a=3D"},
		{"", "a=3D", "a=3D"},
		{"x-unknown", "a=3D", "a=3D"},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
			got, err := io.ReadAll(mail.Part{Encoding: tt.encoding}.Decode(r))
			require.NoError(t, err)
			require.Equal(t, tt.want, string(got), "%s %q", tt.encoding, tt.in)
		}
	}
	broken := errors.New("broken")
	_, err := io.ReadAll(mail.Part{Encoding: "base64"}.Decode(iotest.ErrReader(broken)))
	require.ErrorIs(t, err, broken)
}

func TestDecodedSizeIsWhatDecodeGives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		encoding := rapid.SampledFrom([]string{"base64", "quoted-printable", "8bit"}).Draw(t, "encoding")
		body := rapid.StringMatching(`[aZ9+/= \t\r\n!é]{0,80}`).Draw(t, "body")
		raw := []byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: " + encoding +
			"\r\n\r\n" + body + "\r\n--b--\r\n")
		s, err := mail.Summarize(bytes.NewReader(raw), mail.Limits{})
		require.NoError(t, err)
		requireSound(t, raw, s)
	})
}

func TestDecodeHeader(t *testing.T) {
	for in, want := range map[string]string{
		" plain  text ": "plain text",
		" =?ISO-2022-JP?B?GyRCMnE1RBsoQg==?=\r\n =?ISO-2022-JP?B?GyRCO3FOQRsoQg==?=": "会議資料",
		"=?utf-8?Q?a?= b =?utf-8?Q?c?=":                                              "a b c",
		"=?utf-8?Q?a?==?utf-8*en?Q?b?=":                                              "ab",
		"(=?utf-8?Q?a_b?=)":                                                          "(a b)",
		"\x1b$B2q5D\x1b(B":                                                           "会議",
		"\x89\xef\x8bc":                                                              "会議",
		"caf\xe9":                                                                    "café",
		"a\x00b\x07c\u2028d":                                                         "a b c d",
		"=?utf-8?X?a?= =??Q?a?= =?a?Q?b":                                             "=?utf-8?X?a?= =??Q?a?= =?a?Q?b",
		"=?iso-8859-1?Q?=80?=":                                                       "€",
		"=?utf-7?Q?abc?=":                                                            "abc",
	} {
		require.Equal(t, want, mail.DecodeHeader(in, 100), "%q", in)
	}
	require.Len(t, mail.DecodeHeader(strings.Repeat("x", 1<<20), 100), 100)
}

func FuzzSummarize(f *testing.F) {
	for _, file := range messages(f) {
		f.Add(read(f, file))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := mail.Summarize(bytes.NewReader(raw), mail.Limits{Parts: 50, Depth: 8})
		require.NoError(t, err)
		require.LessOrEqual(t, len(s.Parts), 50)
		requireSound(t, raw, s)
	})
}

// requireSound holds what is true of every summary of raw.
func requireSound(t require.TestingT, raw []byte, s *mail.Summary) {
	size := int64(len(raw))
	require.Equal(t, size, s.SizeBytes)
	require.LessOrEqual(t, s.HeaderBytes, size)
	require.NotEmpty(t, s.Parts)
	require.LessOrEqual(t, utf8.RuneCountInString(s.Preview), 256)
	requireText(t, 2<<10, s.Subject)
	requireText(t, 1<<10, s.MessageID, s.InReplyTo, s.Top.By, s.Top.ID)
	requireText(t, 1<<10, s.Preview)
	for _, list := range [][]mail.Person{s.From, s.ReplyTo, s.To, s.Cc} {
		require.LessOrEqual(t, len(list), 100)
		for _, p := range list {
			requireText(t, 1<<10, p.Name, p.Address)
		}
	}
	ids := map[string]bool{}
	for _, p := range s.Parts {
		require.False(t, ids[p.ID], "two parts %q", p.ID)
		ids[p.ID] = true
		require.True(t, p.Offset >= 0 && p.Size >= 0 && p.Offset+p.Size <= size, "%+v of %d", p, size)
		requireText(t, 1<<10, p.ID, p.Type, p.Charset, p.Encoding, p.Disposition, p.Name, p.ContentID)
		require.NotContains(t, p.Name, "/")
		if !strings.HasPrefix(p.Type, "multipart/") {
			require.Equal(t, int64(len(decoded(t, raw, p))), p.DecodedSize, "%+v", p)
		}
	}
	_, err := json.Marshal(s)
	require.NoError(t, err)
}

func requireText(t require.TestingT, limit int, texts ...string) {
	for _, s := range texts {
		require.True(t, utf8.ValidString(s) && !strings.ContainsAny(s, "\x00\r\n"), "%q", s)
		require.LessOrEqual(t, len(s), limit)
	}
}

func decoded(t require.TestingT, raw []byte, p mail.Part) []byte {
	b, err := io.ReadAll(p.Decode(bytes.NewReader(raw[p.Offset : p.Offset+p.Size])))
	require.NoError(t, err)
	return b
}

func summarize(t testing.TB, raw []byte) *mail.Summary {
	t.Helper()
	s, err := mail.Summarize(bytes.NewReader(raw), mail.Limits{})
	require.NoError(t, err)
	return s
}

func messages(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/messages/*.eml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	return files
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	return b
}

func names(parts []mail.Part) []string {
	found := []string{}
	for _, p := range parts {
		found = append(found, p.ID+" "+p.Type+" "+p.Name)
	}
	return found
}
