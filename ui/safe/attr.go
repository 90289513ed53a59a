package safe

import (
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/net/html"
)

// prefix is put before every id, name and class of a mail, so that none means anything to a page (DOM clobbering) or to our styles.
const prefix = "m-"

// Bounds on the values of attributes.
const (
	maxValue = 400
	maxStyle = 8 << 10
	maxLink  = 8 << 10

	maxClasses = 4 << 10
)

// attributes are those of one tag, in its order, names in lower case, each name once.
type attributes []html.Attribute

func readAttributes(z *html.Tokenizer, more bool) attributes {
	var all attributes
	for more && len(all) < maxAttributes {
		var key, val []byte
		key, val, more = z.TagAttr()
		all = append(all, html.Attribute{Key: string(key), Val: cleanText(string(val))})
	}
	return all
}

func (a attributes) get(key string) string {
	for _, at := range a {
		if at.Key == key {
			return at.Val
		}
	}
	return ""
}

// rewrite makes an attribute's value safe, or says no.
type rewrite func(value string) (string, bool)

// everywhere are the attributes that any element may have.
var everywhere = map[string]rewrite{
	"class": classes,
	"dir":   oneOf("ltr", "rtl", "auto"),
	"id":    identifier,
	"lang":  matching(languageTag),
	"role":  oneOf("presentation", "none", "heading", "img"),
	"style": inlineStyle,
	"title": plain,
}

// own are the attributes of particular elements. The old ones stay: mail is laid out with them.
var own = map[string]map[string]rewrite{
	"body":       {"bgcolor": color, "text": color},
	"a":          {"name": identifier},
	"blockquote": {"type": oneOf("cite")},
	"br":         {"clear": oneOf("left", "right", "all", "none")},
	"caption":    {"align": align},
	"col":        columns,
	"colgroup":   columns,
	"div":        {"align": align},
	"font":       {"color": color, "face": fontFace, "size": matching(regexp.MustCompile(`^[+-]?[1-7]$`))},
	"h1":         {"align": align}, "h2": {"align": align}, "h3": {"align": align},
	"h4": {"align": align}, "h5": {"align": align}, "h6": {"align": align},
	"hr": {"align": align, "color": color, "noshade": flag, "size": size(100), "width": size(maxPixels)},
	"img": {"align": align, "alt": plain, "border": size(50), "height": size(maxPixels), "hspace": size(100),
		"vspace": size(100), "width": size(maxPixels)},
	"li":    {"type": listType, "value": number(99999)},
	"ol":    {"reversed": flag, "start": number(99999), "type": listType},
	"p":     {"align": align},
	"table": tables,
	"tbody": rows, "td": cells, "tfoot": rows, "th": cells, "thead": rows, "tr": rows,
	"ul": {"type": listType},
}

var (
	align    = oneOf("left", "right", "center", "justify", "top", "middle", "bottom", "absmiddle", "baseline", "texttop")
	listType = matching(regexp.MustCompile(`^(?:[1aAiI]|disc|circle|square)$`))
	color    = matching(regexp.MustCompile(`^(?:#?[0-9a-fA-F]{3,8}|[a-zA-Z]{3,20})$`))
	columns  = map[string]rewrite{"align": align, "bgcolor": color, "span": number(100), "valign": align, "width": size(maxPixels)}
	rows     = map[string]rewrite{"align": align, "bgcolor": color, "height": size(maxPixels), "valign": align}
	tables   = map[string]rewrite{"align": align, "bgcolor": color, "border": size(50), "bordercolor": color, "cellpadding": size(100),
		"cellspacing": size(100), "height": size(maxPixels), "summary": plain, "width": size(maxPixels)}
	cells = map[string]rewrite{"align": align, "bgcolor": color, "bordercolor": color, "colspan": number(100), "height": size(maxPixels),
		"nowrap": flag, "rowspan": number(1000), "scope": oneOf("row", "col", "rowgroup", "colgroup"), "valign": align,
		"width": size(maxPixels)}
)

// attributes writes those of attrs that name may have, beginning with a space.
func (s *scrubber) attributes(name string, attrs attributes) string {
	var b strings.Builder
	for _, a := range attrs {
		f, ok := everywhere[a.Key]
		if !ok {
			f, ok = own[name][a.Key]
		}
		if !ok || a.Key == "title" && (name == "a" || name == "img") || a.Key == "class" && name == "img" {
			continue
		}
		if v, ok := f(a.Val); ok {
			writeAttribute(&b, a.Key, v)
		}
	}
	return b.String()
}

func writeAttribute(b *strings.Builder, key, value string) {
	b.WriteString(" " + key + `="` + html.EscapeString(value) + `"`)
}

func plain(v string) (string, bool) { return cut(v, maxValue), true }

func flag(string) (string, bool) { return "", true }

func oneOf(words ...string) rewrite {
	return func(v string) (string, bool) {
		v = strings.ToLower(strings.TrimSpace(v))
		for _, w := range words {
			if v == w {
				return w, true
			}
		}
		return "", false
	}
}

func matching(re *regexp.Regexp) rewrite {
	return func(v string) (string, bool) {
		v = strings.TrimSpace(v)
		return v, len(v) <= maxValue && re.MatchString(v)
	}
}

// number is a count from 0 to most; more becomes most.
func number(most int) rewrite {
	return func(v string) (string, bool) {
		n, rest, ok := leadingNumber(strings.TrimSpace(v))
		return strconv.Itoa(min(n, most)), ok && rest == ""
	}
}

// size is pixels from 0 to most or a percentage to 100; more becomes the most.
func size(most int) rewrite {
	return func(v string) (string, bool) {
		n, rest, ok := leadingNumber(strings.TrimSpace(v))
		switch strings.ToLower(strings.TrimSpace(rest)) {
		case "", "px", "pt":
			return strconv.Itoa(min(n, most)), ok
		case "%":
			return strconv.Itoa(min(n, 100)) + "%", ok
		}
		return "", false
	}
}

// leadingNumber reads up to 6 digits, and drops a fraction.
func leadingNumber(v string) (n int, rest string, ok bool) {
	i := 0
	for i < len(v) && v[i] >= '0' && v[i] <= '9' {
		i++
	}
	if i == 0 || i > 6 {
		return 0, v, false
	}
	n, err := strconv.Atoi(v[:i])
	rest = v[i:]
	if strings.HasPrefix(rest, ".") {
		rest = strings.TrimLeft(rest[1:], "0123456789")
	}
	return n, rest, err == nil
}

var notWord = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// identifier is an id or a class under our prefix; one that is under it already stays as it is.
func identifier(v string) (string, bool) {
	v = strings.TrimPrefix(strings.TrimSpace(cut(v, maxValue)), prefix)
	v = cut(notWord.ReplaceAllString(v, "_"), 64)
	return prefix + v, v != ""
}

func classes(v string) (string, bool) {
	var out []string
	for _, c := range strings.Fields(cut(v, maxClasses)) {
		if id, ok := identifier(c); ok && len(out) < 16 {
			out = append(out, id)
		}
	}
	return strings.Join(out, " "), len(out) > 0
}

var unsafeFace = regexp.MustCompile(`[^\p{L}\p{N} ,_.-]+`)

func fontFace(v string) (string, bool) {
	v = strings.TrimSpace(unsafeFace.ReplaceAllString(cut(v, maxValue), ""))
	return v, v != ""
}

func inlineStyle(v string) (string, bool) {
	out := declarations(cut(v, maxStyle))
	return out, out != ""
}
