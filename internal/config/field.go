package config

import (
	"math"
	"reflect"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// field is one key of a section.
type field struct {
	name  string
	value reflect.Value
}

type fields []field

// fieldsOf lists the keys of a struct in the order of its declaration. Inlined structs give theirs; fields
// without a yaml tag are no keys.
func fieldsOf(v reflect.Value) fields {
	var list fields
	for i := range v.NumField() {
		name, options, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			list = append(list, fieldsOf(v.Field(i))...)
		case name != "" && name != "-":
			list = append(list, field{name, v.Field(i)})
		}
	}
	return list
}

func (f fields) index(name string) int {
	for i := range f {
		if f[i].name == name {
			return i
		}
	}
	return -1
}

func (f fields) names() []string {
	names := make([]string, len(f))
	for i := range f {
		names[i] = f[i].name
	}
	return names
}

func joinKey(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// parentKey is the path without its last name or index; empty above the top.
func parentKey(path string) string {
	i := strings.LastIndexAny(path, ".[")
	if i < 0 {
		return ""
	}
	return path[:i]
}

// wanted says what a key of this type takes.
func wanted(t reflect.Type) string {
	if t == durationType {
		return "a duration with its unit"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "keys"
	default:
		return "text"
	}
}

// kindOf says what a node is without saying what is in it: it may be a secret in the wrong place.
func kindOf(n ast.Node) string {
	switch n := n.(type) {
	case *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode:
		if u, ok := n.Value.(uint64); ok && u > math.MaxInt64 {
			return "a number that large"
		}
		return "a number"
	case *ast.FloatNode:
		return "a number with a fraction"
	case *ast.InfinityNode, *ast.NanNode:
		return "infinity or NaN"
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys"
	case *ast.StringNode:
		return kindOfText(n)
	default:
		return "text"
	}
}

// digits are what the library takes for text when they are more than fit into 64 bits.
var digits = regexp.MustCompile(`^[-+]?[0-9_]+$`)

func kindOfText(n *ast.StringNode) string {
	quoted := n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType
	switch {
	case n.Value == "":
		return "empty text"
	case quoted:
		return "text in quotes"
	case digits.MatchString(n.Value):
		return "a number that large"
	default:
		return "text"
	}
}
