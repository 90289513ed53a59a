package mail_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

// entity writes a MIME entity: a type, perhaps with more fields, and its body, or the entities in it.
func entity(header string, inside ...string) string {
	if !strings.HasPrefix(header, "multipart/") {
		return "Content-Type: " + header + "\r\n\r\n" + strings.Join(inside, "")
	}
	boundary := fmt.Sprintf("b%d", len(strings.Join(inside, "")))
	return "Content-Type: " + header + "; boundary=" + boundary + "\r\n\r\n--" + boundary + "\r\n" +
		strings.Join(inside, "\r\n--"+boundary+"\r\n") + "\r\n--" + boundary + "--\r\n"
}

const (
	plainType = "text/plain; charset=utf-8"
	htmlType  = "text/html; charset=utf-8"
	pngType   = "image/png; name=a.png"
	fileType  = plainType + "; name=a.txt"
	inline    = "\r\nContent-Disposition: inline"
	attached  = "\r\nContent-Disposition: attachment"
)

// shownTrees are messages as mail programs make them, and what is shown of each as HTML and as text.
var shownTrees = map[string]struct{ raw, html, text string }{
	"one text":            {entity(plainType, "a"), "1", "1"},
	"one HTML":            {entity(htmlType, "a"), "1", "1"},
	"one file":            {entity(fileType, "a"), "", ""},
	"no text":             {entity("image/png", "a"), "", ""},
	"text, image, text":   {entity("multipart/mixed", entity(plainType, "a"), entity(pngType+inline, "x"), entity(plainType+inline, "b")), "1 3", "1 3"},
	"footer of a list":    {entity("multipart/mixed", entity("multipart/alternative", entity(plainType, "a"), entity(htmlType, "a")), entity(plainType, "f")), "1.2 2", "1.1 2"},
	"HTML and a footer":   {entity("multipart/mixed", entity(htmlType, "a"), entity(plainType+inline, "f")), "1 2", "1 2"},
	"files":               {entity("multipart/mixed", entity(plainType, "a"), entity(fileType+inline, "b"), entity(plainType+attached, "c"), entity(htmlType+attached, "d")), "1", "1"},
	"as Apple Mail does":  {entity("multipart/alternative", entity(plainType, "a b"), entity("multipart/mixed", entity(htmlType, "a"), entity(pngType, "x"), entity(htmlType, "b"))), "2.1 2.3", "1"},
	"half of it is plain": {entity("multipart/alternative", entity(plainType, "a f"), entity("multipart/mixed", entity(htmlType, "a"), entity(plainType, "f"))), "2.1 2.2", "1"},
	"pictures in HTML":    {entity("multipart/related", entity("multipart/alternative", entity(plainType, "a"), entity(htmlType, "a")), entity(pngType, "x"), entity(htmlType, "frame")), "1.2", "1.1"},
	"the root comes late": {entity("multipart/related", entity(pngType, "x"), entity(htmlType, "a")), "2", "2"},
	"signed":              {entity("multipart/signed", entity("multipart/mixed", entity(plainType, "a"), entity(plainType, "b")), entity("application/pgp-signature", "s")), "1.1 1.2", "1.1 1.2"},
	"alternatives of one": {entity("multipart/alternative", entity(plainType, "a"), entity("text/calendar", "x")), "1", "1"},
	"the wrong order":     {entity("multipart/alternative", entity(htmlType, "a"), entity(plainType, "a")), "1", "2"},
	"two of a kind":       {entity("multipart/alternative", entity(plainType, "a"), entity(plainType, "better"), entity(htmlType, "a"), entity(htmlType, "better")), "4", "2"},
	"a report":            {entity("multipart/report", entity(plainType, "a"), entity("message/delivery-status", "x"), entity("message/rfc822", entity(htmlType, "inner"))), "1", "1"},
	"a message, then text": {entity("multipart/mixed", entity(plainType, "a"),
		entity("message/rfc822", entity("multipart/mixed", entity(plainType, "x"), entity(htmlType, "y"))), entity(plainType, "b")), "1 3", "1 3"},
	"a digest":         {entity("multipart/digest", "\r\n"+entity(plainType, "a")), "", ""},
	"an unknown kind":  {entity("multipart/x-new", entity(plainType, "a"), entity(htmlType, "b")), "1 2", "1 2"},
	"nothing, in much": {entity("multipart/mixed", entity("multipart/alternative"), entity("multipart/related")), "1.1 2.1", "1.1 2.1"},
}

func TestShownAreAllTextsThatAreTheMessagesOwn(t *testing.T) {
	for name, m := range shownTrees {
		s := summarize(t, []byte(m.raw))
		for preferred, want := range map[string]string{"text/html": m.html, "text/plain": m.text} {
			var ids []string
			for _, p := range mail.Shown(s.Parts, preferred) {
				ids = append(ids, p.ID)
			}
			require.Equal(t, want, strings.Join(ids, " "), "%s, as %s", name, preferred)
		}
	}
	require.Empty(t, mail.Shown(nil, "text/html"))
}

