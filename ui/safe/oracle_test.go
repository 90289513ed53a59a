package safe_test

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/mairust/mairust/ui/safe"
)

// The lists here are written apart from the package's own, so that a slip there is seen.

func set(words string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(words) {
		m[w] = true
	}
	return m
}

var (
	okElements = set(`html head meta style body a abbr acronym address article aside b bdi big blockquote br caption center cite code
		col colgroup dd del dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark nav ol p pre q rp rt
		ruby s samp section small span strike strong sub sup table tbody td tfoot th thead time tr tt u ul var wbr`)
	okAttributes = set(`align alt bgcolor border bordercolor cellpadding cellspacing class clear color colspan dir face height href hspace
		id lang name noshade nowrap rel reversed role rowspan scope size span src start style summary target text title type valign
		value vspace width`)
	okProperties = set(`background background-color border border-bottom border-bottom-color border-bottom-left-radius
		border-bottom-right-radius border-bottom-style border-bottom-width border-collapse border-color border-left border-left-color
		border-left-style border-left-width border-radius border-right border-right-color border-right-style border-right-width
		border-spacing border-style border-top border-top-color border-top-left-radius border-top-right-radius border-top-style
		border-top-width border-width box-sizing caption-side clear color direction display empty-cells float font font-family font-size
		font-style font-variant font-weight height letter-spacing line-height list-style list-style-position list-style-type margin
		margin-bottom margin-left margin-right margin-top max-height max-width min-height min-width overflow-wrap padding
		padding-bottom padding-left padding-right padding-top table-layout text-align text-decoration text-decoration-color
		text-decoration-line text-decoration-style text-indent text-transform vertical-align white-space width word-break
		word-spacing word-wrap`)
	badValue   = regexp.MustCompile(`(?i)url|expression|script|@|\\|<|>|important|\(\s*[^0-9)]|(^|[\s,(])-\d|image|element|attr|var\s*\(`)
	goodValue  = regexp.MustCompile(`^[\p{L}\p{N} #%.,'()/_&+-]+$`)
	ourName    = regexp.MustCompile(`^m-[A-Za-z0-9_-]+$`)
	goodData   = regexp.MustCompile(`^data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/]+=*$`)
	goodRemote = regexp.MustCompile(`^https?://`)
	prelude    = regexp.MustCompile(`^[a-z0-9*]*(\.m-[A-Za-z0-9_-]+)*(:(link|visited|hover|active))?$`)
	mediaOnly  = regexp.MustCompile(`^@media (all|\((min|max)-width:[0-9.]+px\)( and \((min|max)-width:[0-9.]+px\))?)\{$`)
)

// complaints reads a sanitised page as a browser would and lists all that is not allowed.
func complaints(page string, remote bool) []string {
	var bad []string
	say := func(f string, a ...any) { bad = append(bad, fmt.Sprintf(f, a...)) }
	if !utf8.ValidString(page) {
		say("not UTF-8")
	}
	if !strings.HasPrefix(page, "<!doctype html>\n<html lang=\"") || !strings.Contains(page[:200], "<meta charset=\"utf-8\">\n<meta name=\"referrer\" content=\"no-referrer\">") {
		say("head is not ours")
	}
	for _, r := range page {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f || r >= 0x202a && r <= 0x202e {
			say("character %U", r)
			break
		}
	}
	for _, scripting := range []bool{true, false} {
		doc, err := html.ParseWithOptions(strings.NewReader(page), html.ParseOptionEnableScripting(scripting))
		if err != nil {
			say("parse: %v", err)
			continue
		}
		walk(doc, func(n *html.Node) { checkNode(n, remote, say) })
	}
	return bad
}

func walk(n *html.Node, visit func(*html.Node)) {
	visit(n)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		walk(c, visit)
	}
}

func checkNode(n *html.Node, remote bool, say func(string, ...any)) {
	switch n.Type {
	case html.CommentNode:
		say("comment %q", n.Data)
	case html.ElementNode:
		if n.Namespace != "" || !okElements[n.Data] {
			say("element %s:%s", n.Namespace, n.Data)
		}
		if n.Data == "meta" {
			return
		}
		if n.Data == "style" {
			checkSheet(n, say)
			return
		}
		for _, a := range n.Attr {
			checkAttribute(n.Data, a, remote, say)
		}
		if n.Data == "a" && isWeb(n) {
			checkLink(n, say)
		}
	}
}

