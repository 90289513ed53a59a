package lmtp

import (
	"os"
	"time"
)

// network reads from the connection of a wire, with the deadline that the moment calls for.
type network struct{ w *wire }

// Read implements io.Reader. What is to be said to the client is said before it is waited for.
func (n network) Read(p []byte) (int, error) {
	if err := n.w.replies.flush(); err != nil {
		return 0, err
	}
	if err := n.w.arm(); err != nil {
		return 0, err
	}
	return n.w.conn.Read(p)
}

// arm sets the deadline for the next read. A command has one for the whole line, a message one for each read
// and one for all of it, so that neither can be dripped for ever.
func (w *wire) arm() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, by := time.Now(), w.commandBy
	if !w.waiting {
		by = now.Add(w.front.server.options.DataTimeout)
	}
	if !w.messageBy.IsZero() && w.messageBy.Before(by) {
		by = w.messageBy
	}
	if !now.Before(by) || w.leaving() {
		return os.ErrDeadlineExceeded
	}
	return w.conn.SetReadDeadline(by)
}

// await notes that the wire waits for a command; false when the server is closing and no transaction is open.
func (w *wire) await() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting, w.commandBy = true, time.Now().Add(w.front.server.options.CommandTimeout)
	return !w.draining || w.transaction
}

// stopWaiting says whether the server is closing and no transaction is open.
func (w *wire) stopWaiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
	return w.draining && !w.transaction
}

// startSkipping notes that a chunk which was refused is being read.
func (w *wire) startSkipping() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skipping, w.messageBy = true, time.Now().Add(w.front.server.options.MessageTimeout)
}

// stopSkipping says whether the server is closing.
func (w *wire) stopSkipping() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.skipping, w.messageBy = false, time.Time{}
	return w.draining
}

// leaving says, under mu, whether the server is closing and what the client may still send is not waited for.
func (w *wire) leaving() bool { return w.draining && (w.skipping || w.waiting && !w.transaction) }

// setTransaction brackets a transaction; outside of one a closing server ends the connection.
func (w *wire) setTransaction(open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.transaction = open
}

// drain ends the connection with 421, at once when it is idle, else after its transaction. It may be called
// from any goroutine.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = true
	if w.leaving() {
		_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}
