package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// A decoder puts a YAML document into a Config and notes every finding instead of stopping at the first one,
// which is what the library's own decoder does.
type decoder struct {
	src      Source
	findings Findings
}

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
		name := printable(text.Value)
		key := joinKey(path, name)
		if line, twice := seen[key]; twice {
			d.report(v.Key, key, "given twice; the first is in line %d", line)
			continue
		}
		p := positionOf(v.Key.GetToken())
		seen[key], d.src.positions[key] = p.line, p
		entries = append(entries, entry{name: name, key: v.Key, value: v.Value})
	}
	return entries
}

// printable is a name as findings may cite it: short and on one line. Such a name is no key of ours anyway.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) || name == "" {
		return strconv.Quote(clip(name))
	}
	return clip(name)
}
