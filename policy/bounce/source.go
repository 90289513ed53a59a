package bounce

import (
	"context"
	"strings"
	"time"
)

// Bounds of one reading of a log.
const (
	// maxLine is the longest line that is looked at, in bytes; syslog daemons cut at 8 KiB or less.
	maxLine = 16 << 10
	// chunk is how much of a file is read at once.
	chunk = 256 << 10
)

// source gives the deliveries of a log in order, each once.
type source interface {
	// next gives what was logged since its last call. It waits a little when there is nothing.
	next(ctx context.Context) (batch, error)
	// position is where the batches so far end.
	position() position
	// lag is how many bytes of the log wait (0 where that cannot be known), and since when the end has not been
	// reached, zero when it has.
	lag() (bytes int64, since time.Time)
	close() error
}

// batch is what a source gives at once.
type batch struct {
	bounces []Bounce
	// statuses counts the deliveries by their status, lines counts all lines.
	statuses map[string]int
	lines    int
	// lastLine is the time of the last delivery.
	lastLine time.Time
	// tooLong, torn (without an end, in a file that was rotated) and gaps count what could not be read.
	tooLong, torn, gaps int
	// atEnd says that there is no more for now.
	atEnd bool
}

// add takes a delivery, unless it is of another host.
func (b *batch) add(d Delivery, logHost string) {
	if !isHost(d.LogHost, logHost) {
		return
	}
	if b.statuses == nil {
		b.statuses = map[string]int{}
	}
	b.statuses[d.Status]++
	b.lastLine = d.At
	if bounce, ok := d.asBounce(); ok {
		b.bounces = append(b.bounces, bounce)
	}
}

func (b *batch) isFull() bool { return len(b.bounces) >= MaxBatch }

// isHost compares the name of a host in a log, which may lack its domain, with the wanted one; any is wanted when that
// is empty.
func isHost(name, wanted string) bool {
	short, _, _ := strings.Cut(wanted, ".")
	return wanted == "" || strings.EqualFold(name, wanted) || strings.EqualFold(name, short)
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
