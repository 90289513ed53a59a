package auth

import "sync"

// lru is a map of at most limit entries that forgets the least recently used.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	limit int
	byKey map[K]*entry[K, V]
	// ends is the seam of a ring: next is the most recent, prev the least.
	ends entry[K, V]
}

type entry[K comparable, V any] struct {
	key        K
	value      V
	prev, next *entry[K, V]
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	l := &lru[K, V]{limit: limit, byKey: map[K]*entry[K, V]{}}
	l.ends.prev, l.ends.next = &l.ends, &l.ends
	return l
}

// update replaces the value under key by what change makes of it, and answers with the new value.
func (l *lru[K, V]) update(key K, change func(old V, ok bool) V) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byKey[key]
	if ok {
		e.unlink()
	} else {
		e = &entry[K, V]{key: key}
		l.byKey[key] = e
	}
	e.value = change(e.value, ok)
	e.prev, e.next = &l.ends, l.ends.next
	e.prev.next, e.next.prev = e, e
	if oldest := l.ends.prev; len(l.byKey) > l.limit {
		oldest.unlink()
		delete(l.byKey, oldest.key)
	}
	return e.value
}

// get gives the value under key; it counts as no use.
func (l *lru[K, V]) get(key K) (V, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.byKey[key]
	if !ok {
		var none V
		return none, false
	}
	return e.value, true
}

func (e *entry[K, V]) unlink() { e.prev.next, e.next.prev = e.next, e.prev }
