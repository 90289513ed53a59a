package journal

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

// segmentOf makes the content of a segment.
func segmentOf(use uint64, records ...record) []byte {
	b := headerBlock(use)
	for i, r := range records {
		head := r.head()
		stamp(head, use, uint64(i+1))
		b = append(append(b, head...), r.body...)
		b = append(b, make([]byte, padded(len(b))-int64(len(b)))...)
	}
	return b
}

func TestRecordsOfAnEarlierUseDoNotCount(t *testing.T) {
	old := segmentOf(7, record{kind: kindPut, keys: []string{"a"}, body: []byte("x")}, record{kind: kindPut, keys: []string{"b"}, body: []byte("y")})
	now := segmentOf(8, record{kind: kindPut, keys: []string{"c"}, body: []byte("z")})
	records := parseSegment(append(now, old[len(now):]...))
	require.Len(t, records, 1)
	require.Equal(t, []string{"c"}, records[0].keys)
	require.Empty(t, parseSegment(append(headerBlock(0), old[blockBytes:]...)))
}

// FuzzParseSegment feeds what may lie on a disk: nothing may panic, and what is read is what was written.
func FuzzParseSegment(f *testing.F) {
	f.Add(segmentOf(1, record{kind: kindPut, keys: []string{"t/m/a", "t/n/b"}, body: []byte("body")}), []byte("body"), 600, byte(1))
	f.Add(segmentOf(1, record{kind: kindVoid, body: []byte("1")}), []byte{}, 0, byte(0))
	f.Fuzz(func(t *testing.T, raw, body []byte, at int, flip byte) {
		for _, r := range parseSegment(raw) {
			require.LessOrEqual(t, len(r.body), MaxBody)
		}
		if len(body) > MaxBody {
			return
		}
		good := segmentOf(5, record{kind: kindPut, keys: []string{"k"}, body: body}, record{kind: kindDelete, keys: []string{"l", ""}})
		records := parseSegment(good)
		require.Len(t, records, 2)
		require.True(t, bytes.Equal(body, records[0].body))
		require.Equal(t, []string{"l", ""}, records[1].keys)
		if at >= 0 && at < len(good) && flip != 0 {
			good[at] ^= flip
			for _, r := range parseSegment(good) { // a damaged record is no record
				require.True(t, r.kind == kindDelete || bytes.Equal(body, r.body))
			}
		}
	})
}

// Whoever sends a message writes what is behind the first block.
func TestADamagedHeaderIsNotReplacedByWhatABodyHolds(t *testing.T) {
	r := record{kind: kindPut, keys: []string{"a"}, body: bytes.Repeat([]byte("x"), 3*blockBytes)}
	head := r.head()
	stamp(head, 7, 1)
	segment := append(headerBlock(7), append(head, r.body...)...)
	forged := (&record{kind: kindDelete, keys: []string{"b"}}).head()
	stamp(forged, 8, 1<<60)
	copy(segment[3*blockBytes:], forged)
	segment[9] ^= 1
	use, damaged := parseHeader(segment)
	require.True(t, damaged)
	require.Equal(t, uint64(7), use)
	use, damaged = parseHeader(make([]byte, len(segment)))
	require.False(t, damaged, "one that was never used")
	require.Zero(t, use)
}
