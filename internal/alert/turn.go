package alert

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// turns has one process of a host at a time write about what several watch. Who tells that it fails has the turn until the end of
// the alert was told, and so long after it that the others have seen the end, too. The turn of a process that dies ends with it.
type turns struct {
	// dir holds a file for each part and what it watches, which is locked; empty means that this process is the only one.
	dir string
	log *slog.Logger
}

// take gives the turn; nil when another process has it. When files cannot be locked everybody has it: twice is better than never.
func (t *turns) take(part, watches string) *turn {
	if t.dir == "" {
		return &turn{}
	}
	sum := sha256.Sum256([]byte(watches))
	f, err := lockFile(filepath.Join(t.dir, fmt.Sprintf("%s-%x.lock", part, sum[:4])))
	if err == unix.EWOULDBLOCK { //nolint:errorlint // as the system call gives it
		return nil
	}
	if err != nil {
		t.log.Warn("not known whether another process tells administrators of a part: this one does", "part", part, "err", err)
	}
	return &turn{f}
}

// turn is that of this process.
type turn struct{ file *os.File }

// end lets others have it. The file stays: who has it open may be about to lock it.
func (t *turn) end() {
	if t != nil && t.file != nil {
		_ = t.file.Close() // nothing was written
	}
}

func lockFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// mayTell is whether this process writes about a part now.
func (p *post) mayTell(l *letters, s State) bool {
	if l.turn == nil && s.shared != "" {
		l.turn = p.turns.take(s.Part, s.shared)
	}
	return l.turn != nil || s.shared == ""
}

// giveTurn lets another process tell what this one, which has told nothing yet, may not.
func (l *letters) giveTurn() {
	if !l.failing && !l.unsure {
		l.turn.end()
		l.turn = nil
	}
}

// leave gives the turn back some time after the end of the alert was told.
func (l *letters) leave(now time.Time) {
	if l.turn != nil && !l.failing && now.Sub(l.last) >= partEvery {
		l.turn.end()
		l.turn = nil
	}
}
