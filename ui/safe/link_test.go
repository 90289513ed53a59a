package safe_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/ui/safe"
)

func TestLinksSayWhereTheyLead(t *testing.T) {
	for _, c := range []struct{ href, want, title string }{
		{"https://a.example/x?y=1#z", "https://a.example/x?y=1#z", ""},
		{"HTTPS://A.Example", "https://a.example", ""},
		{" \thttps://a.ex\nample/ ", "https://a.example/", ""},
		{"https://user:pw@a.example/", "https://a.example/", ""},
		{`https:\\a.example\x`, "https://a.example/x", ""},
		{`https://a.example\@evil.example/`, "https://a.example/@evil.example/", ""},
		{"https:a.example", "https://a.example", ""},
		{"https://a.example/100%/x y", "https://a.example/100%25/x%20y", ""},
		{"https://a.example:8443/", "https://a.example:8443/", ""},
		{"https://[2001:db8::1]:8/", "https://[2001:db8::1]:8/", ""},
		{"https://日本語.jp/パス", "https://xn--wgv71a119e.jp/%E3%83%91%E3%82%B9", "日本語.jp = https://xn--wgv71a119e.jp/%E3%83%91%E3%82%B9"},
		{"https://xn--wgv71a119e.jp/", "https://xn--wgv71a119e.jp/", "日本語.jp = https://xn--wgv71a119e.jp/"},
		{"https://ｅｖｉｌ。example/", "https://evil.example/", ""},
		{"mailto:a@b.example?subject=x y", "mailto:a@b.example?subject=x%20y", ""},
		{"tel:+81 (3) 1234-5678", "tel:+81312345678", ""},
	} {
		page, report := scrub(t, `<a href="`+c.href+`" title="https://bank.example/" target=_top rel=opener onclick=x ping=y>text</a>`, safe.Options{})
		if c.title == "" {
			c.title = c.want
		}
		require.Equal(t, `<a href="`+c.want+`" rel="noopener noreferrer nofollow" target="_blank" title="`+c.title+`">text</a>`,
			strings.ReplaceAll(body(page), "&amp;", "&"), c.href)
		require.Equal(t, safe.Report{Links: 1}, report)
	}
}

func TestLinksThatLeadNowhereAreText(t *testing.T) {
	for _, href := range []string{"javascript:alert(1)", "relative", "/x", "//x.example/", "https://", "https:///", "https://a b/", "https://a%00b/", "https://[::1", "data:x",
		"https://x:y/", "https://" + strings.Repeat("a", 9000) + ".example/", "mailto:", "tel:abc", "#", ""} {
		page, report := scrub(t, `<a href="`+href+`">text</a>`, safe.Options{})
		require.Equal(t, "text", body(page), href)
		require.Zero(t, report.Links)
	}
}

func TestFragmentsStayInTheMail(t *testing.T) {
	page, _ := scrub(t, `<a href="#top">up</a><p id=top>x</p><a name=top></a>`, safe.Options{})
	require.Equal(t, `<a href="#m-top">up</a><p id="m-top">x</p><a name="m-top"></a>`, body(page))
}

func TestDeceptiveLinksShowTheirHost(t *testing.T) {
	for _, c := range []struct {
		text, href, mark string
	}{
		{"https://bank.example.jp/", "https://evil.example.com/", "evil.example.com"},
		{"bank.co.jp", "https://evil.example.com/", "evil.example.com"},
		{"www.bank.co.jp/login", "https://evil.example.com/", "evil.example.com"},
		{"<b>www.<i>bank</i></b>.co.jp", "https://evil.example.com/", "evil.example.com"},
		{"Sign in: https://bank.co.jp now", "https://evil.example.com/", "evil.example.com"},
		{"ｗｗｗ．ｂａｎｋ．ｃｏ．ｊｐ", "https://evil.example.com/", "evil.example.com"},
		{"bank\u200b.co\u00ad.jp", "https://evil.example.com/", "evil.example.com"},
		{"「https://bank.co.jp」", "https://evil.example.com/", "evil.example.com"},
		{`<img src=x alt="https://bank.co.jp/">`, "https://evil.example.com/", "evil.example.com"},
		{"info@bank.co.jp", "https://evil.example.com/", "evil.example.com"},
		{"info@bank.co.jp", "mailto:x@evil.example.com", "evil.example.com"},
		{"apple.com", "https://xn--80ak6aa92e.com/", "аррӏе.com = xn--80ak6aa92e.com"},
		{"https://bank.co.jp@x.example.com/", "https://evil.example.com/", ""},
		{"one.github.io", "https://two.github.io/", "two.github.io"},
		{"https://evil.example.com/ https://bank.co.jp", "https://evil.example.com/", "evil.example.com"},
		{`<span style="display:none">x</span> bank.co.jp`, "https://evil.example.com/", "evil.example.com"},
		{"詳細はbank.co.jpへ", "https://evil.example.com/", "evil.example.com"},
		{"http://intranet/", "https://evil.example.com/", "evil.example.com"},
		{"192.0.2.1", "https://192.0.2.2/", "192.0.2.2"},
		{"www.shop.co.jp", "https://click.shop.co.jp/x", ""},
		{"日本語.jp", "https://xn--wgv71a119e.jp/", ""},
		{"info@shop.co.jp", "mailto:info@shop.co.jp", ""},
		{"Read more", "https://evil.example.com/", ""},
		{"report.pdf", "https://a.example.com/", ""},
		{"Version 1.2.3", "https://a.example.com/", ""},
		{"taro.info@shop.co.jp", "mailto:taro.info@shop.co.jp", ""},
		{"https://shop.co.jp/?next=bank.co.jp", "https://shop.co.jp/", ""},
		{"shop.co.jp/?next=bank.co.jp", "https://shop.co.jp/", ""},
		{"co.jp", "https://a.example.com/", ""},
		{"e.g. this", "https://a.example.com/", ""},
	} {
		page, report := scrub(t, `<a href="`+c.href+`">`+c.text+`</a>`, safe.Options{})
		_, mark, _ := strings.Cut(body(page), "</a>")
		if c.mark == "" {
			require.Empty(t, mark, c.text)
			continue
		}
		require.Equal(t, `<span class="mairust-host"><bdi>`+c.mark+`</bdi></span>`, mark, c.text)
		require.Equal(t, 1, report.DeceptiveLinks)
	}
}

func TestAMailCannotWriteTheMark(t *testing.T) {
	page, _ := scrub(t, `a<span class="mairust-host">bank.co.jp<span>x</span></span>b<span class="x mairust-host">c</span>`, safe.Options{})
	require.Equal(t, `ab<span class="m-x m-mairust-host">c</span>`, body(page))
}
