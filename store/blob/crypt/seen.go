package crypt

import (
	"sync"
	"time"

	"github.com/mairust/mairust/store/blob"
)

// seenMost is how many objects are remembered, about: at 200 bytes each, and as many of before.
const seenMost = 16 << 10

// seen remembers objects that are not encrypted, as long as they are not modified. The zero value remembers none.
type seen struct {
	mu sync.Mutex
	// objects are by key; old are those of before, kept until objects is full again.
	objects, old map[string]version
}

type version struct {
	modified  time.Time
	sizeBytes int64
}

// has says whether an object of this key is remembered, which may have been modified since.
func (s *seen) has(key string) bool {
	_, ok := s.find(key)
	return ok
}

// is says whether an object is remembered as it is.
func (s *seen) is(info blob.Info) bool {
	v, ok := s.find(info.Key)
	return ok && v.modified.Equal(info.Modified) && v.sizeBytes == info.SizeBytes
}

func (s *seen) find(key string) (version, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.objects[key]
	if !ok {
		v, ok = s.old[key]
	}
	return v, ok
}

func (s *seen) add(info blob.Info) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil || len(s.objects) >= seenMost {
		s.objects, s.old = map[string]version{}, s.objects
	}
	s.objects[info.Key] = version{info.Modified, info.SizeBytes}
}
