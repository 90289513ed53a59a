package outbound

import (
	"container/list"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// states remembers accounts in this process, the least recently sending of which give way when there are too many. With
// shared state it is the copy that this node goes on with while that is away.
type states struct {
	seed    maphash.Seed
	shards  [shardCount]shard
	evicted prometheus.Counter
	// onEvict takes what is known of an account that gives way.
	onEvict func(e *entry)
	stopped atomic.Int64 // accounts at the hard limit
}

const shardCount = 64

type shard struct {
	mu      sync.Mutex
	entries map[policy.Account]*entry
	recent  list.List // *entry, most recently used first
	most    int
}

// entry is what is known of one account.
type entry struct {
	account policy.Account
	place   *list.Element
	users   int // who hold it now; guarded by the shard

	hard atomic.Bool

	mu sync.Mutex
	// known is what is remembered; pending are events decided here that the shared state does not know yet.
	known
	pending []pending
	// missed are events, as records, that happened to a state begun anew; they happen to that of the database when it answers.
	missed [][]byte
	loaded bool      // the database has been asked, or need not be
	asked  time.Time // the last time that it was asked in vain
	// journalled and stored say that file and database have it as it is.
	journalled, stored bool
}

// unsaved tells whether the database is to get the state of a held entry.
func (e *entry) unsaved() bool { return !e.stored && e.state != nil && !e.anew }

// known is the state of an account as it is kept everywhere.
type known struct {
	tenant store.TenantID
	// revision is the LevelRevision of the account's row in the database that the state knows of.
	revision int64
	state    []byte // the engine's encoding; nil for an account that nothing is known of
	// anew says that the database could not be asked when the state was begun: it must not replace the one there.
	anew bool
}

// pending is an event that was decided here alone.
type pending struct {
	event policy.Event
	nowUS int64
}

// maxPending bounds the events of one account that wait for the shared state; the oldest are then left out.
const maxPending = 64

func newStates(most int, evicted prometheus.Counter) *states {
	if most <= 0 {
		most = 100_000
	}
	s := &states{seed: maphash.MakeSeed(), evicted: evicted, onEvict: func(*entry) {}}
	for i := range s.shards {
		s.shards[i].entries = map[policy.Account]*entry{}
		s.shards[i].most = max(most/shardCount, 1)
	}
	return s
}

func (s *states) shard(a policy.Account) *shard {
	return &s.shards[maphash.String(s.seed, string(a))%shardCount]
}

// hold gives the entry of an account, locked, making it when there is none. It stays until release.
func (s *states) hold(a policy.Account) *entry {
	sh := s.shard(a)
	sh.mu.Lock()
	e := sh.entries[a]
	if e == nil {
		e = &entry{account: a, journalled: true, stored: true}
		sh.entries[a], e.place = e, sh.recent.PushFront(e)
	} else {
		sh.recent.MoveToFront(e.place)
	}
	e.users++
	out := s.evict(sh)
	sh.mu.Unlock()
	for _, old := range out {
		s.evicted.Inc()
		s.onEvict(old)
	}
	e.mu.Lock()
	return e
}

// release unlocks an entry.
func (s *states) release(e *entry) {
	e.mu.Unlock()
	sh := s.shard(e.account)
	sh.mu.Lock()
	e.users--
	sh.mu.Unlock()
}

// evict takes out the least recently used entries that are too many, except those that are stopped, in use or not yet merged.
func (s *states) evict(sh *shard) (out []*entry) {
	for p := sh.recent.Back(); p != nil && len(sh.entries) > sh.most; {
		e, before := p.Value.(*entry), p.Prev()                    //nolint:errcheck // it holds nothing else
		if e.users == 0 && !e.hard.Load() && len(e.pending) == 0 { // without users nobody changes it
			sh.recent.Remove(p)
			delete(sh.entries, e.account)
			out = append(out, e)
		}
		p = before
	}
	return out
}

// put changes what is known of a held entry.
func (s *states) put(e *entry, k known, level policy.Level) {
	e.known, e.loaded = k, !k.anew
	if e.loaded {
		e.missed = nil
	}
	e.journalled, e.stored = false, false
	hard := level == policy.HardLimit
	if e.hard.Swap(hard) != hard {
		if hard {
			s.stopped.Add(1)
		} else {
			s.stopped.Add(-1)
		}
	}
}

// restore takes what a file remembers.
func (s *states) restore(a policy.Account, k known) {
	st, err := policy.ParseState(k.state)
	if err != nil {
		return
	}
	e := s.hold(a)
	s.put(e, k, effective(&st))
	e.journalled = true
	s.release(e)
}

// forget removes all that is known of an account, but not that it is stopped.
func (s *states) forget(a policy.Account) {
	e := s.hold(a)
	s.put(e, known{tenant: e.tenant}, policy.Normal)
	e.pending = nil
	s.release(e)
}

// each visits all entries, locked one by one.
func (s *states) each(visit func(e *entry)) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		names := make([]policy.Account, 0, len(sh.entries))
		for a := range sh.entries {
			names = append(names, a)
		}
		sh.mu.Unlock()
		for _, a := range names {
			if e := s.holdKnown(a); e != nil {
				visit(e)
				s.release(e)
			}
		}
	}
}

// holdKnown is hold of an account that is there, without making it look used; nil when it is not.
func (s *states) holdKnown(a policy.Account) *entry {
	sh := s.shard(a)
	sh.mu.Lock()
	e := sh.entries[a]
	if e != nil {
		e.users++
	}
	sh.mu.Unlock()
	if e != nil {
		e.mu.Lock()
	}
	return e
}

// count is how many accounts are remembered.
func (s *states) count() int {
	n := 0
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += len(sh.entries)
		sh.mu.Unlock()
	}
	return n
}

// pack is what the shared state keeps: revision, inverted for a state begun anew, then the engine's bytes.
func (k known) pack() []byte {
	revision := k.revision
	if k.anew {
		revision = ^revision
	}
	return append(binary.AppendVarint(make([]byte, 0, binary.MaxVarintLen64+len(k.state)), revision), k.state...)
}

// unpack is the inverse of pack; anything else is an account that nothing is known of.
func unpack(b []byte) known {
	revision, n := binary.Varint(b)
	switch {
	case n <= 0:
		return known{}
	case revision < 0:
		return known{revision: ^revision, state: b[n:], anew: true}
	}
	return known{revision: revision, state: b[n:]}
}
