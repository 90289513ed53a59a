package config

import (
	"reflect"
	"slices"
	"strings"
)

// Diff lists the keys that differ between two configurations, in the order of the file: live ones apply on
// reload, the others need a restart. A list counts as one key, and so does a section that only one of them has. Values are not told.
func Diff(old, new *Config) (live, restart []string) {
	before, after := leaves(old), leaves(new)
	told := map[string]bool{}
	tell := func(path string) {
		if told[path] {
			return
		}
		told[path] = true
		if k, _ := describe(path); k.live {
			live = append(live, path)
		} else {
			restart = append(restart, path)
		}
	}
	for _, path := range after.list {
		if was, ok := before.values[path]; !ok {
			tell(before.missing(path))
		} else if !reflect.DeepEqual(was, after.values[path]) {
			tell(path)
		}
	}
	for _, path := range before.list {
		if _, ok := after.values[path]; !ok {
			tell(after.missing(path))
		}
	}
	return live, restart
}

// valuesByPath are the values of a configuration, and their paths in the order of the file.
type valuesByPath struct {
	list   []string
	values map[string]any
}

func leaves(c *Config) valuesByPath {
	v := valuesByPath{values: map[string]any{}}
	walk("", reflect.ValueOf(c).Elem(), func(path string, value reflect.Value) {
		if !strings.Contains(path, "[") {
			v.list = append(v.list, path)
			v.values[path] = value.Interface()
		}
	})
	return v
}

// missing is the outermost section of a path that v does not have, or the path.
func (v valuesByPath) missing(path string) string {
	for i, c := range path {
		if c == '.' && !slices.ContainsFunc(v.list, func(l string) bool { return strings.HasPrefix(l, path[:i+1]) }) {
			return path[:i]
		}
	}
	return path
}
