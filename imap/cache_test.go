package imap

import (
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the cache counts is what it keeps in memory, whatever a stranger has put into a header.
func TestAStructureKeepsNoMoreThanItCounts(t *testing.T) {
	const n = 50
	for name, header := range map[string]string{
		"fields of no interest": "Content-Type: text/html; charset=utf-8\r\nX-A: " + strings.Repeat(strings.Repeat("x", 900)+"\r\n ", 400),
		"a long type":           "Content-Type: text/plain; x=\"" + strings.Repeat("x", 300_000) + "\"",
		"a long subject":        "Content-Type: message/rfc822\r\n\r\nSubject: " + strings.Repeat("x", 300_000),
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var kept []*part
		var counted int64
		for range n {
			p, err := readStructure(strings.NewReader(header + "\r\n\r\nbody\r\n"))
			require.NoError(t, err)
			kept, counted = append(kept, p), counted+p.bytes()
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		grown := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		runtime.KeepAlive(kept)
		require.Less(t, grown, 3*counted+2<<20, name) // a quoted value is there twice
	}
}