// shownText is what is shown of a message as text.
func shownText(t *testing.T, raw string, limit int64) (string, bool) {
	t.Helper()
	text, cut, err := mail.ShownText(summarize(t, []byte(raw)).Parts, limit, func(p mail.Part, limit int64) ([]byte, bool, error) {
		b, err := io.ReadAll(p.Decode(strings.NewReader(raw[p.Offset : p.Offset+p.Size])))
		return b[:min(int64(len(b)), limit)], int64(len(b)) > limit, err
	})
	require.NoError(t, err)
	return text, cut
}

func TestTextsStandOneBelowTheOther(t *testing.T) {
	const dashes = "\n\n----------\n\n"
	for _, c := range []struct{ raw, want string }{
		{entity(plainType, " a\r\n"), " a\r\n"},
		{entity("multipart/mixed", entity(plainType, "a\r\nb\r\n"), entity(pngType, "x"), entity(plainType, "\r\n  c")), "a\r\nb" + dashes + "  c"},
		{entity("multipart/mixed", entity(plainType, " \r\n"), entity(plainType, "a"), entity(plainType, "")), "a"},
		{entity("multipart/mixed", entity(htmlType, "<p>a &amp; <b>こん</b>にちは<br>c</p><style>x</style>"), entity(plainType, "f <b>")), "a & こんにちは\nc" + dashes + "f <b>"},
		{entity("multipart/mixed", entity("text/plain; charset=iso-2022-jp", "\x1b$B2q5D\x1b(B"), entity("text/plain; charset=iso-8859-1", "caf\xe9")), "会議" + dashes + "café"},
	} {
		text, cut := shownText(t, c.raw, 1000)
		require.Equal(t, c.want, text)
		require.False(t, cut)
	}
}

func TestShownTextIsBounded(t *testing.T) {
	two := entity("multipart/mixed", entity(plainType, strings.Repeat("a", 60)), entity(plainType, strings.Repeat("b", 60)))
	text, cut := shownText(t, two, 100)
	require.Equal(t, strings.Repeat("a", 60)+"\n\n----------\n\n"+strings.Repeat("b", 40), text)
	require.True(t, cut)
	text, cut = shownText(t, two, 60)
	require.Equal(t, strings.Repeat("a", 60), text)
	require.True(t, cut)
	text, cut = shownText(t, entity(plainType, "ああああ"), 10)
	require.Equal(t, "あああ", text)
	require.True(t, cut)
	text, cut = shownText(t, entity(htmlType, "<p>ああああ<p>ああああ"), 20)
	require.Equal(t, "ああああ\nああ", text)
	require.True(t, cut)
	many := entity("multipart/mixed", strings.Split(strings.Repeat(entity(plainType, "a")+"|", 300), "|")[:300]...)
	text, cut = shownText(t, many, 1<<20)
	require.Equal(t, mail.MaxShown, strings.Count(text, "a"))
	require.True(t, cut)
	broken := errors.New("broken")
	_, _, err := mail.ShownText(summarize(t, []byte(two)).Parts, 100, func(mail.Part, int64) ([]byte, bool, error) { return nil, false, broken })
	require.ErrorIs(t, err, broken)
}

func TestPreviewIsOfAllThatIsShown(t *testing.T) {
	for name, c := range map[string]struct{ raw, want string }{
		"two texts":           {entity("multipart/mixed", entity(plainType, "a"), entity(pngType, "x"), entity(plainType, "b")), "a b"},
		"HTML and a footer":   {entity("multipart/mixed", entity(htmlType, "<p>news</p>"), entity(plainType, "___ list")), "news ___ list"},
		"a blank alternative": {entity("multipart/alternative", entity(plainType, " \r\n"), entity(htmlType, "a")), "a"},
		"a file alone":        {entity(fileType, "a"), "a"},
		"text and a file":     {entity("multipart/mixed", entity(plainType, "a"), entity(fileType, "b")), "a"},
		"three charsets": {entity("multipart/mixed", entity("text/plain; charset=iso-2022-jp", "\x1b$B2q5D"), entity(plainType, "é"),
			entity("text/plain; charset=utf-16le", "a\x00b\x00")), "会議 é ab"},
	} {
		require.Equal(t, c.want, summarize(t, []byte(c.raw)).Preview, name)
	}
	long := strings.Repeat("a", 300)
	require.Equal(t, long[:256], summarize(t, []byte(entity("multipart/mixed", entity(plainType, long), entity(plainType, "b")))).Preview)
	s, err := mail.Summarize(strings.NewReader(entity("multipart/mixed", entity(plainType, "http://one.test"), entity(plainType, "http://two.test"))), mail.Limits{Hosts: 5})
	require.NoError(t, err)
	require.Equal(t, []string{"one.test", "two.test"}, s.Hosts)
}

func TestTextBehindALongTagIsText(t *testing.T) {
	text, cut := mail.HTMLText(`<p>one</p><img src="data:image/png;base64,`+strings.Repeat("A", 600<<10)+`"><p>two</p>`, 1<<20)
	require.Equal(t, "one\ntwo", text)
	require.False(t, cut)
}
