package policy

// The windows of the rate factor. A window is made of whole buckets, the newest one begun, so that it looks back
// up to one bucket further than its name says and never less.
const (
	windowMinute = iota // of 10-second buckets
	windowTen           // of minutes
	windowHour          // of minutes
	windowDay           // of half hours
	windowCount
)

const (
	secondUS   = 1_000_000
	minuteUS   = 60 * secondUS
	hourUS     = 60 * minuteUS
	dayUS      = 24 * hourUS
	tenUS      = 10 * secondUS
	halfHourUS = 30 * minuteUS
)

var windowLengthUS = [windowCount]int64{minuteUS, 10 * minuteUS, hourUS, dayUS}

// Sizes of the rings.
const (
	tensKept    = 7  // a minute and the bucket that has begun
	minutesKept = 61 // an hour, likewise
	halvesKept  = 49 // a day, likewise
)

// What a bucket counts.
const (
	copies   = iota // recipients sent or reserved
	fresh           // those the account never wrote to before
	tried           // recipients that a soft limit refused
	messages        // messages sent
	invalid         // recipients that do not exist
	countKinds
)

// maxBucket is the most that one bucket counts; it bounds the encoding.
const maxBucket = 1<<21 - 1

// counts is one bucket, or a sum of them.
type counts [countKinds]int64

// bucket is counts as they are kept.
type bucket [countKinds]uint32

func (b *bucket) add(kind int, n int64) {
	b[kind] = uint32(min(max(int64(b[kind])+n, 0), maxBucket))
}

// windows are the rings of an account. Times are counted in buckets since 1970.
type windows struct {
	ten     int64
	tens    [tensKept]bucket
	minute  int64
	minutes [minutesKept]bucket
	half    int64
	halves  [halvesKept]bucket
}

// turn empties the buckets between the newest ones and nowUS.
func (w *windows) turn(nowUS int64) {
	turnRing(w.tens[:], &w.ten, nowUS/tenUS)
	turnRing(w.minutes[:], &w.minute, nowUS/minuteUS)
	turnRing(w.halves[:], &w.half, nowUS/halfHourUS)
}

func turnRing(ring []bucket, newest *int64, now int64) {
	if now <= *newest {
		return
	}
	n := int64(len(ring))
	for i := max(*newest+1, now-n+1); i <= now; i++ {
		ring[i%n] = bucket{}
	}
	*newest = now
}

// add counts n of a kind in the newest buckets.
func (w *windows) add(kind int, n int64) {
	w.tens[w.ten%tensKept].add(kind, n)
	w.minutes[w.minute%minutesKept].add(kind, n)
	w.halves[w.half%halvesKept].add(kind, n)
}

// giveBack takes n of a kind away from the buckets of atUS and, where they have fewer, from later ones: what a
// transaction reserved may lie in several.
func (w *windows) giveBack(kind int, n, atUS int64) {
	takeFrom(w.tens[:], w.ten, atUS/tenUS, kind, n)
	takeFrom(w.minutes[:], w.minute, atUS/minuteUS, kind, n)
	takeFrom(w.halves[:], w.half, atUS/halfHourUS, kind, n)
}

func takeFrom(ring []bucket, newest, from int64, kind int, n int64) {
	size := int64(len(ring))
	for i := max(from, newest-size+1, 0); i <= newest && n > 0; i++ {
		b := &ring[i%size]
		part := min(n, int64(b[kind]))
		b.add(kind, -part)
		n -= part
	}
}

// sums are the counts of every window.
type sums [windowCount]counts

func (w *windows) sums() (s sums) {
	sum(w.tens[:], &s[windowMinute])
	sum(w.minutes[:], &s[windowHour])
	sum(w.halves[:], &s[windowDay])
	for i := max(w.minute-10, 0); i <= w.minute; i++ {
		for k, n := range w.minutes[i%minutesKept] {
			s[windowTen][k] += int64(n)
		}
	}
	return s
}

func sum(ring []bucket, into *counts) {
	for i := range ring {
		for k, n := range ring[i] {
			into[k] += int64(n)
		}
	}
}
