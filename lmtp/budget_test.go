package lmtp

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSpoolsOfAllSessionsShareOneMemory(t *testing.T) {
	const each, total = 1 << 10, 4 << 10
	b := newBudget(total)
	content := bytes.Repeat([]byte("x"), each)
	var spools []*spool
	for range 10 {
		s := newSpool(t.TempDir(), each, b)
		for _, piece := range [][]byte{content[:100], content[100:]} {
			_, err := s.Write(piece)
			require.NoError(t, err)
		}
		spools = append(spools, s)
	}
	inMemory := 0
	for _, s := range spools {
		if s.file == nil {
			inMemory++
		}
		got, err := io.ReadAll(s.reader())
		require.NoError(t, err)
		require.Equal(t, content, got)
	}
	require.Equal(t, 4, inMemory, "the budget holds four")
	for _, s := range spools {
		require.NoError(t, s.close())
	}
	require.Equal(t, int64(total), b.left.Load(), "all is given back")
}

func TestBudgetIsNeverOverdrawn(t *testing.T) {
	b := newBudget(100)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 1000 {
				if b.take(30) {
					b.give(30)
				}
			}
		})
	}
	group.Wait()
	require.Equal(t, int64(100), b.left.Load())
	require.True(t, b.take(100))
	require.False(t, b.take(1))
}
