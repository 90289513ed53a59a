package auth

import (
	"container/list"
	"sync"
)

// lru is a map of at most max entries that forgets the least recently used.
type lru[K comparable, V any] struct {
	mu    sync.Mutex
	max   int
	order *list.List // of *entry[K, V], most recent first
	byKey map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](limit int) *lru[K, V] {
	return &lru[K, V]{max: limit, order: list.New(), byKey: map[K]*list.Element{}}
}

// update replaces the value under key by what change makes of it, and answers with the new value.
func (l *lru[K, V]) update(key K, change func(old V, ok bool) V) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.byKey[key]; ok {
		l.order.MoveToFront(at)
		e := at.Value.(*entry[K, V])
		e.value = change(e.value, true)
		return e.value
	}
	var zero V
	e := &entry[K, V]{key: key, value: change(zero, false)}
	l.byKey[key] = l.order.PushFront(e)
	if l.order.Len() > l.max {
		oldest := l.order.Remove(l.order.Back()).(*entry[K, V])
		delete(l.byKey, oldest.key)
	}
	return e.value
}
