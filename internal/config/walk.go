package config

import (
	"fmt"
	"reflect"
)

// walk calls leaf for each key that is not a section, in the order of the structs, with its path as in findings.
// Lists of sections are visited as a whole first and then item by item.
func walk(path string, v reflect.Value, leaf func(path string, v reflect.Value)) {
	switch {
	case v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct:
		if !v.IsNil() {
			walk(path, v.Elem(), leaf)
		}
	case v.Kind() == reflect.Struct:
		for _, f := range fieldsOf(v) {
			walk(joinKey(path, f.name), f.value, leaf)
		}
	case isList(v.Type()):
		leaf(path, v)
		for i := range v.Len() {
			walk(fmt.Sprintf("%s[%d]", path, i), v.Index(i), leaf)
		}
	default:
		leaf(path, v)
	}
}

// isList reports whether t is a list whose items have keys of their own.
func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct
}
