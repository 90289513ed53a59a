package safe_test

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/ui/safe"
)

// payloads are testdata/payloads.txt (one a line; \n, \t, \0, \e, \x.. and \u.... are escapes, a line that begins with "#" names a family)
// and those that are made from lists of handlers, schemes and contexts.
func payloads(t testing.TB) []string {
	t.Helper()
	f, err := os.Open("testdata/payloads.txt")
	require.NoError(t, err)
	defer f.Close()
	var all []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if line := sc.Text(); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, unescape(line))
		}
	}
	all = append(all, handlerPayloads()...)
	all = append(all, addressPayloads()...)
	all = append(all, mutationPayloads()...)
	all = append(all, stylePayloads()...)
	return all
}

var escapes = strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r", `\0`, "\x00", `\e`, "\x1b", `\f`, "\f", `\x01`, "\x01", `\x0b`, "\x0b",
	`\x80`, "\x80", `\xc0`, "\xc0", `\xbc`, "\xbc", `\xff`, "\xff", `\xfe`, "\xfe", `\u2028`, "\u2028", `\u00ad`, "\u00ad", `\u200b`, "\u200b",
	`\u202e`, "\u202e", `\u3000`, "\u3000", `\uff1c`, "\uff1c", `\uff1e`, "\uff1e", `\ufeff`, "\ufeff", `\u017f`, "\u017f", `\u212a`, "\u212a", `\u0130`, "\u0130")

func unescape(s string) string { return escapes.Replace(s) }

func handlerPayloads() []string {
	var all []string
	for _, h := range strings.Fields("onload onerror onclick onmouseover onfocus onfocusin onanimationstart ontransitionend onpointerover ontoggle " +
		"onscroll onbegin onend onpageshow onhashchange onbeforetoggle onscrollend oncontentvisibilityautostatechange onsecuritypolicyviolation onwheel oncopy onbeforeprint") {
		all = append(all, fmt.Sprintf(`<img src=x %[1]s=alert(1)><body %[1]s=alert(1)><p tabindex=0 autofocus %[1]s="alert(1)">x</p><a href=#x/%[1]s=alert(1) %[1]s
=alert(1)>x</a><table/%[1]s=alert(1)><td/'"%[1]s=alert(1)>`, h))
	}
	return all
}

func addressPayloads() []string {
	var all []string
	for _, scheme := range []string{"javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "java\nscript:alert(1)",
		"java\r\nscript:alert(1)", "\x01javascript:alert(1)", "\x00javascript:alert(1)", "java\x00script:alert(1)", "javascript\t:alert(1)", "javascript&colon;alert(1)",
		"&#106;&#97;&#118;&#97;&#115;&#99;&#114;&#105;&#112;&#116;&#58;alert(1)", "&#x6A&#x61&#x76&#x61&#x73&#x63&#x72&#x69&#x70&#x74&#x3A;alert(1)",
		"jav&Tab;ascript:alert(1)", "jav&NewLine;ascript:alert(1)", "&#0000106avascript:alert(1)", "&#14; javascript:alert(1)", "vbscript:msgbox(1)",
		"livescript:alert(1)", "mocha:alert(1)", "data:text/html,<script>alert(1)</script>", "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
		"data:image/svg+xml,<svg onload=alert(1)>", "data:image/svg+xml;base64,PHN2ZyBvbmxvYWQ9YWxlcnQoMSk+", "data:image/png;base64,PHNjcmlwdD4=", "data:application/xhtml+xml,<x>",
		"blob:https://x/1", "filesystem:https://x/1", "file:///etc/passwd", "ftp://x/y", "about:blank", "view-source:https://x", "intent://x#Intent;end", "ms-word:ofe|u|https://x",
		"feed:javascript:alert(1)", "jar:https://x!/y", "//evil.example/x", "/x", "x", "\\\\evil.example\\x", "?x", "javascript&#x3a;alert(1)", "javascript://%0aalert(1)",
		"https:javascript:alert(1)", "http://a\" onclick=alert(1) x=\"", "http://x/' onclick='alert(1)", "http://[::1", "http://x:99999999/", "mailto:x?subject=<script>", "tel:javascript:alert(1)",
		"\u2028javascript:alert(1)", "\u3000javascript:alert(1)", "java\u00adscript:alert(1)", "javaſcript:alert(1)", "cid:<script>", "mid:x"} {
		quoted := strings.ReplaceAll(scheme, `"`, "&quot;")
		for _, f := range []string{`<a href="%s">click</a>`, `<img src="%s" alt=x>`, `<area href="%[1]s"><form action="%[1]s"><button formaction="%[1]s">b</button></form>` +
			`<iframe src="%[1]s"></iframe><embed src="%[1]s"><object data="%[1]s"></object><link rel=stylesheet href="%[1]s"><base href="%[1]s">` +
			`<svg><a xlink:href="%[1]s"><text>x</text></a></svg><math href="%[1]s">x</math><meta http-equiv=refresh content="0;url=%[1]s">` +
			`<video poster="%[1]s" src="%[1]s"></video><table background="%[1]s"><td background="%[1]s">` +
			`<img srcset="%[1]s 2x" lowsrc="%[1]s" dynsrc="%[1]s" longdesc="%[1]s" usemap="%[1]s"><q cite="%[1]s">x</q><a ping="%[1]s" href="https://x.example/">p</a>`} {
			all = append(all, fmt.Sprintf(f, quoted))
		}
	}
	return all
}

