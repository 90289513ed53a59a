package safe

import (
	"regexp"
	"strings"
)

// Bounds on the style elements of one body.
const (
	maxSheetBytes = 256 << 10
	maxRules      = 1500
	maxSelectors  = 12
)

// sheet collects the rules of a mail's style elements that are kept: simple selectors of elements and classes, alone or below one
// another, also inside @media of widths. A rule holds no character but those that the patterns here let through; above all no "<".
type sheet struct {
	out   strings.Builder
	rules int
	full  bool
}

func (s *sheet) String() string { return s.out.String() }

// add takes the text of one style element and its media attribute.
func (s *sheet) add(css, media string) {
	css = strings.NewReplacer("<!--", " ", "-->", " ").Replace(dropComments(cleanText(cut(css, maxSheetBytes))))
	query, ok := mediaQuery("@media " + strings.TrimSpace(cut(media, maxValue)))
	switch {
	case strings.TrimSpace(media) == "", ok && query == "all":
		s.rulesOf(css, true)
	case ok:
		s.media(query, css)
	}
}

// rulesOf reads rule after rule. Strings and parentheses with braces in them are not looked into: what is read in a wrong way
// does not match the patterns.
func (s *sheet) rulesOf(css string, media bool) {
	for {
		prelude, rest, ok := strings.Cut(css, "{")
		if !ok {
			return
		}
		prelude = strings.TrimSpace(prelude[strings.LastIndexAny(prelude, ";}")+1:])
		inside, after, nested := splitBlock(rest)
		css = after
		switch {
		case strings.HasPrefix(prelude, "@"):
			if query, ok := mediaQuery(prelude); ok && media {
				s.media(query, inside)
			}
		case !nested:
			s.rule(prelude, inside)
		}
	}
}

// splitBlock splits after the brace that ends a block, and says whether there are blocks in it.
func splitBlock(s string) (inside, after string, nested bool) {
	depth := 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
			nested = true
		case '}':
			depth--
		}
		if depth == 0 {
			return s[:i], s[i+1:], nested
		}
	}
	return s, "", nested
}

func (s *sheet) media(query, inside string) {
	var in sheet
	in.rules = s.rules
	in.rulesOf(inside, false)
	s.rules, s.full = in.rules, s.full || in.full
	if in.out.Len() > 0 {
		s.write("@media " + query + "{\n" + in.String() + "}\n")
	}
}

func (s *sheet) rule(prelude, inside string) {
	var selectors []string
	for _, one := range strings.Split(prelude, ",") {
		if sel, ok := selector(one); ok && len(selectors) < maxSelectors {
			selectors = append(selectors, sel)
		}
	}
	decls := declarations(inside)
	if len(selectors) == 0 || decls == "" {
		return
	}
	if s.rules++; s.rules > maxRules {
		s.full = true
		return
	}
	s.write(strings.Join(selectors, ",") + "{" + decls + "}\n")
}

func (s *sheet) write(rule string) {
	if s.out.Len()+len(rule) >= maxSheetBytes {
		s.full = true
		return
	}
	s.out.WriteString(rule)
}

// compound is an element with classes; selector is up to 4 of them below one another.
var compound = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9]{0,15}|\*)?((?:\.[A-Za-z_][A-Za-z0-9_-]{0,60}){0,4})(?::(?:link|visited|hover|active))?$`)

func selector(s string) (string, bool) {
	parts := strings.Fields(strings.ReplaceAll(s, ">", " "))
	if len(parts) == 0 || len(parts) > 4 {
		return "", false
	}
	for i, p := range parts {
		m := compound.FindStringSubmatch(p)
		if m == nil || p == "" {
			return "", false
		}
		name := strings.ToLower(m[1])
		if _, ok := elements[name]; !ok && name != "" && name != "*" && name != "body" && name != "html" {
			return "", false
		}
		if name == "html" {
			name = "body"
		}
		var b strings.Builder
		b.WriteString(name)
		for _, c := range strings.Split(m[2], ".")[1:] {
			id, _ := identifier(c)
			b.WriteString("." + id)
		}
		b.WriteString(p[len(m[1])+len(m[2]):])
		parts[i] = b.String()
	}
	return strings.Join(parts, " "), true
}

var widths = regexp.MustCompile(`^@media\s+(?:(?:only\s+)?(?:screen|all)(?:\s+and\s+|$))?((?:\((?:min|max)-(?:device-)?width\s*:\s*[0-9]{1,4}(?:\.[0-9]{1,3})?px\)(?:\s+and\s+)?){0,2})$`)

// mediaQuery keeps queries about widths; "@media screen" is written as "all".
func mediaQuery(prelude string) (string, bool) {
	m := widths.FindStringSubmatch(strings.ToLower(strings.TrimSpace(prelude)))
	if m == nil || strings.HasSuffix(m[1], "and ") {
		return "", false
	}
	query := strings.Join(strings.Fields(strings.ReplaceAll(m[1], "-device-", "-")), "")
	query = strings.ReplaceAll(query, ")and(", ") and (")
	if query == "" {
		return "all", true
	}
	return query, true
}
