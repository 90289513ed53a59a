package safe

import (
	"regexp"
	"strconv"
	"strings"
)

// maxPixels is the widest and highest that anything may be.
const maxPixels = 2000

// property says which values a CSS property may have. Anything else in a value drops the declaration: url(), expression(),
// var(), escapes, negative lengths (which lay one thing over another).
type property struct {
	words  string  // allowed words, separated by spaces
	pixels float64 // largest length in px; 0: no lengths
	number float64 // largest bare number; 0: only 0, and only if lengths are allowed
	color  bool
	family bool
	slash  bool // "12px/1.5", "1 / 2"
}

var (
	edgeWords   = "none hidden dotted dashed solid double groove ridge inset outset thin medium thick"
	edge        = property{words: edgeWords, pixels: 50, color: true}
	corner      = property{pixels: 200, slash: true}
	spacing     = property{words: "auto", pixels: 300}
	extent      = property{words: "auto none min-content max-content fit-content", pixels: maxPixels}
	colorOnly   = property{color: true}
	fontWords   = "normal italic oblique bold bolder lighter small-caps xx-small x-small small medium large x-large xx-large smaller larger"
	lineWords   = "none underline overline line-through solid double dotted dashed wavy"
	alignWords  = "left right center justify start end"
	verticals   = "baseline sub super top text-top middle bottom text-bottom"
	breakWords  = "normal break-all keep-all break-word anywhere"
	displays    = "none block inline inline-block table table-cell table-row table-row-group table-header-group table-footer-group inline-table list-item table-caption"
	listWords   = "none disc circle square decimal decimal-leading-zero lower-roman upper-roman lower-alpha upper-alpha lower-latin upper-latin cjk-decimal hiragana katakana inside outside"
	properties  = propertyTable()
	globalWords = " inherit initial unset "
)

func propertyTable() map[string]property {
	table := map[string]property{
		"background": colorOnly, "background-color": colorOnly, "color": colorOnly,
		"border-collapse": {words: "collapse separate"}, "border-radius": corner, "border-spacing": {pixels: 100},
		"border-color": {color: true}, "border-style": {words: edgeWords}, "border-width": {words: "thin medium thick", pixels: 50},
		"box-sizing": {words: "border-box content-box"}, "caption-side": {words: "top bottom"},
		"clear": {words: "none left right both"}, "direction": {words: "ltr rtl"}, "display": {words: displays},
		"empty-cells": {words: "show hide"}, "float": {words: "none left right"},
		"font":        {words: fontWords, pixels: 96, number: 900, family: true, slash: true},
		"font-family": {family: true}, "font-size": {words: fontWords, pixels: 96}, "font-style": {words: "normal italic oblique"},
		"font-variant": {words: "normal small-caps"}, "font-weight": {words: "normal bold bolder lighter", number: 1000},
		"height": extent, "max-height": extent, "max-width": extent, "min-height": extent, "min-width": extent, "width": extent,
		"letter-spacing": {words: "normal", pixels: 50}, "line-height": {words: "normal", pixels: 200, number: 6},
		"list-style": {words: listWords}, "list-style-position": {words: "inside outside"}, "list-style-type": {words: listWords},
		"overflow-wrap": {words: breakWords}, "table-layout": {words: "auto fixed"}, "text-align": {words: alignWords},
		"text-decoration": {words: lineWords, color: true}, "text-decoration-color": colorOnly, "text-decoration-line": {words: lineWords},
		"text-decoration-style": {words: lineWords}, "text-indent": {pixels: 300},
		"text-transform": {words: "none capitalize uppercase lowercase"}, "vertical-align": {words: verticals, pixels: 100},
		"white-space": {words: "normal nowrap pre pre-wrap pre-line"}, "word-break": {words: breakWords},
		"word-spacing": {words: "normal", pixels: 50}, "word-wrap": {words: breakWords},
		"margin": spacing, "padding": {pixels: 300}, "border": edge,
	}
	for _, side := range []string{"-top", "-right", "-bottom", "-left"} {
		table["margin"+side], table["padding"+side], table["border"+side] = spacing, table["padding"], edge
		for _, part := range []string{"-color", "-style", "-width"} {
			table["border"+side+part] = table["border"+part]
		}
	}
	for _, c := range []string{"-top-left", "-top-right", "-bottom-left", "-bottom-right"} {
		table["border"+c+"-radius"] = corner
	}
	return table
}

// maxDeclarations is how many declarations of one rule are kept.
const maxDeclarations = 60

// declarations rewrites the inside of a style attribute or rule: what is allowed, as "name:value;name:value".
func declarations(css string) string {
	var out []string
	size := 0
	for _, d := range splitOutside(dropComments(css), ';') {
		name, value, ok := strings.Cut(d, ":")
		if !ok || len(out) == maxDeclarations {
			continue
		}
		name = strings.ToLower(strings.TrimSpace(name))
		p, ok := properties[name]
		if !ok {
			continue
		}
		v, ok := p.value(value)
		if !ok && name == "background" {
			v, ok = backgroundColor(value)
		}
		if size += len(name) + len(v) + 2; ok && size < maxStyle {
			out = append(out, name+":"+v)
		}
	}
	return strings.Join(out, ";")
}