func mutationPayloads() []string {
	const evil = `<img src=x onerror=alert(1)>`
	var all []string
	wrappers := []string{"noscript", "svg", "math", "template", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "plaintext", "select", "option",
		"svg><style", "math><mtext><table><mglyph><style", "svg><desc", "svg><foreignObject", "svg><title", "math><annotation-xml encoding=text/html", "math><mi", "table><caption><svg",
		"form><math><mtext></form><form><mglyph><style", "select><template", "noscript><style", "svg><script", "math><style", "template><noscript", "script", "marquee", "p><table", "button><a"}
	for _, w := range wrappers {
		last := w[strings.LastIndex(w, "<")+1:]
		last, _, _ = strings.Cut(last, " ")
		all = append(all,
			fmt.Sprintf(`<%s><p title="</%s>%s">x`, w, last, evil),
			fmt.Sprintf(`<%s><!--</%s>%s-->x`, w, last, evil),
			fmt.Sprintf(`<%s><![CDATA[</%s>%s]]>x`, w, last, evil),
			fmt.Sprintf(`<%s><a id="</%s>%s"></a></%s/%s>`, w, last, strings.ReplaceAll(evil, "<", "&lt;"), last, evil),
		)
	}
	return all
}

func stylePayloads() []string {
	var all []string
	for _, d := range []string{"background:url(https://evil.example/x)", "background-image:url('https://evil.example/x')", "list-style:url(//evil.example/x)", "list-style-image:url(x)",
		"cursor:url(https://evil.example/x),auto", "content:url(https://evil.example/x)", "border-image:url(https://evil.example/x) 1", "filter:url(https://evil.example/x#f)", "mask:url(https://evil.example/x)",
		"background:image-set('https://evil.example/x' 1x)", "background:-webkit-image-set(url(https://evil.example/x) 1x)", "background:cross-fade(url(https://evil.example/x),red)",
		"width:expression(alert(1))", "width:ex/**/pression(alert(1))", "-moz-binding:url(//evil.example/x.xml#x)", "behavior:url(x.htc)", "position:fixed;top:0;left:0;width:100%;height:100%;z-index:9999",
		"position:absolute;left:-1px", "position:sticky", "margin-top:-500px", "margin:-1px", "transform:translate(-100px)", "opacity:0", "clip-path:url(#x)", "pointer-events:none", "overflow:hidden;height:0",
		`background:u\rl(https://evil.example/x)`, `background:\75rl(https://evil.example/x)`, "color:red;}</style><script>alert(1)</script>", "color:var(--x)", "--x:url(https://evil.example/x);background:var(--x)",
		"width:calc(100vw * 9)", "width:99999999px", "font-size:99999px", "animation:x 1s", "transition:all 1s", "src:url(https://evil.example/x)", "font-family:'</style><script>alert(1)</script>'", "font-family:a;x:url(https://evil.example/)",
		"background:url(data:image/svg+xml,<svg onload=alert(1)>)", "color:red;@import 'https://evil.example/x'", "color: red /* ; background:url(https://evil.example/x) */", "color:red/*", "background:attr(href url)",
		"background:element(#x)", "background:paint(x)", "shape-outside:url(https://evil.example/x)", "offset-path:url(https://evil.example/x)", "quotes:'<' '>'", "text-indent:-9999px", "font:1px url(x)", "unicode-bidi:bidi-override;direction:rtl",
		"backgr\x00ound:url(https://evil.example/x)", "background:url(https://evil.example/x", "background:URL (https://evil.example/x)", "background:ｕｒｌ(https://evil.example/x)", "zoom:9", "all:unset", "appearance:button", "will-change:top", "display:contents", "display:flex"} {
		all = append(all, `<p style="`+strings.ReplaceAll(d, `"`, "&quot;")+`">x</p>`, `<style>p{`+d+`} .a>p{`+d+`} @media screen{p{`+d+`}}</style><p class=a>x`,
			`<style>`+d+`</style><p>x`, `<svg><style>p{`+d+`}</style></svg><p>x`)
	}
	return all
}

func TestPayloadsComeOutWithNothingButWhatIsAllowed(t *testing.T) {
	all := payloads(t)
	require.Greater(t, len(all), 500)
	for _, remote := range []bool{false, true} {
		for _, p := range all {
			scrub(t, p, safe.Options{Remote: remote})
		}
	}
}

func TestPayloadsAreHarmlessInEachOthersCompany(t *testing.T) {
	const ends = "\"'>--></script></style></title></textarea></xmp></iframe></noembed></noframes></noscript></template></svg></math></select>\n"
	all := payloads(t)
	scrub(t, strings.Join(all, ends), safe.Options{})
	for i := range all {
		scrub(t, "<table><tr><td><b><a href=https://a.example>"+all[i]+all[(i*7+1)%len(all)]+"</td>x", safe.Options{Remote: true})
	}
}
