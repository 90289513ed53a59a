package lmtp

import (
	"net"
	"sync"
	"time"
)

// maxReplies bounds the replies that wait to be sent, in bytes.
const maxReplies = 4 << 10

// replies gathers what is to be said to a client until it is sent. After an error nothing more is said.
type replies struct {
	conn net.Conn
	// timeout is for a client that does not read what is sent.
	timeout time.Duration

	mu      sync.Mutex
	waiting []byte
	since   time.Time // of the first that waits
	err     error
}

// Write implements io.Writer; it sends when much has gathered.
func (r *replies) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		r.since = time.Now()
	}
	r.waiting = append(r.waiting, p...)
	if len(r.waiting) >= maxReplies {
		r.send()
	}
	if r.err != nil {
		return 0, r.err
	}
	return len(p), nil
}

// flush sends what waits.
func (r *replies) flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send()
	return r.err
}

// flushSince sends what waits when some of it has waited for as long. An error is seen by the next write.
func (r *replies) flushSince(age time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) > 0 && time.Since(r.since) > age {
		r.send()
	}
}

// send sends under mu.
func (r *replies) send() {
	if r.err != nil || len(r.waiting) == 0 {
		return
	}
	if r.err = r.conn.SetWriteDeadline(time.Now().Add(r.timeout)); r.err == nil {
		_, r.err = r.conn.Write(r.waiting)
	}
	r.waiting = r.waiting[:0]
	if r.err != nil {
		_ = r.conn.Close() // so that reading ends too; the write error is what matters
	}
}
