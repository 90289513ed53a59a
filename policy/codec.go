package policy

import (
	"encoding/binary"
	"math/bits"
)

// stateVersion is the first byte of an encoded state.
const stateVersion = 2

// AppendBinary appends the versioned encoding of s, at most MaxStateBytes. It never fails.
func (s *State) AppendBinary(b []byte) ([]byte, error) {
	c := codec{b: append(b, stateVersion), version: stateVersion, write: true}
	copied := *s
	c.state(&copied)
	return c.b, nil
}

// MarshalBinary is AppendBinary to a new slice.
func (s *State) MarshalBinary() ([]byte, error) { return s.AppendBinary(nil) }

// ParseState reads what AppendBinary wrote; nothing at all gives the zero State. Errors: ErrState for bytes that
// are no state, or one of a later version.
func ParseState(b []byte) (State, error) {
	if len(b) == 0 {
		return State{}, nil
	}
	if b[0] < 1 || b[0] > stateVersion || len(b) > MaxStateBytes {
		return State{}, ErrState
	}
	var s State
	c := codec{b: b[1:], version: b[0]}
	c.state(&s)
	if c.bad || len(c.b) > 0 {
		return State{}, ErrState
	}
	return s, nil
}

// codec writes fields or reads them, so that both follow one list. Numbers are varints.
type codec struct {
	b     []byte
	write bool
	bad   bool
	// version of the state or record; states of version 1 had no refused recipients and no habit.
	version uint8
}

func (c *codec) state(s *State) {
	c.u64(&s.seq)
	c.time(&s.firstUS)
	c.time(&s.lastUS)
	c.standing(&s.standing)
	w := &s.windows
	c.ring(w.tens[:], &w.ten)
	c.ring(w.minutes[:], &w.minute)
	c.ring(w.halves[:], &w.half)
	c.peaks(&s.usual)
	c.peaks(&s.today)
	c.time(&s.peakDay)
	c.filter(&s.known.now)
	c.filter(&s.known.before)
	c.time(&s.known.sinceUS)
	c.prints(&s.prints)
	c.scores(s)
	c.u32(&s.spamMinute, maxMinute)
	c.u32(&s.malwareMinute, maxMinute)
	c.u32(&s.urlMinute, maxMinute)
	c.places(s)
	for i := range s.hours {
		c.u16(&s.hours[i], 1<<16-1)
	}
	c.u64(&s.total)
	c.reservations(&s.open)
	c.failedOnes(s)
	if c.version >= 2 {
		c.refusedOnes(&s.refused)
		c.i64(&s.habit.usual, 0, maxHabit)
		c.flag(&s.habit.today)
	}
}

// minUS is a year after 1970: 0 stands for never in many places, and shorter times are differences.
const minUS = 365 * dayUS

// maxUS is in the year 4253; it keeps sums of times in 63 bits. maxMinute is the same in minutes.
const (
	maxUS     = 1 << 56
	maxMinute = maxUS / minuteUS
)

func (c *codec) standing(s *standing) {
	c.u8(&s.level, hard)
	c.flag(&s.byHand)
	c.flag(&s.shadow)
	c.time(&s.levelUS)
	c.time(&s.untilUS)
	c.i64(&s.capHour, 0, maxCount)
	c.time(&s.breachUS)
	c.time(&s.strikeUS)
	c.i64(&s.strikes, 0, 100*Micro)
	c.time(&s.noticedUS)
}

func (c *codec) peaks(p *peaks) {
	for i := range p.all {
		c.i64(&p.all[i], 0, maxCount*Micro)
	}
	for i := range p.newOnes {
		c.i64(&p.newOnes[i], 0, maxCount*Micro)
	}
}

// ring writes the buckets that are not empty, each with the number of empty ones before it.
func (c *codec) ring(ring []bucket, newest *int64) {
	c.i64(newest, 0, maxUS)
	n := uint64(0)
	for i := range ring {
		if ring[i] != (bucket{}) {
			n++
		}
	}
	c.number(&n, uint64(len(ring)))
	at := 0
	for range n {
		if at == len(ring) {
			c.bad = true
			return
		}
		skip := uint64(0)
		for c.write && ring[at+int(skip)] == (bucket{}) {
			skip++
		}
		c.number(&skip, uint64(len(ring)-at-1))
		if c.bad {
			return
		}
		at += int(skip)
		for k := range ring[at] {
			c.u32(&ring[at][k], maxBucket)
		}
		if !c.write && ring[at] == (bucket{}) {
			c.bad = true // it would not be written so
		}
		at++
	}
}

// filter writes a filter as the distances between its bits, or whole when that is shorter.
func (c *codec) filter(f *filter) {
	n := uint64(f.ones())
	c.number(&n, knownBits)
	if n > sparseBits {
		c.whole(f)
		if !c.write && uint64(f.ones()) != n {
			c.bad = true
		}
		return
	}
	if c.write {
		c.writeSparse(f)
		return
	}
	at := uint64(0)
	for range n {
		if at == knownBits {
			c.bad = true
			return
		}
		var skip uint64
		c.number(&skip, knownBits-1-at)
		if c.bad {
			return
		}
		at += skip
		f[at/64] |= 1 << (at % 64)
		at++
	}
}

