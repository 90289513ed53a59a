package lmtp

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// faultWindow is how long a delivery that failed counts for Check.
const faultWindow = 30 * time.Second

// fault is the last failure of a delivery that is neither the index's nor the sender's: of the object store for this message, or of the
// file that the message lies in meanwhile.
type fault struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// noteFault notes an error, but for a full disk: whoever watches disks tells of that.
func (s *Server) noteFault(err error) {
	if _, result := toReply(err); result != resultTemp {
		return
	}
	s.fault.mu.Lock()
	defer s.fault.mu.Unlock()
	s.fault.at, s.fault.err = s.deps.Now(), err
}

// Check is an error when a message could not be stored in the last 30 seconds, by no fault of the index or of a full disk. A store that works
// as a whole may fail for one mailbox: its directory belongs to another user, or its disk has a bad block.
func (s *Server) Check(context.Context) error {
	s.fault.mu.Lock()
	defer s.fault.mu.Unlock()
	if s.fault.err == nil || s.deps.Now().Sub(s.fault.at) > faultWindow {
		return nil
	}
	return fmt.Errorf("a message could not be stored: %w", s.fault.err)
}
