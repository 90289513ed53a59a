package policy

// Counter counts the copies of a domain or a tenant in a rolling hour, reserved ones included, in steps of one
// minute: it looks back 60 to 61 minutes. A time up to ten minutes before the last one counts as that one; one before that
// means that the clock was ahead, and the counts go on at that time, as old as they were. The zero value is empty.
type Counter struct {
	minute  int64 // of the newest bucket, since 1970
	buckets [counterBuckets]uint32
}

const counterBuckets = 61

// Hour is the count at nowUS.
func (c *Counter) Hour(nowUS int64) int64 {
	c.turn(nowUS)
	var sum int64
	for _, n := range c.buckets {
		sum += int64(n)
	}
	return sum
}

// Take adds n at nowUS and gives the count before it, which is what Scope wants.
func (c *Counter) Take(nowUS, n int64) int64 {
	before := c.Hour(nowUS)
	b := &c.buckets[c.minute%counterBuckets]
	*b = uint32(min(max(int64(*b)+n, 0), 1<<31))
	return before
}

// GiveBack takes n away again that was taken at takenUS: the decision refused it, or it was never sent.
func (c *Counter) GiveBack(nowUS, takenUS, n int64) {
	c.turn(nowUS)
	m, step := takenUS/minuteUS, int64(1) // what was taken by a clock that was behind lies in a later bucket
	if m > c.minute {
		m, step = c.minute, -1 // the clock was ahead, and the buckets have moved since
	}
	for ; n > 0 && m >= 0 && m <= c.minute && m > c.minute-counterBuckets; m += step {
		b := &c.buckets[m%counterBuckets]
		part := min(n, int64(*b))
		*b -= uint32(part)
		n -= part
	}
}

// turn empties the buckets of the minutes since the newest one, or moves all of them back after a clock was ahead.
func (c *Counter) turn(nowUS int64) {
	m := max(nowUS/minuteUS, 0)
	if m < c.minute-skewUS/minuteUS {
		setRingBack(c.buckets[:], &c.minute, m)
	}
	if m <= c.minute {
		return
	}
	if m-c.minute >= counterBuckets {
		c.buckets = [counterBuckets]uint32{}
	}
	for i := max(c.minute+1, m-counterBuckets+1); i <= m; i++ {
		c.buckets[i%counterBuckets] = 0
	}
	c.minute = m
}
