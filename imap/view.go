package imap

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/mairust/mairust/store"
)

// view is a selected folder as the client knows it. While the two agree, it shares the snapshot's arrays.
type view struct {
	name   string
	id     store.FolderID
	folder *folder
	snap   *snapshot
	// uids and flags are what the client was told; uids[n-1] is message n.
	uids  []uint32
	flags []uint8
	// looked is when the database was last asked.
	looked time.Time
}

// expunged messages may be told at some times only (RFC 9051, 7.5.1).
type telling int

const (
	noExpunges telling = iota
	expunges
)

func (v *view) count() int { return len(v.uids) }

// highest is the highest UID, at least 1 so that "*" in an empty folder is a number.
func (v *view) highest() uint32 {
	if len(v.uids) == 0 {
		return 1
	}
	return v.uids[len(v.uids)-1]
}

// closeFolder leaves the selected folder, if there is one.
func (c *conn) closeFolder() {
	if c.view != nil {
		c.server.hub.close(c.view.folder)
		c.view, c.saved = nil, nil
		c.opened("")
	}
	if c.state == selected {
		c.state = authenticated
	}
}

// freshFor is how long a look at the database serves commands that don't ask for news.
const freshFor = time.Second

// refresh looks whether the folder has changed, but not more than once in freshFor. It tells what may be told.
func (c *conn) refresh(ctx context.Context, t telling) error {
	if time.Since(c.view.looked) < freshFor {
		return nil
	}
	return c.sync(ctx, t)
}

// errRenumbered ends a session whose folder has another UIDVALIDITY: the client must open it anew (RFC 9051, 2.3.1.1).
var errRenumbered = errors.New("the folder has another UIDVALIDITY")

// sync looks at the database and tells the client what has changed.
func (c *conn) sync(ctx context.Context, t telling) error {
	fresh, err := c.server.hub.current(ctx, c.view.folder)
	if err != nil {
		return err
	}
	if fresh.uidValidity != c.view.snap.uidValidity {
		c.broken = errRenumbered
		return errRenumbered
	}
	c.view.looked = time.Now()
	if c.view.snap != fresh || t == expunges {
		c.tell(fresh, t)
	}
	return nil
}

// tell brings the client from what it knows to a snapshot. A client with QRESYNC that cannot be told yet what is gone
// stays where it is: whatever it learned of the snapshot would have a mod-sequence above that of the expunge, and from
// the highest that it has seen it catches up (RFC 7162, 3.2.5).
func (c *conn) tell(fresh *snapshot, t telling) {
	v := c.view
	var gone []int
	var changed []uint32
	if !v.onlyGrew(fresh) {
		gone, changed = v.compare(fresh)
	}
	if c.qresync && t == noExpunges && len(gone) > 0 {
		return
	}
	v.snap = fresh
	known := len(v.uids)
	if t == expunges {
		c.tellGone(gone)
		known -= len(gone)
		v.uids, v.flags = fresh.uids, fresh.flags
	} else {
		v.keep(fresh, gone)
	}
	if len(v.uids) > known {
		c.out.number2("* ", int64(len(v.uids)), " EXISTS")
	}
	for _, uid := range changed {
		c.tellFlags(uid)
	}
}

// onlyGrew says whether the snapshot's arrays are those that the client knows, perhaps longer.
func (v *view) onlyGrew(fresh *snapshot) bool {
	n := len(v.uids)
	return n > 0 && n <= len(fresh.uids) && &v.uids[0] == &fresh.uids[0] && &v.flags[0] == &fresh.flags[0]
}

// compare finds the indexes of messages that are gone, and the UIDs of those whose flags differ.
func (v *view) compare(fresh *snapshot) (gone []int, changed []uint32) {
	j := 0
	for i, uid := range v.uids {
		for j < len(fresh.uids) && fresh.uids[j] < uid {
			j++
		}
		switch {
		case j >= len(fresh.uids) || fresh.uids[j] != uid:
			gone = append(gone, i)
		case fresh.flags[j] != v.flags[i]:
			changed = append(changed, uid)
		}
	}
	return gone, changed
}