// backgroundColor finds the colour beside a background image: without it, white text would stand on white paper.
func backgroundColor(value string) (string, bool) {
	found := ""
	for _, word := range splitOutside(cssSpaceRun.ReplaceAllString(value, " "), ' ') {
		token, length, ok := colorOnly.token(word)
		if ok && length == len(word) && !strings.Contains(globalWords, " "+token+" ") {
			found = token
		}
	}
	return found, found != ""
}

// splitOutside splits at sep where no string and no parenthesis is open.
func splitOutside(s string, sep byte) []string {
	var parts []string
	start, depth, quote := 0, 0, byte(0)
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == quote || c == '\n' {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '(':
			depth++
		case c == ')':
			depth = max(0, depth-1)
		case c == sep && depth == 0:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// dropComments puts a space for each comment; one without an end takes the rest.
func dropComments(s string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, "/*")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		b.WriteByte(' ')
		if _, s, ok = strings.Cut(after, "*/"); !ok {
			return b.String()
		}
	}
}

// One token of a value. What does not match at the start of the rest drops the declaration.
var (
	cssSpace    = regexp.MustCompile(`^\s+`)
	cssNumber   = regexp.MustCompile(`^\+?(\d{0,6}(?:\.\d{1,8})?)([a-zA-Z]{1,4}|%)?`)
	cssHex      = regexp.MustCompile(`^#(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{6}|[0-9a-fA-F]{3,4})(?:[^0-9a-zA-Z_-]|$)`)
	cssWord     = regexp.MustCompile(`^[\p{L}_-][\p{L}\p{N}_-]{0,63}`)
	cssString   = regexp.MustCompile(`^(?:"[\p{L}\p{N} _.&+-]{1,64}"|'[\p{L}\p{N} _.&+-]{1,64}')`)
	cssColorFn  = regexp.MustCompile(`^(?i)(rgba?|hsla?)\(([0-9.,%/\s]{1,64})\)`)
	cssBang     = regexp.MustCompile(`^(?i)!\s*important\b`)
	cssSpaceRun = regexp.MustCompile(`\s+`)
)

// maxTokens is how many tokens one value may have.
const maxTokens = 60

// value rewrites a value token by token. "!important" is left out: our own marks have the last word.
func (p property) value(s string) (string, bool) {
	var b strings.Builder
	glue := true // no space before the next token
	for tokens := 0; s != ""; {
		if m := cssSpace.FindString(s); m != "" {
			s = s[len(m):]
			continue
		}
		if m := cssBang.FindString(s); m != "" {
			s = s[len(m):]
			continue
		}
		if tokens++; tokens > maxTokens {
			return "", false
		}
		if s[0] == ',' && p.family || s[0] == '/' && p.slash {
			b.WriteByte(s[0])
			s, glue = s[1:], true
			continue
		}
		token, length, ok := p.token(s)
		if !ok {
			return "", false
		}
		if !glue {
			b.WriteByte(' ')
		}
		b.WriteString(token)
		s, glue = s[length:], false
	}
	return b.String(), b.Len() > 0
}

// token rewrites the token that s begins with, and says how long it was.
func (p property) token(s string) (string, int, bool) {
	if m := cssHex.FindString(s); m != "" && p.color {
		m = strings.TrimRight(m, ",;/!()'\" \t\n")
		return strings.ToLower(m), len(m), true
	}
	if m := cssColorFn.FindStringSubmatch(s); m != nil {
		inside := strings.TrimSpace(cssSpaceRun.ReplaceAllString(m[2], " "))
		return strings.ToLower(m[1]) + "(" + inside + ")", len(m[0]), p.color
	}
	if m := cssNumber.FindStringSubmatch(s); m != nil && m[1] != "" && m[1] != "." {
		v, ok := p.length(m[1], strings.ToLower(m[2]))
		return v, len(m[0]), ok
	}
	if m := cssString.FindString(s); m != "" {
		return "'" + m[1:len(m)-1] + "'", len(m), p.family
	}
	if m := cssWord.FindString(s); m != "" && !strings.HasPrefix(s[len(m):], "(") {
		return p.word(m)
	}
	return "", 0, false
}

func (p property) word(m string) (string, int, bool) {
	low := strings.ToLower(m)
	known := strings.Contains(" "+p.words+globalWords, " "+low+" ")
	switch {
	case known, p.color && strings.Contains(colorNames, " "+low+" "):
		return low, len(m), true
	}
	return m, len(m), p.family
}

// unitPixels is about how many px one unit is, for the bounds.
var unitPixels = map[string]float64{"px": 1, "pt": 4.0 / 3, "pc": 16, "in": 96, "cm": 37.8, "mm": 3.78, "em": 16, "rem": 16, "ex": 8, "ch": 8}

// length bounds a number: bare, in a unit, or per cent.
func (p property) length(digits, unit string) (string, bool) {
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return "", false
	}
	if unit == "" {
		return format6(min(n, p.number)), n == 0 && p.pixels > 0 || p.number > 0
	}
	if p.pixels == 0 {
		return "", false
	}
	most := 100.0
	if unit != "%" {
		px, ok := unitPixels[unit]
		if !ok {
			return "", false
		}
		most = p.pixels / px
	} else if p.pixels < maxPixels {
		most = 400 // per cent of a font's size, not of the page
	}
	return format6(min(n, most)) + unit, true
}

func format6(n float64) string {
	s := strconv.FormatFloat(n, 'f', 4, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}
