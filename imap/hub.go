package imap

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mairust/mairust/store"
)

// pollInterval is how often folders are looked at that somebody waits for in IDLE.
const pollInterval = time.Second

// hub keeps what sessions know of their folders, once for all of them, and watches folders for those in IDLE: one
// query a second for all folders together, whatever the number of connections.
type hub struct {
	index    Folders
	log      *slog.Logger
	maxBytes int64

	mu      sync.Mutex
	folders map[store.FolderID]*folder
	bytes   int64
	// use counts up, to know which folder was used least recently.
	use int64
	// watching says that the watcher runs.
	watching bool
}

// folder is what the hub knows of one.
type folder struct {
	id store.FolderID
	// loading is held while the snapshot is being made new.
	loading sync.Mutex

	// The hub's lock guards what follows.
	snapshot *snapshot
	users    int
	used     int64
	waiters  map[chan struct{}]struct{}
	// seen is the mod-sequence that waiters were told of.
	seen int64
}

func newHub(index Folders, maxBytes int64, log *slog.Logger) *hub {
	return &hub{index: index, log: log, maxBytes: maxBytes, folders: map[store.FolderID]*folder{}}
}

// open gives the folder, to be closed by the caller.
func (h *hub) open(id store.FolderID) *folder {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.folders[id]
	if f == nil {
		f = &folder{id: id, waiters: map[chan struct{}]struct{}{}}
		h.folders[id] = f
	}
	f.users++
	h.use++
	f.used = h.use
	return f
}

// close gives the folder back. Its snapshot stays as long as there is room.
func (h *hub) close(f *folder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.users--
	h.evict()
}

// evict drops the least recently used folders that nobody has open, until the others fit.
func (h *hub) evict() {
	for h.bytes > h.maxBytes {
		var oldest *folder
		for _, f := range h.folders {
			if f.users == 0 && (oldest == nil || f.used < oldest.used) {
				oldest = f
			}
		}
		if oldest == nil {
			return
		}
		h.bytes -= oldest.snapshot.bytes()
		delete(h.folders, oldest.id)
	}
}

// current gives the folder's state as the database has it now.
func (h *hub) current(ctx context.Context, f *folder) (*snapshot, error) {
	list, err := h.index.FolderCounters(ctx, []store.FolderID{f.id})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, store.ErrNotFound
	}
	return h.refresh(ctx, f, list[0])
}

// refresh makes the snapshot at least as new as the counters, and remembers it. Whether somebody may see the folder is looked at when
// it is opened, and from time to time: read in the scope of one who may not any more, it would be empty for all.
func (h *hub) refresh(ctx context.Context, f *folder, counters store.Folder) (*snapshot, error) {
	f.loading.Lock()
	defer f.loading.Unlock()
	h.mu.Lock()
	old := f.snapshot
	h.mu.Unlock()
	if old != nil && old.uidValidity == counters.UIDValidity && old.modSeq >= counters.ModSeq {
		return old, nil
	}
	fresh, err := load(ctx, h.index, old, counters)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	f.snapshot = fresh
	h.bytes += fresh.bytes() - old.bytes()
	h.evict()
	return fresh, nil
}

// watch gives a channel that has something in it when the folder may have changed since modSeq, until stop is called.
func (h *hub) watch(f *folder, modSeq int64) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(f.waiters) == 0 || modSeq < f.seen {
		f.seen = modSeq
	}
	f.waiters[ch] = struct{}{}
	if !h.watching {
		h.watching = true
		go h.run()
	}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(f.waiters, ch)
	}
}

// run watches until nobody waits any more.
func (h *hub) run() {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for range tick.C {
		ids, any := h.awaited()
		if !any {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*pollInterval)
		list, err := h.index.FolderCounters(ctx, ids)
		cancel()
		if err != nil {
			h.log.Warn("folders could not be watched", "err", err)
			continue
		}
		for _, counters := range list {
			h.tell(counters)
		}
	}
}

// awaited lists the folders that somebody waits for; when there are none the watcher ends.
func (h *hub) awaited() ([]store.FolderID, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []store.FolderID
	for id, f := range h.folders {
		if len(f.waiters) > 0 {
			ids = append(ids, id)
		}
	}
	h.watching = len(ids) > 0
	return ids, h.watching
}

func (h *hub) tell(counters store.Folder) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := h.folders[counters.ID]
	if f == nil || counters.ModSeq == f.seen {
		return
	}
	f.seen = counters.ModSeq
	for ch := range f.waiters {
		select {
		case ch <- struct{}{}:
		default: // it has not read the last one yet
		}
	}
}
