package lmtp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

const (
	// faultWindow is how long a delivery that failed counts for Check.
	faultWindow = 30 * time.Second
	// faultMemory is within what time it has to fail again to count for as long: Postfix tries again after five minutes and later.
	faultMemory = 15 * time.Minute
	// faultSpread is how far apart the first and the last failure are then: less is one short disturbance.
	faultSpread = time.Minute
)

// fault is the last failure of a delivery that is neither the database's as a whole nor the sender's: of the object store for this message, of the
// file that the message lies in meanwhile, or of its row.
type fault struct {
	mu          sync.Mutex
	first, last time.Time
	err         error
}

// noteFates notes what kept copies from being stored. A full disk counts here: it may be the one of a single mailbox, at which nobody looks
// else. The database has its own watcher, but for rows that it refuses while it works.
func (s *Server) noteFates(fates []fate) {
	for _, f := range fates {
		switch {
		case errors.Is(f.put, blob.ErrFull):
			s.note(f.put)
		case f.put != nil:
			s.noteFault(f.put)
		case f.result.Err != nil && !errors.Is(f.result.Err, store.ErrUnavailable):
			s.noteFault(f.result.Err)
		}
	}
}

// noteFault notes an error, but for a full disk: whoever watches disks tells of that.
func (s *Server) noteFault(err error) {
	if _, result := toDataReply(err); result == resultTemp {
		s.note(err)
	}
}

func (s *Server) note(err error) {
	f, now := &s.fault, s.deps.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil || now.Sub(f.last) > faultMemory {
		f.first = now
	}
	f.last, f.err = now, err
}

// ForgetFaults is for who knows that the object store failed as a whole: what failed with it says nothing of single mailboxes.
func (s *Server) ForgetFaults() {
	s.fault.mu.Lock()
	defer s.fault.mu.Unlock()
	s.fault.err = nil
}

// Check is an error when a message could not be stored in the last 30 seconds, or in the last 15 minutes again and again, though the
// database works. A store that works as a whole may fail for one mailbox, which may get little mail: its directory belongs to
// another user, or its disk is full or has a bad block.
func (s *Server) Check(context.Context) error {
	f := &s.fault
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := faultWindow
	if f.last.Sub(f.first) >= faultSpread {
		counts = faultMemory
	}
	if f.err == nil || s.deps.Now().Sub(f.last) > counts {
		return nil
	}
	return fmt.Errorf("a message could not be stored: %w", f.err)
}
