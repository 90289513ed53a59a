package safe_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/ui/safe"
)

func sections(t *testing.T, o safe.Options, list ...safe.Section) (string, safe.Report) {
	t.Helper()
	var b strings.Builder
	report, err := safe.Sections(&b, list, o)
	require.NoError(t, err)
	require.Empty(t, complaints(b.String(), o.Remote))
	again, _ := render(t, b.String(), safe.Options{})
	require.Equal(t, b.String(), again)
	return b.String(), report
}

func section(text string) safe.Section { return safe.Section{Text: strings.NewReader(text)} }

func plainSection(text string) safe.Section {
	return safe.Section{Text: strings.NewReader(text), Plain: true}
}

func TestSectionsStandOneBelowTheOther(t *testing.T) {
	page, report := sections(t, safe.Options{}, section("<p>a"), plainSection("1 < 2\r\n  <script>x</script> &amp;\r\n"), section(""), plainSection("\r\n"), section("b"))
	require.Equal(t, `<p>a</p><hr><div style="white-space:pre-wrap">1 &lt; 2`+"\n  &lt;script&gt;x&lt;/script&gt; &amp;amp;</div><hr>b", body(page))
	require.False(t, report.Truncated)
	page, _ = sections(t, safe.Options{}, plainSection("a"))
	require.Equal(t, `<div style="white-space:pre-wrap">a</div>`, body(page))
	page, _ = sections(t, safe.Options{}, section(" "), section("a"))
	require.Equal(t, "a", body(page))
}

func TestNoSectionSwallowsTheNext(t *testing.T) {
	for _, open := range []string{
		"<style>p{", "<script>", "<title>", "<!--", "<p title=\"", "<textarea>", "<svg>", "<template><b>", "<a href=https://a.test/>x", "<table><tr><td>", "<select>",
		"<plaintext>", "<!-- <style>", "<", "<pre>", "<div hidden style=\"display:none\">",
	} {
		page, _ := sections(t, safe.Options{}, section(open), section("<p>next</p>"), plainSection("plain"))
		require.True(t, strings.HasSuffix(body(page), `<p>next</p><hr><div style="white-space:pre-wrap">plain</div>`), "%s: %s", open, body(page))
	}
}

func TestBoundsAreForAllSectionsTogether(t *testing.T) {
	page, report := sections(t, safe.Options{MaxBytes: 10}, section("<p>12345"), section("678"), section("90"))
	require.Equal(t, "<p>12345</p><hr>67", body(page))
	require.True(t, report.Truncated)
	_, report = sections(t, safe.Options{MaxBytes: 10}, section("<p>12345"), plainSection("67"))
	require.False(t, report.Truncated)
	_, report = sections(t, safe.Options{MaxBytes: 1 << 20}, section(strings.Repeat("<br>", 70_000)), section(strings.Repeat("<br>", 70_000)))
	require.True(t, report.Truncated)
}
