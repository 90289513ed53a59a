package mail_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
)

// previewOf is the preview of a message of HTML.
func previewOf(t *testing.T, html string) string {
	t.Helper()
	return summarize(t, []byte("Content-Type: text/html; charset=utf-8\r\n\r\n"+html)).Preview
}

func TestOnlyBlocksPartWordsInPreviews(t *testing.T) {
	for html, want := range map[string]string{
		"<b>こん</b>にちは":                                     "こんにちは",
		"<span>re</span><i>a</i><font>d</font>":            "read",
		"a<img src=x>b<wbr>c<a href=x>d</a>":               "abcd",
		"a <b>b</b> c":                                     "a b c",
		"a<br>b<br/>c<p>d<div>e</div>f<ul><li>g<li>h</ul>": "a b c d e f g h",
		"<table><tr><td>a</td><td>b</td></tr></table>c":    "a b c",
		"<h1>a</h1>b<hr>c<pre>d</pre>":                     "a b c d",
		"a<style>x</style>b<script/>x</script>c":           "abc",
		"a<svg><svg>x</svg>x</svg>b<svg/>c":                "abc",
	} {
		require.Equal(t, want, previewOf(t, html), html)
	}
}

func TestWhatHasNoEndHidesNoText(t *testing.T) {
	for html, want := range map[string]string{
		"<html><head><title>t</title><meta x><body>text":       "text",
		"<head><style>p{}</style><p>text":                      "text",
		"<head><title>t<body><p>text":                          "text",
		"<head><title>t</head><style>p{}<body><p>text<b>s</b>": "texts",
		"<style>p{}":                                            "",
		"<p>a</p><script>if (a < b) x()":                        "a",
		strings.Repeat("<title>", 100) + "<body>text":           "",
		"<style>" + strings.Repeat("p{}", 100) + "<P>text</P>.": "text .",
	} {
		require.Equal(t, want, previewOf(t, html), html)
	}
}

func TestMuchThatIsNotShownDoesNotCrowdOutThePreview(t *testing.T) {
	css := strings.Repeat("p.class { color: red }\r\n", 20_000) // 480 kB
	for name, html := range map[string]string{
		"a sheet":           "<head><style type=\"text/css\">" + css + "</style></head><p>text",
		"sheets":            strings.Repeat("<STYLE>"+css[:5000]+"</Style >", 100) + "<p>text",
		"a comment":         "<!--[if mso]>" + css + "<![endif]--><p>text",
		"a script":          "<script>" + css + "</script><p>text",
		"text before it":    "<p>text" + strings.Repeat("<!--"+css+"-->", 3),
		"one after another": "<!--" + css + "--><style>" + css + "</style><script>" + css + "</script>text",
	} {
		for from := range 40 { // the limit falls on each byte of a mark
			require.Equal(t, "text", previewOf(t, strings.Repeat(" ", from)+html), "%s %d", name, from)
		}
	}
	require.Empty(t, previewOf(t, "<style>"+css))
	require.Equal(t, "text", previewOf(t, "<p>text<p "+strings.Repeat("x", 200_000)+"><p>more"))
}

func TestLinksInWhatIsTakenOutStillCount(t *testing.T) {
	raw := "Content-Type: text/html\r\n\r\n<!-- http://one.test/ " + strings.Repeat("x", 200_000) + "--><a href=http://two.test/>"
	s, err := mail.Summarize(strings.NewReader(raw), mail.Limits{Hosts: 10})
	require.NoError(t, err)
	require.Equal(t, []string{"one.test", "two.test"}, s.Hosts)
}
