package auth

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLRUForgetsTheLeastRecentlyUsed(t *testing.T) {
	l := newLRU[string, int](2)
	count := func(key string) int { return l.update(key, func(old int, _ bool) int { return old + 1 }) }
	require.Equal(t, 1, count("a"))
	require.Equal(t, 1, count("b"))
	require.Equal(t, 2, count("a"))
	require.Equal(t, 1, count("c"), "b goes, a was used since")
	require.Equal(t, 3, count("a"))
	require.Equal(t, 1, count("b"))
	require.Len(t, l.byKey, 2)
	for i := range 1000 {
		count(string(rune('A' + i)))
	}
	require.Len(t, l.byKey, 2)
}
