package blob

import "sync"

// flushes lets puts into one directory share its fsync.
type flushes struct {
	mu   sync.Mutex
	dirs map[string]*dirFlush
}

type dirFlush struct {
	running sync.Mutex
	next    *flushRound // not begun yet; guarded by flushes.mu
	users   int         // guarded by flushes.mu
}

type flushRound struct {
	done chan struct{}
	err  error
}

// flush makes the names in d durable. Calls for one path share an fsync, but only one that begins after they
// came: an fsync under way may have passed their name already.
func (f *FS) flush(d *dir, path string) error {
	if !f.flushNames {
		return nil
	}
	df, round, leads := f.flushes.join(path)
	defer f.flushes.leave(path, df)
	if !leads {
		<-round.done
		return round.err
	}
	df.running.Lock()
	defer df.running.Unlock()
	f.flushes.begin(df)
	defer close(round.done)
	round.err = d.file.Sync()
	return round.err
}

func (s *flushes) join(path string) (df *dirFlush, round *flushRound, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	df = s.dirs[path]
	if df == nil {
		if s.dirs == nil {
			s.dirs = map[string]*dirFlush{}
		}
		df = &dirFlush{}
		s.dirs[path] = df
	}
	df.users++
	if df.next == nil {
		df.next, leads = &flushRound{done: make(chan struct{})}, true
	}
	return df, df.next, leads
}

func (s *flushes) begin(df *dirFlush) {
	s.mu.Lock()
	defer s.mu.Unlock()
	df.next = nil
}

func (s *flushes) leave(path string, df *dirFlush) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if df.users--; df.users == 0 {
		delete(s.dirs, path)
	}
}