// sparseBits is how many bits take no more room as distances than the filter has.
const sparseBits = 1900

func (c *codec) writeSparse(f *filter) {
	at := uint64(0)
	for i, w := range f {
		for ; w != 0; w &= w - 1 {
			bit := uint64(i*64 + bits.TrailingZeros64(w))
			skip := bit - at
			c.number(&skip, knownBits)
			at = bit + 1
		}
	}
}

func (c *codec) whole(f *filter) {
	for i := range f {
		c.fixed(&f[i])
	}
}

func (c *codec) prints(list *[printCount]print) {
	for i := range list {
		p := &list[i]
		there := p.id != 0
		c.flag(&there)
		if !there {
			continue
		}
		c.fixed(&p.id)
		c.u32(&p.firstHour, maxMinute/60)
		c.u32(&p.lastMinute, maxMinute)
		c.u8(&p.days, 255)
		c.u8(&p.times, 255)
		c.flag(&p.stopped)
		for _, x := range []*pair{&p.all, &p.strang, &p.dayAll, &p.dayStrang} {
			c.u16(&x.now, maxPrint)
			c.u16(&x.before, maxPrint)
		}
		c.bad = c.bad || p.id == 0
	}
}

func (c *codec) scores(s *State) {
	c.u8(&s.next, scoreCount-1)
	for i := range s.scores {
		x := &s.scores[i]
		c.u32(&x.minute, maxMinute)
		if x.minute == 0 {
			continue
		}
		shifted := int64(x.milli) + maxMilli
		c.i64(&shifted, 0, 2*maxMilli)
		x.milli = int32(shifted - maxMilli)
	}
}

func (c *codec) places(s *State) {
	c.u8(&s.here, placeCount)
	for i := range s.places {
		p := &s.places[i]
		c.u32(&p.firstMinute, maxMinute)
		if p.firstMinute == 0 {
			continue
		}
		c.u64(&p.network)
		c.u16(&p.country, 1<<16-1)
		c.u16(&p.uses, 1<<16-1)
		c.u32(&p.lastMinute, maxMinute)
		c.u32(&p.countryFirst, maxMinute)
		c.u16(&p.countryUses, 1<<16-1)
		c.u32(&p.lastUse, maxMinute)
	}
}

func (c *codec) reservations(list *[reservationCount]reservation) {
	for i := range list {
		r := &list[i]
		there := r.transaction != 0
		c.flag(&there)
		if !there {
			continue
		}
		c.fixed(&r.transaction)
		c.time(&r.atUS)
		c.u32(&r.copies, maxBucket)
		c.u32(&r.fresh, maxBucket)
		c.bad = c.bad || r.transaction == 0
	}
}

func (c *codec) failedOnes(s *State) {
	c.u8(&s.failedNext, failedCount-1)
	for i := range s.failed {
		there := s.failed[i] != 0
		c.flag(&there)
		if there {
			c.fixed(&s.failed[i])
			c.bad = c.bad || s.failed[i] == 0
		}
	}
}

// refusedOnes are nothing for those whom no soft limit refused anything.
func (c *codec) refusedOnes(r *refused) {
	c.time(&r.sinceUS)
	if r.sinceUS == 0 {
		return
	}
	c.i64(&r.again, 0, maxCount)
	for i := range r.words {
		c.fixed(&r.words[i])
	}
}

// number is one unsigned varint of at most most; a longer form than needed is refused, so that every state has one
// encoding.
func (c *codec) number(n *uint64, most uint64) {
	if c.write {
		c.b = binary.AppendUvarint(c.b, *n)
		return
	}
	v, size := binary.Uvarint(c.b)
	if size <= 0 || v > most || size > 1 && c.b[size-1] == 0 {
		c.bad, c.b, v = true, nil, 0
		size = 0
	}
	*n, c.b = v, c.b[size:]
}

func (c *codec) fixed(n *uint64) {
	if c.write {
		c.b = binary.LittleEndian.AppendUint64(c.b, *n)
		return
	}
	if len(c.b) < 8 {
		c.bad, c.b = true, nil
		return
	}
	*n, c.b = binary.LittleEndian.Uint64(c.b), c.b[8:]
}

func (c *codec) u64(n *uint64) { c.number(n, 1<<64-1) }

func (c *codec) i64(n *int64, least, most int64) {
	v := uint64(*n - least)
	c.number(&v, uint64(most-least))
	*n = int64(v) + least
}

func (c *codec) time(n *int64) { c.i64(n, 0, maxUS) }

func (c *codec) u32(n *uint32, most uint64) {
	v := uint64(*n)
	c.number(&v, min(most, 1<<32-1))
	*n = uint32(v)
}

func (c *codec) u16(n *uint16, most uint64) {
	v := uint64(*n)
	c.number(&v, most)
	*n = uint16(v)
}

func (c *codec) u8(n *uint8, most uint8) {
	v := uint64(*n)
	c.number(&v, uint64(most))
	*n = uint8(v)
}

func (c *codec) flag(b *bool) {
	v := uint64(0)
	if *b {
		v = 1
	}
	c.number(&v, 1)
	*b = v == 1
}
