package safe_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/ui/safe"
)

// hostile are inputs that make a careless sanitiser slow or big. Each fills n bytes.
var hostile = map[string]func(n int) string{
	"open tags":       fill("<div>"),
	"formatting":      func(n int) string { return numbered(n/2, `<font face=f%d>`) + strings.Repeat("<p>", n/6) },
	"misnested":       fill("<b><i><p>x</b></i>"),
	"end tags":        func(n int) string { return strings.Repeat("<span>", 190) + strings.Repeat("</div></td></li>", n/16) },
	"cells":           fill("<table><tr><td>"),
	"rows":            fill("<tr><td>x"),
	"lists":           fill("<ul><li>"),
	"links":           fill("<a href=https://a.example/>bank.co.jp"),
	"attributes":      func(n int) string { return "<p " + numbered(n/2, "a%d=1 ") + ">" + strings.Repeat("<b a>", n/10) },
	"one attribute":   func(n int) string { return `<p title="` + strings.Repeat("x", n) + `">` },
	"declarations":    func(n int) string { return strings.Repeat(`<p style="`+strings.Repeat("color:red;", 800)+`">`, n/8000) },
	"css comments":    func(n int) string { return "<style>" + strings.Repeat("/*", n/2) },
	"css braces":      func(n int) string { return "<style>" + strings.Repeat("@media all{", n/11) },
	"css rules":       func(n int) string { return "<style>" + strings.Repeat("p,p,p{color:red}", n/16) + "</style>" },
	"style elements":  fill("<style>p{color:red}</style>"),
	"comments":        fill("<!--"),
	"markup":          fill("<!x"),
	"entities":        fill("&amp;&#x1F600;&notanentity;"),
	"less than":       fill("<"),
	"slashes":         fill("</"),
	"svg":             fill("<svg><math>"),
	"skipped":         func(n int) string { return strings.Repeat("<select>", n/16) + strings.Repeat("</select>", n/18) },
	"quotes":          fill(`<a href="`),
	"data":            func(n int) string { return `<img src="data:image/png;base64,` + strings.Repeat("A", n) + `">` },
	"pixels":          fill("<img src=x>"),
	"zero bytes":      fill("<\x00p\x00>"),
	"invalid UTF-8":   fill("\xff\xfe\xc0"),
	"closing pending": fill("<b><div></b>"),
}

func fill(s string) func(int) string {
	return func(n int) string { return strings.Repeat(s, n/len(s)) }
}

func numbered(n int, format string) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

func TestHostileSizesStayInBounds(t *testing.T) {
	for name, make := range hostile {
		t.Run(name, func(t *testing.T) {
			page, _ := render(t, make(512<<10), safe.Options{})
			require.Less(t, len(page), 30<<20)
		})
	}
}

func TestHostileShapesPassTheOracle(t *testing.T) {
	for name, make := range hostile {
		t.Run(name, func(t *testing.T) { scrub(t, make(20_000), safe.Options{}) })
	}
}

func TestDepthAndCountAreBounded(t *testing.T) {
	page, report := scrub(t, strings.Repeat("<div>", 1000)+"x", safe.Options{})
	require.True(t, report.Truncated)
	require.Equal(t, 200, strings.Count(page, "<div>"))
	require.Contains(t, page, "x</div>")
	page, report = render(t, strings.Repeat("<br>", 125_000)+"end", safe.Options{})
	require.True(t, report.Truncated)
	require.Equal(t, 120_000, strings.Count(page, "<br>"))
	require.Contains(t, page, "end")
	_, report = scrub(t, strings.Repeat("<tr><td>x<td>y<p>z", 500), safe.Options{})
	require.False(t, report.Truncated)
}

func TestLongBodiesAreCut(t *testing.T) {
	page, report := render(t, "<p>"+strings.Repeat("あ", 100), safe.Options{MaxBytes: 10})
	require.True(t, report.Truncated)
	require.Equal(t, "<p>ああ\uFFFD</p>", body(page))
	_, report = render(t, "<p>1234567", safe.Options{MaxBytes: 10})
	require.False(t, report.Truncated)
}