func isWeb(n *html.Node) bool {
	h := attribute(n, "href")
	return h != "" && !strings.HasPrefix(h, "#")
}

func attribute(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func checkLink(n *html.Node, say func(string, ...any)) {
	if attribute(n, "rel") != "noopener noreferrer nofollow" || attribute(n, "target") != "_blank" || attribute(n, "title") == "" {
		say("link without its protection: %v", n.Attr)
	}
}

func checkAttribute(element string, a html.Attribute, remote bool, say func(string, ...any)) {
	if a.Namespace != "" || !okAttributes[a.Key] {
		say("attribute %s of %s", a.Key, element)
	}
	switch a.Key {
	case "id", "name":
		if !ourName.MatchString(a.Val) {
			say("%s %q", a.Key, a.Val)
		}
	case "class":
		for _, c := range strings.Fields(a.Val) {
			if marks := element + "." + a.Val; !ourName.MatchString(c) && marks != "span.mairust-host" && marks != "img.mairust-blocked" {
				say("class %q", a.Val)
			}
		}
	case "href":
		u, err := url.Parse(a.Val)
		if err != nil || element != "a" && element != "html" || !set("http https mailto tel")[u.Scheme] && !strings.HasPrefix(a.Val, "#m-") {
			say("href %q", a.Val)
		}
	case "src":
		fetched := remote && goodRemote.MatchString(a.Val)
		if element != "img" || !fetched && !goodData.MatchString(a.Val) {
			say("src %q", a.Val)
		}
	case "style":
		checkDeclarations(a.Val, say)
	}
}

func checkDeclarations(css string, say func(string, ...any)) {
	for _, d := range strings.Split(css, ";") {
		name, value, _ := strings.Cut(d, ":")
		if !okProperties[name] || !goodValue.MatchString(value) {
			say("declaration %q", d)
		}
		plain := regexp.MustCompile(`'[^']*'`).ReplaceAllString(value, "")
		if name != "font" && name != "font-family" && badValue.MatchString(plain) {
			say("value %q", d)
		}
	}
}

func checkSheet(n *html.Node, say func(string, ...any)) {
	if attribute(n, "id") == "mairust-paper" || n.FirstChild == nil {
		return
	}
	for _, line := range strings.Split(strings.TrimSpace(n.FirstChild.Data), "\n") {
		if mediaOnly.MatchString(line) || line == "}" {
			continue
		}
		selectors, rest, ok := strings.Cut(line, "{")
		decls, ok2 := strings.CutSuffix(rest, "}")
		if !ok || !ok2 {
			say("rule %q", line)
			continue
		}
		for _, one := range strings.Split(selectors, ",") {
			for _, part := range strings.Fields(one) {
				if !prelude.MatchString(part) {
					say("selector %q", one)
				}
			}
		}
		checkDeclarations(decls, say)
	}
}

// scrub sanitises, checks the page against the lists, and that sanitising it again changes nothing.
func scrub(t testing.TB, in string, o safe.Options) (string, safe.Report) {
	t.Helper()
	page, report := render(t, in, o)
	require.Empty(t, complaints(page, o.Remote), "input %.300q\npage %.3000s", in, afterPaper(page))
	again, _ := render(t, page, o)
	if page != again {
		t.Fatalf("not stable: input %.300q\nonce  %.2000s\ntwice %.2000s", in, afterPaper(page), afterPaper(again))
	}
	return page, report
}

func render(t testing.TB, in string, o safe.Options) (string, safe.Report) {
	t.Helper()
	var b strings.Builder
	report, err := safe.HTML(&b, strings.NewReader(in), o)
	require.NoError(t, err)
	return b.String(), report
}

func afterPaper(page string) string {
	_, rest, _ := strings.Cut(page, "</style>")
	return rest
}

// body is what is inside <body>.
func body(page string) string {
	_, rest, _ := strings.Cut(page, "<body")
	_, rest, _ = strings.Cut(rest, ">")
	rest, _, _ = strings.Cut(rest, "</body>")
	return rest
}
