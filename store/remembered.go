package store

import (
	"sync"
	"time"
)

// remembered holds what was found in the database lately, in memory that is bounded by size and time. Whoever uses it must be
// safe with what is no longer so.
type remembered[K comparable, V any] struct {
	now func() time.Time
	// size is how many are in each of the two maps at most; age is for how long an entry counts.
	size int
	age  time.Duration

	mu sync.Mutex
	// recent takes what is found; before is what recent was until it grew old or full. So who has more than there is room for
	// forgets some, not all at once, and what nobody asks for goes.
	recent, before map[K]dated[V]
	since          time.Time
	// forgotten is how often all was forgotten.
	forgotten int
}

type dated[V any] struct {
	value V
	until time.Time
}

func (r *remembered[K, V]) get(key K) (V, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.recent[key]
	if !ok {
		e, ok = r.before[key]
	}
	if !ok || r.now().After(e.until) {
		var none V
		return none, false
	}
	return e.value, true
}

// asOf is to be called before what is put is read, and goes with it.
func (r *remembered[K, V]) asOf() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.forgotten
}

// put remembers what was read, unless all was forgotten since.
func (r *remembered[K, V]) put(key K, value V, asOf int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if asOf != r.forgotten {
		return
	}
	now := r.now()
	if r.recent == nil || len(r.recent) >= r.size || now.Sub(r.since) >= r.age {
		r.recent, r.before, r.since = map[K]dated[V]{}, r.recent, now
	}
	r.recent[key] = dated[V]{value, now.Add(r.age)}
}

func (r *remembered[K, V]) forget(key K) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.recent, key)
	delete(r.before, key)
}

func (r *remembered[K, V]) forgetAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recent, r.before = nil, nil
	r.forgotten++
}
