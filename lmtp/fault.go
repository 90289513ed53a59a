package lmtp

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// faultWindow is how long a delivery that failed counts for Check.
	faultWindow = 30 * time.Second
	// faultMemory is within what time it has to fail again to count for as long: Postfix tries again after five minutes and later.
	faultMemory = 15 * time.Minute
	// faultSpread is how far apart the first and the last failure are then: less is one short disturbance.
	faultSpread = time.Minute
)

// fault is the last failure of a delivery that is neither the index's nor the sender's: of the object store for this message, or of the
// file that the message lies in meanwhile.
type fault struct {
	mu          sync.Mutex
	first, last time.Time
	err         error
}

// noteFault notes an error, but for a full disk: whoever watches disks tells of that.
func (s *Server) noteFault(err error) {
	if _, result := toReply(err); result != resultTemp {
		return
	}
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

// Check is an error when a message could not be stored in the last 30 seconds, or in the last 15 minutes again and again, by no fault of the
// index or of a full disk. A store that works as a whole may fail for one mailbox, which may get little mail: its directory belongs to
// another user, or its disk has a bad block.
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
