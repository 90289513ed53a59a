package admin

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var places = regexp.MustCompile(`%(?:\[(\d)\])?([a-z])`)

// verbs gives the verb of each place of a sentence, in the order of the arguments.
func verbs(sentence string) map[int]string {
	found := map[int]string{}
	next := 1
	for _, m := range places.FindAllStringSubmatch(sentence, -1) {
		if n, err := strconv.Atoi(m[1]); err == nil {
			next = n
		}
		found[next] = m[2]
		next++
	}
	return found
}

func TestEveryRefusalIsInBothLanguages(t *testing.T) {
	for code, s := range sentences {
		assert.NotEmpty(t, s[0], code)
		assert.Regexp(t, `\p{Hiragana}|\p{Katakana}`, s[1], code)
		assert.Equal(t, verbs(s[0]), verbs(s[1]), code)
	}
}

// Every call of refuse names a code that there is, with as many values as it has places, and every code is used.
func TestEveryRefusalHasItsSentence(t *testing.T) {
	used := map[string]bool{}
	constants := map[string]string{"noTenant": noTenant, "notADomain": notADomain, "notLimited": notLimited, "operatorStopped": operatorStopped}
	look := func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if name, ok := call.Fun.(*ast.Ident); !ok || name.Name != "refuse" {
			return true
		}
		code := ""
		switch first := call.Args[0].(type) {
		case *ast.BasicLit:
			text, err := strconv.Unquote(first.Value)
			require.NoError(t, err)
			code = text
		case *ast.Ident:
			code = constants[first.Name]
		}
		require.Contains(t, sentences, code)
		assert.Len(t, call.Args[1:], len(verbs(sentences[code][0])), code)
		used[code] = true
		return true
	}
	names, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range names {
		if !strings.HasSuffix(name, "_test.go") {
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, look)
		}
	}
	for code := range sentences {
		assert.True(t, used[code], code)
	}
}

func TestARefusalIsToldInTheLanguageOfTheAsker(t *testing.T) {
	err := refuse("columns", 2000, "5m0s")
	require.EqualError(t, err, "the time must have 1 to 2000 columns of 5m0s")
	var refused *Refused
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "期間は 5m0s 単位で 1～2000 区間にしてください。", refused.In("ja"))
	assert.Equal(t, err.Error(), refused.In("fr"))
}