// keep takes over what is new, and leaves what is gone where it was: its number is still in use.
func (v *view) keep(fresh *snapshot, gone []int) {
	if len(gone) == 0 {
		v.uids, v.flags = fresh.uids, fresh.flags
		return
	}
	last := v.highest()
	uids, flags := slices.Clone(v.uids), slices.Clone(v.flags)
	for i, uid := range uids {
		if j, found := fresh.find(uid); found {
			flags[i] = fresh.flags[j]
		}
	}
	from, found := fresh.find(last)
	if found {
		from++
	}
	v.uids, v.flags = append(uids, fresh.uids[from:]...), append(flags, fresh.flags[from:]...)
}

func (c *conn) tellGone(gone []int) {
	if len(gone) == 0 {
		return
	}
	if c.qresync {
		uids := make([]uint32, 0, len(gone))
		for _, i := range gone {
			uids = append(uids, c.view.uids[i])
		}
		c.out.line("* VANISHED ", formatNumbers(uids))
		return
	}
	for already, i := range gone {
		c.out.number2("* ", int64(i+1-already), " EXPUNGE")
	}
}

// tellFlags tells the flags of a message that changed without being asked for.
func (c *conn) tellFlags(uid uint32) {
	v := c.view
	i, found := slices.BinarySearch(v.uids, uid)
	if !found {
		return
	}
	c.out.text("* ")
	c.out.number(int64(i + 1))
	c.out.text(" FETCH (")
	if c.condstore {
		c.out.number2("UID ", int64(uid), " ")
	}
	c.out.text("FLAGS ", flagList(v.flags[i]))
	if c.condstore {
		c.out.text(" MODSEQ (")
		c.out.number(v.modSeq(uid))
		c.out.text(")")
	}
	c.out.line(")")
}

// modSeq is that of a message; for one that is gone, the folder's.
func (v *view) modSeq(uid uint32) int64 {
	if i, found := v.snap.find(uid); found {
		return v.snap.modSeqs[i]
	}
	return v.snap.modSeq
}

// indexes resolves a set into the indexes of messages, ascending. Numbers that are too high are errors for
// message sequence numbers only (RFC 9051, 6.4.8).
func (c *conn) indexes(set numSet, uid bool) ([]int, error) {
	v := c.view
	if set.saved {
		return v.savedIndexes(c.saved), nil
	}
	if uid {
		return v.uidIndexes(set.resolve(v.highest())), nil
	}
	n := uint32(v.count())
	if n == 0 {
		return nil, bad("There are no messages")
	}
	var list []int
	for _, r := range set.resolve(n) {
		if r.last > n {
			return nil, bad("There is no message with that number")
		}
		for i := r.first; i <= r.last; i++ {
			list = append(list, int(i-1))
		}
	}
	return list, nil
}

func (v *view) savedIndexes(saved []uint32) []int {
	list := make([]int, 0, len(saved))
	for _, uid := range saved {
		if i, found := slices.BinarySearch(v.uids, uid); found {
			list = append(list, i)
		}
	}
	return list
}

func (v *view) uidIndexes(ranges []numRange) []int {
	var list []int
	for _, r := range ranges {
		i, _ := slices.BinarySearch(v.uids, r.first)
		for ; i < len(v.uids) && v.uids[i] <= r.last; i++ {
			list = append(list, i)
		}
	}
	return list
}

// flagLists are all lists of flags, by their bits.
var flagLists = func() (lists [32]string) {
	for bits := range lists {
		list := "("
		for i, name := range store.FlagNames(uint8(bits)) {
			if i > 0 {
				list += " "
			}
			list += name
		}
		lists[bits] = list + ")"
	}
	return lists
}()

func flagList(bits uint8) string { return flagLists[bits&31] }
