package config

import (
	"math"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

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
