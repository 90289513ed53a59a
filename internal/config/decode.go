package config

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// A decoder puts a YAML document into a Config and notes every finding instead of stopping at the first one,
// which is what the library's own decoder does.
type decoder struct {
	src      Source
	findings Findings
}

const (
	// maxTokens bounds the parser's work, which grows with the square of them: this many take below a second.
	maxTokens = 50_000
	// maxDepth bounds brackets inside brackets; the deepest honest key is at 7.
	maxDepth = 32
)

func (d *decoder) report(n ast.Node, key, format string, args ...any) {
	p := positionOf(n.GetToken())
	d.findings = append(d.findings, Finding{
		File: d.src.String(), Line: p.line, Col: p.col, Key: key, Problem: fmt.Sprintf(format, args...),
	})
}

func (d *decoder) reportFile(p position, format string, args ...any) {
	d.findings = append(d.findings, Finding{
		File: d.src.String(), Line: p.line, Col: p.col, Problem: fmt.Sprintf(format, args...),
	})
}

func positionOf(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{t.Position.Line, t.Position.Column}
}

// document decodes the one YAML document in data. An empty one changes nothing.
func (d *decoder) document(data []byte, c *Config) {
	file := d.syntax(data)
	if file == nil {
		return
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc.Body != nil {
			bodies = append(bodies, doc.Body)
		}
	}
	if len(bodies) > 1 {
		d.report(bodies[1], "", "a second document starts here; a configuration is one document, so remove the \"---\" and what follows")
	}
	if len(bodies) > 0 {
		d.value("", bodies[0], reflect.ValueOf(c).Elem())
	}
}

// syntax returns nil when data is not YAML that we would look into; the reason is then among the findings.
func (d *decoder) syntax(data []byte) *ast.File {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
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
	problem := quoted.ReplaceAllString(syntax.GetMessage(), "(value)")
	d.reportFile(positionOf(syntax.GetToken()), "not YAML: %s", problem)
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

// value decodes n into v, which stays as it was when n does not fit.
func (d *decoder) value(path string, n ast.Node, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		d.value(path, n, fresh.Elem())
		v.Set(fresh)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.structValue(path, n, v)
	case reflect.Slice:
		d.list(path, n, v)
	case reflect.Map:
		d.mapValue(path, n, v)
	default:
		d.scalar(path, n, v)
	}
}

func (d *decoder) structValue(path string, n ast.Node, v reflect.Value) {
	entries, ok := d.entries(path, n)
	if !ok {
		return
	}
	fields := fieldsOf(v)
	for _, e := range entries {
		key := joinKey(path, e.name)
		i := fields.index(e.name)
		if i < 0 {
			d.report(e.key, key, "%s", unknownKey(path, e.name, fields.names()))
			continue
		}
		d.value(key, e.value, fields[i].value)
	}
}

func (d *decoder) mapValue(path string, n ast.Node, v reflect.Value) {
	entries, ok := d.entries(path, n)
	if !ok {
		return
	}
	m := reflect.MakeMap(v.Type())
	for _, e := range entries {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(joinKey(path, e.name), e.value, item)
		m.SetMapIndex(reflect.ValueOf(e.name).Convert(v.Type().Key()), item)
	}
	v.Set(m)
}

func (d *decoder) list(path string, n ast.Node, v reflect.Value) {
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.SequenceNode:
		list := reflect.MakeSlice(v.Type(), len(n.Values), len(n.Values))
		for i, item := range n.Values {
			key := fmt.Sprintf("%s[%d]", path, i)
			d.src.positions[key] = positionOf(first(item))
			d.value(key, item, list.Index(i))
		}
		v.Set(list)
	default:
		d.report(n, path, "wants a list (lines that start with \"- \"), not %s", kindOf(n))
	}
}

// first is the token where a node starts; a map's own token is its first colon.
func first(n ast.Node) *token.Token {
	if m, ok := n.(*ast.MappingNode); ok && len(m.Values) > 0 && !m.IsFlowStyle {
		return m.Values[0].Key.GetToken()
	}
	return n.GetToken()
}

// entry is one line "name: value" of a map.
type entry struct {
	name  string
	key   ast.Node
	value ast.Node
}

// entries lists a map's lines without the second of two equal keys. It is false when n is not a map; null is
// taken for an empty one, because a section may have all its lines commented out.
func (d *decoder) entries(path string, n ast.Node) ([]entry, bool) {
	var values []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.NullNode:
		return nil, true
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{n}
	default:
		d.report(n, path, "wants keys (lines like \"key: value\"), not %s", kindOf(n))
		return nil, false
	}
	return d.unique(path, values), true
}

func (d *decoder) unique(path string, values []*ast.MappingValueNode) []entry {
	seen := map[string]int{}
	entries := make([]entry, 0, len(values))
	for _, v := range values {
		text, ok := v.Key.(ast.Node).(*ast.StringNode)
		if !ok {
			d.report(v.Key, path, "a key must be a plain word")
			continue
		}
		key := joinKey(path, text.Value)
		if line, twice := seen[key]; twice {
			d.report(v.Key, key, "given twice; the first is in line %d", line)
			continue
		}
		p := positionOf(v.Key.GetToken())
		seen[key], d.src.positions[key] = p.line, p
		entries = append(entries, entry{name: text.Value, key: v.Key, value: v.Value})
	}
	return entries
}

func (d *decoder) scalar(path string, n ast.Node, v reflect.Value) {
	if _, null := n.(*ast.NullNode); null {
		d.report(n, path, "has no value; remove the line for the default%s", emptyHint(v))
		return
	}
	var ok bool
	switch v.Kind() {
	case reflect.String:
		var text string
		if text, ok = textOf(n); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		var b *ast.BoolNode
		if b, ok = n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		ok = setInt(n, v)
	case reflect.Float64:
		ok = setFloat(n, v)
	default:
		panic(fmt.Sprintf("config: %s has the type %s, which the decoder does not know", path, v.Type()))
	}
	if !ok {
		d.report(n, path, "wants %s, not %s", wanted(v.Type()), kindOf(n))
	}
}

func emptyHint(v reflect.Value) string {
	if v.Kind() == reflect.String {
		return `, or write ""`
	}
	return ""
}

// textOf takes numbers as they are written, so that socket_mode: 0660 and a password of digits need no quotes.
func textOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode:
		return strings.TrimSpace(n.GetToken().Value), true
	}
	return "", false
}

func setInt(n ast.Node, v reflect.Value) bool {
	i, ok := n.(*ast.IntegerNode)
	if !ok {
		return false
	}
	var value int64
	switch x := i.Value.(type) {
	case int64:
		value = x
	case uint64:
		if x > math.MaxInt64 {
			return false
		}
		value = int64(x)
	default:
		return false
	}
	if v.OverflowInt(value) {
		return false
	}
	v.SetInt(value)
	return true
}

func setFloat(n ast.Node, v reflect.Value) bool {
	switch n := n.(type) {
	case *ast.FloatNode:
		v.SetFloat(n.Value)
	case *ast.IntegerNode:
		i := reflect.New(reflect.TypeFor[int64]()).Elem()
		if !setInt(n, i) {
			return false
		}
		v.SetFloat(float64(i.Int()))
	default:
		return false
	}
	return true
}
