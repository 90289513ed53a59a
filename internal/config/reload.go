package config

import (
	"reflect"
	"strings"
)

// Diff lists the keys that differ between two configurations, in the order of the file: live ones apply on
// reload, the others need a restart. A list counts as one key. Values are not told.
func Diff(old, new *Config) (live, restart []string) {
	before := map[string]any{}
	walk("", reflect.ValueOf(old).Elem(), func(path string, v reflect.Value) { before[path] = v.Interface() })
	seen := map[string]bool{}
	walk("", reflect.ValueOf(new).Elem(), func(path string, v reflect.Value) {
		seen[path] = true
		if strings.Contains(path, "[") || reflect.DeepEqual(before[path], v.Interface()) {
			return
		}
		if k, _ := describe(path); k.live {
			live = append(live, path)
		} else {
			restart = append(restart, path)
		}
	})
	return live, restart
}
