package imap

import (
	"context"
	"slices"

	"github.com/mairust/mairust/store"
)

// snapshot is a folder at one moment. It never changes; sessions share it. The i-th message has uids[i], flags[i] and
// modSeqs[i]: 13 bytes each.
type snapshot struct {
	uidValidity uint32
	uidNext     int64
	modSeq      int64
	// counted is the number of messages by the folder's counters.
	counted int64
	uids    []uint32
	flags   []uint8
	modSeqs []int64
	unseen  int
}

// The bits of flags.
const (
	flagSeen uint8 = 1 << iota
	flagAnswered
	flagFlagged
	flagDeleted
	flagDraft
)

func (s *snapshot) bytes() int64 {
	if s == nil {
		return 0
	}
	return 200 + 13*int64(cap(s.uids))
}

// find gives the index of a UID.
func (s *snapshot) find(uid uint32) (int, bool) { return slices.BinarySearch(s.uids, uid) }

// load reads a folder, as far as it differs from an old snapshot (nil: all of it). The counters were read before, so
// that what happens meanwhile is found again by the next load.
func load(ctx context.Context, index Folders, old *snapshot, counters store.Folder) (*snapshot, error) {
	s := &snapshot{uidValidity: counters.UIDValidity, uidNext: counters.UIDNext, modSeq: counters.ModSeq, counted: counters.Messages}
	var err error
	switch {
	case old == nil || old.uidValidity != s.uidValidity:
		s.reserve(counters.Messages)
		err = index.FolderFlags(ctx, store.System, counters.ID, 0, 0, s.add)
	case old.onlyGrew(counters):
		err = s.grow(ctx, index, old, counters.ID)
	default:
		err = s.merge(ctx, index, old, counters.ID)
	}
	if err != nil {
		return nil, err
	}
	s.uidNext = max(s.uidNext, int64(s.last())+1)
	return s, nil
}

// onlyGrew says whether nothing but deliveries happened: each takes one UID and one mod-sequence.
func (s *snapshot) onlyGrew(counters store.Folder) bool {
	grown := counters.UIDNext - s.uidNext
	return counters.ModSeq-s.modSeq == grown && counters.Messages-s.counted == grown && int64(len(s.uids)) == s.counted
}

func (s *snapshot) last() uint32 {
	if len(s.uids) == 0 {
		return 0
	}
	return s.uids[len(s.uids)-1]
}

// highestGiven is the highest UID that a message has or had, at least 1. What is gone can be above all that is left.
func (s *snapshot) highestGiven() uint32 { return uint32(max(s.uidNext-1, 1)) }

func (s *snapshot) reserve(n int64) {
	n = min(max(n, 0), 10_000_000)
	s.uids, s.flags, s.modSeqs = make([]uint32, 0, n), make([]uint8, 0, n), make([]int64, 0, n)
}

func (s *snapshot) add(r store.FlagRow) {
	s.uids, s.flags, s.modSeqs = append(s.uids, r.UID), append(s.flags, r.Flags), append(s.modSeqs, r.ModSeq)
	if r.Flags&flagSeen == 0 {
		s.unseen++
	}
}

// grow is old with what was delivered since. A row above the counters is one of later: what happened before it, be it an
// expunge, must be known with it.
func (s *snapshot) grow(ctx context.Context, index Folders, old *snapshot, id store.FolderID) error {
	// Appending to shared arrays is safe: what old sees of them does not change, and only one load goes on at once.
	s.uids, s.flags, s.modSeqs, s.unseen = old.uids, old.flags, old.modSeqs, old.unseen
	later := false
	err := index.FolderFlags(ctx, store.System, id, old.last(), 0, func(r store.FlagRow) {
		later = later || r.ModSeq > s.modSeq
		s.add(r)
	})
	if err != nil || !later {
		return err
	}
	s.unseen = 0
	return s.merge(ctx, index, old, id)
}

// merge is old with what changed and without what went since.
func (s *snapshot) merge(ctx context.Context, index Folders, old *snapshot, id store.FolderID) error {
	var changed []store.FlagRow
	err := index.FolderFlags(ctx, store.System, id, 0, old.modSeq, func(r store.FlagRow) { changed = append(changed, r) })
	if err != nil {
		return err
	}
	gone, err := index.ExpungedSince(ctx, store.System, id, old.modSeq)
	if err != nil {
		return err
	}
	s.reserve(int64(len(old.uids) + len(changed)))
	for i, uid := range old.uids {
		row := store.FlagRow{UID: uid, Flags: old.flags[i], ModSeq: old.modSeqs[i]}
		for len(changed) > 0 && changed[0].UID < uid {
			changed = changed[1:] // below the end of old and not in it: cannot be, UIDs only rise
		}
		if len(changed) > 0 && changed[0].UID == uid {
			row, changed = changed[0], changed[1:]
		}
		s.addUnless(row, gone)
	}
	for _, row := range changed {
		s.addUnless(row, gone)
	}
	return nil
}

func (s *snapshot) addUnless(row store.FlagRow, gone []uint32) {
	if _, found := slices.BinarySearch(gone, row.UID); !found {
		s.add(row)
	}
}
