package safe

// An element's place in the nesting rules.
type kind uint8

const (
	inline kind = iota + 1 // phrase; may not be closed across a block
	format                 // phrase that a browser opens again when the block around it ends (HTML 13.2.4.3)
	block                  // closes an open p
	item                   // li, dt, dd: closes its predecessor
	cell                   // td, th, caption: what is inside never closes what is outside
	row                    // tr
	group                  // thead, tbody, tfoot, colgroup
	table
	void // has no content
)

// elements are those that are shown. All else is unwrapped (its content stays) or, if in withContent, left out whole.
var elements = map[string]kind{
	"a": inline, "abbr": inline, "acronym": inline, "bdi": inline, "cite": inline, "del": inline, "dfn": inline, "ins": inline,
	"kbd": inline, "mark": inline, "q": inline, "rp": inline, "rt": inline, "ruby": inline, "samp": inline, "span": inline,
	"sub": inline, "sup": inline, "time": inline, "var": inline,

	"b": format, "big": format, "code": format, "em": format, "font": format, "i": format, "s": format, "small": format,
	"strike": format, "strong": format, "tt": format, "u": format,

	"address": block, "article": block, "aside": block, "blockquote": block, "center": block, "div": block, "dl": block,
	"figcaption": block, "figure": block, "footer": block, "h1": block, "h2": block, "h3": block, "h4": block, "h5": block,
	"h6": block, "header": block, "main": block, "nav": block, "ol": block, "p": block, "pre": block, "section": block, "ul": block,

	"dd": item, "dt": item, "li": item,
	"caption": cell, "td": cell, "th": cell, "tr": row,
	"colgroup": group, "tbody": group, "tfoot": group, "thead": group, "table": table,
	"br": void, "col": void, "hr": void, "img": void, "wbr": void,
}

// withContent are the elements that go with all that is in them: it is code, another language, or a form's state.
var withContent = map[string]bool{
	"script": true, "style": true, "title": true, "textarea": true, "xmp": true, "iframe": true, "noembed": true,
	"noframes": true, "noscript": true, "plaintext": true, "template": true, "svg": true, "math": true, "select": true,
	"datalist": true, "frameset": true,
}

// closeRule says what a start tag closes, and where the search for it ends, as the HTML parser does (13.2.6.4).
type closeRule struct {
	closes func(string, kind) bool
	stops  func(string, kind) bool
}

func closeRuleOf(name string, k kind) (closeRule, bool) {
	switch k {
	case block, table:
		return closeRule{isName("p"), atCell}, true
	case item:
		if name == "li" {
			return closeRule{isName("li"), atList}, true
		}
		return closeRule{isName("dt", "dd"), atList}, true
	case cell, row, group:
		return closeRule{func(_ string, open kind) bool { return open >= cell && open <= k && open != table }, atTable}, true
	}
	if name == "hr" {
		return closeRule{isName("p"), atCell}, true
	}
	if name == "a" {
		return closeRule{isName("a"), atCell}, true
	}
	return closeRule{}, false
}

func isName(names ...string) func(string, kind) bool {
	return func(open string, _ kind) bool {
		for _, n := range names {
			if n == open {
				return true
			}
		}
		return false
	}
}

func atCell(_ string, k kind) bool  { return k == cell || k == table }
func atTable(_ string, k kind) bool { return k == table }

func atList(name string, k kind) bool {
	return name == "ul" || name == "ol" || name == "dl" || k == cell || k == table
}
