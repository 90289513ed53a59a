package ui_test

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var netipZero = netip.MustParseAddr("192.0.2.7")

func catalogue(t *testing.T, language string) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("text/" + language + ".json")
	require.NoError(t, err)
	var words map[string]string
	require.NoError(t, json.Unmarshal(raw, &words))
	return words
}

var placeholder = regexp.MustCompile(`\{[a-z_]+\}`)

func TestBothLanguagesSayTheSameThings(t *testing.T) {
	en, ja := catalogue(t, "en"), catalogue(t, "ja")
	for key, text := range en {
		other, ok := ja[key]
		require.True(t, ok, "ja has no %s", key)
		require.NotEmpty(t, strings.TrimSpace(text), key)
		require.NotEmpty(t, strings.TrimSpace(other), key)
		want, got := placeholder.FindAllString(text, -1), placeholder.FindAllString(other, -1)
		slices.Sort(want)
		slices.Sort(got)
		require.Equal(t, want, got, key)
	}
	for key := range ja {
		require.Contains(t, en, key)
	}
}

// keysUsed are keys as they stand in templates and code; those that end in a dot begin a family.
var keysUsed = regexp.MustCompile(`(?:\bT\s*\(?\s*(?:\(print )?|print )"([a-z_]+\.[a-z_.]*)"`)

func TestEveryKeyIsUsedAndThere(t *testing.T) {
	words, used := catalogue(t, "en"), map[string]bool{}
	var families []string
	files, err := filepath.Glob("templates/*.html")
	require.NoError(t, err)
	code, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range append(files, code...) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		raw, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, m := range keysUsed.FindAllStringSubmatch(string(raw), -1) {
			if strings.HasSuffix(m[1], ".") {
				families = append(families, m[1])
				continue
			}
			require.Contains(t, words, m[1], name)
			used[m[1]] = true
		}
	}
	require.Greater(t, len(used), 100)
	for key := range words {
		base := strings.TrimSuffix(key, ".one")
		known := used[base] || key == "skip" || slices.ContainsFunc(families, func(f string) bool { return strings.HasPrefix(base, f) })
		require.True(t, known, "nobody says %s", key)
	}
}
