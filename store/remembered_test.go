package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRememberedForgetsWhatIsOldAndNotAllAtOnce(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	const size, age = 100, time.Minute
	c := &remembered[string, MailboxID]{now: func() time.Time { return now }, size: size, age: age}
	key := func(i int) string { return fmt.Sprint("u", i, "@example.test") }
	for i := range 2 * size {
		c.put(key(i), MailboxID(key(i)), c.asOf())
	}
	for _, i := range []int{0, size, 2*size - 1} {
		box, ok := c.get(key(i))
		require.True(t, ok, i)
		require.Equal(t, MailboxID(key(i)), box)
	}
	c.put("one more", "b", c.asOf())
	_, ok := c.get(key(0))
	require.False(t, ok, "memory is bounded")
	_, ok = c.get(key(size))
	require.True(t, ok, "the others stay")

	now = now.Add(age + time.Microsecond)
	_, ok = c.get("one more")
	require.False(t, ok)
	c.put("fresh", "b", c.asOf())
	_, ok = c.get("fresh")
	require.True(t, ok)
	c.put("other", "b", c.asOf())
	c.forget("fresh")
	_, ok = c.get("fresh")
	require.False(t, ok)
	_, ok = c.get("other")
	require.True(t, ok)
	c.forgetAll()
	_, ok = c.get("other")
	require.False(t, ok)

	before := c.asOf()
	c.forgetAll()
	c.put("read before", "b", before)
	_, ok = c.get("read before")
	require.False(t, ok, "what it was read from has changed")
}
