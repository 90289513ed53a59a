package config

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

func (d *decoder) scalar(path string, n ast.Node, v reflect.Value) {
	if _, null := n.(*ast.NullNode); null {
		d.report(n, path, "has no value; remove the line for the default%s", emptyHint(path, v))
		return
	}
	var ok bool
	switch {
	case v.Type() == durationType:
		ok = setDuration(n, v)
	case v.Kind() == reflect.String:
		var text string
		if text, ok = textOf(n); ok {
			v.SetString(text)
		}
	case v.Kind() == reflect.Bool:
		var b *ast.BoolNode
		if b, ok = n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
		}
	case v.CanInt():
		ok = setInt(n, v)
	case v.CanFloat():
		ok = setFloat(n, v)
	default:
		panic(fmt.Sprintf("config: %s has the type %s, which the decoder does not know", path, v.Type()))
	}
	if !ok {
		d.report(n, path, "wants %s%s, not %s", wanted(v.Type()), example(v.Type()), kindOf(n))
	}
}

func emptyHint(path string, v reflect.Value) string {
	if k, _ := describe(path); v.Kind() == reflect.String && len(k.allowed) == 0 {
		return `, or write ""`
	}
	return ""
}

func example(t reflect.Type) string {
	if t == durationType {
		return " (30s, 5m, 1h30m)"
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

var durationType = reflect.TypeFor[time.Duration]()

func setDuration(n ast.Node, v reflect.Value) bool {
	text, ok := textOf(n)
	if !ok {
		return false
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return false
	}
	v.SetInt(int64(d))
	return true
}

// durationText leaves out the zeros of time.Duration's own text: 5m, not 5m0s.
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
