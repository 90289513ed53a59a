package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxTokens bounds the parser's work, which grows with the square of them: this many take below a second.
	maxTokens = 50_000
	// maxDepth bounds brackets inside brackets; the deepest honest key is at 7.
	maxDepth = 32
)

// syntax returns nil when data is not YAML that we would look into; the reason is then among the findings.
func (d *decoder) syntax(data []byte) *ast.File {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")) // the library counts some of them as two lines
	if p, ok := badText(data); ok {
		d.reportFile(p, "not UTF-8 text; save the file as UTF-8")
		return nil
	}
	if p, ok := tabIndent(data); ok {
		d.reportFile(p, "a tab stands in the indentation; YAML allows spaces only")
		return nil
	}
	tokens := lexer.Tokenize(string(data))
	if p, problem := tooMuch(tokens); problem != "" {
		d.reportFile(p, "%s", problem)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.reportSyntax(err)
		return nil
	}
	return file
}

// quoted finds what the parser cites from the file, which may be a secret.
var quoted = regexp.MustCompile(`"[^"]*"`)

func (d *decoder) reportSyntax(err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		d.reportFile(position{1, 1}, "not YAML that can be read")
		return
	}
	hint := ""
	if strings.Contains(syntax.GetMessage(), "not allowed in this context") {
		hint = "; check the indentation, and put a value with \": \" or \" #\" in it in quotes"
	}
	problem := quoted.ReplaceAllString(syntax.GetMessage(), "(value)")
	d.reportFile(positionOf(syntax.GetToken()), "not YAML: %s%s", problem, hint)
}

func badText(data []byte) (position, bool) {
	p := position{1, 1}
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == 0 || r == utf8.RuneError && size == 1 {
			return p, true
		}
		p.col++
		if r == '\n' {
			p = position{p.line + 1, 1}
		}
		i += size
	}
	return position{}, false
}

// tabIndent finds the first line that is indented with a tab. Lines inside block scalars count as well: a tab
// there is legal YAML, but no value of ours needs one.
func tabIndent(data []byte) (position, bool) {
	line := 0
	for l := range bytes.Lines(data) {
		line++
		indent := len(l) - len(bytes.TrimLeft(l, " \t"))
		tab := bytes.IndexByte(l[:indent], '\t')
		rest := bytes.TrimSpace(l)
		if tab >= 0 && len(rest) > 0 && rest[0] != '#' {
			return position{line, tab + 1}, true
		}
	}
	return position{}, false
}

// tooMuch finds what a configuration never needs and what makes parsing slow or a small file large.
func tooMuch(tokens token.Tokens) (position, string) {
	depth := 0
	for i, t := range tokens {
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return positionOf(t), "anchors (&), aliases (*) and merges (<<) are not allowed; write the value out, in quotes if it starts with & or *"
		case token.TagType:
			return positionOf(t), "tags (!) are not allowed; put the value in quotes if it starts with !"
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		}
		if depth > maxDepth {
			return positionOf(t), fmt.Sprintf("brackets are nested more than %d deep", maxDepth)
		}
		if i >= maxTokens {
			return positionOf(t), fmt.Sprintf("more than %d YAML elements", maxTokens)
		}
	}
	return position{}, ""
}