func TestFormattingIsCarriedOnAsBrowsersDo(t *testing.T) {
	for in, want := range map[string]string{
		"<p>a<b>b<p>c":                                  "<p>a<b>b</b></p><b><p>c</p></b>",
		"<td><b>x<td>y":                                 "<td><b>x</b></td><td>y</td>",
		"<font color=red><p>a</font>b</p>c":             `<font color="red"><p>ab</p></font>c`,
		"<ul><li>a<ul><li>b</ul><li>c</ul>":             "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>",
		"<table><tr><td></div></p>a</table></td>b":      "<table><tr><td>a</td></tr></table>b",
		"<a href=tel:1>a<a href=tel:2>b":                linkTo("1", "a") + linkTo("2", "b"),
		"<a href=tel:1><table><td><a href=tel:2>b</a>c": `<a href="tel:1" rel="noopener noreferrer nofollow" target="_blank" title="tel:1"><table><td>bc</td></table></a>`,
		"a<svg/>b<script/>c</script>d":                  "abd",
	} {
		page, _ := scrub(t, in, safe.Options{})
		require.Equal(t, want, body(page), in)
	}
}

func linkTo(number, text string) string {
	return `<a href="tel:` + number + `" rel="noopener noreferrer nofollow" target="_blank" title="tel:` + number + `">` + text + `</a>`
}

func TestStyleElementsKeepTheirMedia(t *testing.T) {
	for media, want := range map[string]string{
		"": "p{color:red}\n", "screen": "p{color:red}\n", "ALL": "p{color:red}\n", "print": "", "speech, print": "", "x{}*{": "",
		"only screen and (max-width:480px)": "@media (max-width:480px){\np{color:red}\n}\n",
	} {
		page, _ := scrub(t, `<style media="`+media+`">p{color:red}</style>x`, safe.Options{})
		_, sheet, _ := strings.Cut(afterPaper(page), "<style>\n")
		sheet, _, _ = strings.Cut(sheet, "</style>")
		require.Equal(t, want, sheet, media)
	}
}

func TestCallsMayRunAtOnce(t *testing.T) {
	want, _ := render(t, payloads(t)[0], safe.Options{})
	var done sync.WaitGroup
	for range 8 {
		done.Go(func() {
			var b strings.Builder
			_, err := safe.HTML(&b, strings.NewReader(payloads(t)[0]), safe.Options{})
			assert.NoError(t, err)
			assert.Equal(t, want, b.String())
		})
	}
	done.Wait()
}

func TestLanguageIsATagOrNothing(t *testing.T) {
	for in, want := range map[string]string{"ja": "ja", "zh-Hant-TW": "zh-Hant-TW", "": "", `"><script>`: "", "日本": ""} {
		page, _ := render(t, "x", safe.Options{Language: in})
		require.Contains(t, page, `<html lang="`+want+`">`)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestErrorsOfReaderAndWriterComeBack(t *testing.T) {
	_, err := safe.HTML(io.Discard, iotest.ErrReader(errBroken), safe.Options{})
	require.ErrorIs(t, err, errBroken)
	_, err = safe.HTML(brokenWriter{}, strings.NewReader("x"), safe.Options{})
	require.ErrorIs(t, err, errBroken)
	_, err = safe.HTML(brokenWriter{}, strings.NewReader(strings.Repeat("<p>x", 10_000)), safe.Options{})
	require.ErrorIs(t, err, errBroken)
}

func BenchmarkNewsletter(b *testing.B) {
	one, err := os.ReadFile(filepath.Join("testdata", "newsletter", "shop-ja.html"))
	require.NoError(b, err)
	in := strings.Repeat(string(one), 100<<10/len(one)+1)[:100<<10]
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		render(b, in, safe.Options{})
	}
}

// BenchmarkHostile shows that twice the input takes twice the time, up to where the input is cut.
func BenchmarkHostile(b *testing.B) {
	for name, make := range hostile {
		for _, n := range []int{1 << 20, 2 << 20, 4 << 20, 10 << 20} {
			in := make(n)
			b.Run(fmt.Sprintf("%s/%dMiB", strings.ReplaceAll(name, " ", "-"), n>>20), func(b *testing.B) {
				for b.Loop() {
					render(b, in, safe.Options{})
				}
			})
		}
	}
}
