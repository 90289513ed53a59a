package storetest

import (
	"sync"

	"github.com/mairust/mairust/store"
)

// Suspects are the messages of which readers have told that they could not be read. The zero value is ready.
type Suspects struct {
	mu   sync.Mutex
	told map[store.MessageID]error
}

// Suspect is what readers call.
func (s *Suspects) Suspect(id store.MessageID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told == nil {
		s.told = map[store.MessageID]error{}
	}
	s.told[id] = err
}

// Take gives those since it was called last, and what each was told for.
func (s *Suspects) Take() map[store.MessageID]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}
