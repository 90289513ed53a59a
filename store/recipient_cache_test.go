package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecipientCacheForgetsWhatIsOldAndNotAllAtOnce(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	c := &recipientCache{now: func() time.Time { return now }}
	key := func(i int) string { return fmt.Sprint("u", i, "@example.test") }
	for i := range 2 * recipientCacheSize {
		c.put(key(i), Target{Mailbox: MailboxID(key(i))})
	}
	for _, i := range []int{0, recipientCacheSize, 2*recipientCacheSize - 1} {
		target, ok := c.get(key(i))
		require.True(t, ok, i)
		require.Equal(t, MailboxID(key(i)), target.Mailbox)
	}
	c.put("one more", Target{})
	_, ok := c.get(key(0))
	require.False(t, ok, "memory is bounded")
	_, ok = c.get(key(recipientCacheSize))
	require.True(t, ok, "the others stay")

	now = now.Add(recipientCacheTime + time.Microsecond)
	_, ok = c.get("one more")
	require.False(t, ok)
	c.put("fresh", Target{})
	_, ok = c.get("fresh")
	require.True(t, ok)
	c.forget()
	_, ok = c.get("fresh")
	require.False(t, ok)
}
