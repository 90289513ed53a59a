package config

import (
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/listen"
)

// TestEveryKeyIsDescribedOnce compares the table of keys with the structs, in both directions and in order.
func TestEveryKeyIsDescribedOnce(t *testing.T) {
	var want []string
	var collect func(path string, t reflect.Type)
	collect = func(path string, rt reflect.Type) {
		for _, f := range fieldsOf(reflect.New(rt).Elem()) {
			p := joinKey(path, f.name)
			if tablePath(p) != p {
				continue
			}
			want = append(want, p)
			ft := f.value.Type()
			switch {
			case isList(ft):
				collect(p+"[]", ft.Elem())
			case ft.Kind() == reflect.Pointer && isSection(ft):
				collect(p, ft.Elem())
			case isSection(ft):
				collect(p, ft)
			}
		}
	}
	collect("", reflect.TypeFor[Config]())
	collect("listeners[]", reflect.TypeFor[listen.Options]())
	var got []string
	for _, k := range keys {
		require.NotEmpty(t, k.doc, k.path)
		got = append(got, k.path)
	}
	require.Equal(t, want, got)
}

func TestDefaultsDependOnTheUser(t *testing.T) {
	root, other := newDefault(true), newDefault(false)
	require.Equal(t, "/var/lib/mairust", root.DataDir)
	require.Equal(t, "/run/mairust", root.RunDir)
	require.Equal(t, "unix:/run/mairust/milter.sock", root.Milter.Listeners[0].Address)
	require.Equal(t, "./mairust-data", other.DataDir)
	require.Equal(t, "./mairust-data/run", other.RunDir)
	require.Equal(t, "file:./mairust-data/keyring", other.Secrets.Keyring)
	require.Equal(t, "unix:./mairust-data/run/milter.sock", other.Milter.Listeners[0].Address)
	for _, c := range []*Config{root, other} {
		require.NoError(t, c.Check(Source{}))
	}

	c, _, err := parse(Source{Path: "x"}, []byte("data_dir: /srv/mairust"), true)
	require.NoError(t, err)
	require.Equal(t, "/srv/mairust/run", c.RunDir)
}

func TestNearest(t *testing.T) {
	candidates := []string{"url", "path", "max_connections", "listeners"}
	for name, want := range map[string]string{
		"urll": "url", "ulr": "url", "URL": "url", "u": "", "pth": "path", "maxconnections": "max_connections",
		"listener": "listeners", "completely_else": "", "": "", "日本語": "",
	} {
		require.Equal(t, want, nearest(name, candidates), name)
	}
}
