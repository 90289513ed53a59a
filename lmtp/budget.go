package lmtp

import "sync/atomic"

// budget bounds the memory that the spools of all sessions use together. It is a bound on bytes held; each session may
// have a block more. Usable from many goroutines.
type budget struct{ left atomic.Int64 }

func newBudget(bytes int64) *budget {
	b := &budget{}
	b.left.Store(bytes)
	return b
}

// take takes n bytes; false when so many are not left, and then none are taken.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

// give gives back n bytes that were taken.
func (b *budget) give(n int64) { b.left.Add(n) }
