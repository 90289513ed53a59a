package imap

import (
	"container/list"
	"sync"

	"github.com/mairust/mairust/store"
)

// cache keeps what was parsed of messages, up to a number of bytes; the least recently used goes first. Objects never
// change, so nothing in it grows old.
type cache struct {
	metrics *metrics
	max     int64

	mu      sync.Mutex
	bytes   int64
	entries map[cacheKey]*list.Element
	// order has the most recently used at its front.
	order list.List
}

type cacheKey struct {
	id store.MessageID
	// what: 'e' for the envelope as it is written, 's' for the structure.
	what byte
}

type cacheEntry struct {
	key   cacheKey
	value any
	bytes int64
}

// entryBytes is what an entry takes beside its value.
const entryBytes = 250

func newCache(maxBytes int64, m *metrics) *cache {
	return &cache{metrics: m, max: maxBytes, entries: map[cacheKey]*list.Element{}}
}

func (c *cache) get(key cacheKey) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key]
	if e == nil {
		c.metrics.cache.WithLabelValues("miss").Inc()
		return nil, false
	}
	c.metrics.cache.WithLabelValues("hit").Inc()
	c.order.MoveToFront(e)
	return entryOf(e).value, true
}

func (c *cache) put(key cacheKey, value any, bytes int64) {
	bytes += entryBytes
	if bytes > c.max/8 {
		return // one hostile message must not empty the cache
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[key] != nil {
		return
	}
	c.entries[key] = c.order.PushFront(&cacheEntry{key, value, bytes})
	c.bytes += bytes
	for c.bytes > c.max {
		oldest := entryOf(c.order.Remove(c.order.Back()))
		delete(c.entries, oldest.key)
		c.bytes -= oldest.bytes
	}
}

func entryOf(v any) *cacheEntry {
	if e, ok := v.(*list.Element); ok {
		v = e.Value
	}
	entry, _ := v.(*cacheEntry) // nothing else is put in
	return entry
}

// bytes is about what a structure takes in memory.
func (p *part) bytes() int64 {
	n := 400 + p.keptBytes + 32*int64(len(p.params)+len(p.dispositionParams))
	if e := p.envelope; e != nil {
		n += 400 + 100*int64(len(e.from)+len(e.sender)+len(e.replyTo)+len(e.to)+len(e.cc)+len(e.bcc))
	}
	for _, child := range p.children {
		n += child.bytes()
	}
	return n
}
