package redis

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

const (
	// tries bounds compare and set.
	tries = 3
	// tagBytes is the length of the random tag before each state: what is compared instead of the state itself. Since no two
	// writes have the same, a write whose answer was lost is known by it.
	tagBytes = 8
	// keepStates is how long an account's state outlives its last event. The engine knows recipients for up to 60 days.
	keepStates = 62 * 24 * time.Hour
)

// swap sets the state if the one that is there still has the tag that was read; an empty tag is no state.
var swap = goredis.NewScript(`
local tag = redis.call('GETRANGE', KEYS[1], 0, #ARGV[2] - 1)
if tag == ARGV[2] then return 1 end
if tag ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2] .. ARGV[3], 'PX', ARGV[4])
return 1`)

// Update changes the state of an account: change gets what is there, nil for nothing, and gives what is to be there. It is
// called again when another node was faster, at most three times. Errors: ErrBusy, ErrAway.
func (c *Client) Update(ctx context.Context, account string, change func(old []byte) (new []byte)) error {
	key := c.key(account, "state")
	for range tries {
		var was []byte
		err := c.ask(ctx, func(ctx context.Context) (err error) {
			was, err = c.rdb.Get(ctx, key).Bytes()
			return err
		})
		if err != nil && !errors.Is(err, goredis.Nil) {
			return err
		}
		tag, old := split(was)
		done, err := c.swap(ctx, key, tag, change(old))
		if err != nil || done {
			return err
		}
	}
	return ErrBusy
}

// split takes the tag from a state.
func split(was []byte) (tag string, state []byte) {
	if len(was) < tagBytes {
		return string(was), nil
	}
	return string(was[:tagBytes]), was[tagBytes:]
}

// swap writes state where tag still is. When the answer is lost it asks once more, which does no harm: the script knows its own tag.
func (c *Client) swap(ctx context.Context, key, tag string, state []byte) (done bool, err error) {
	mine := make([]byte, tagBytes)
	_, _ = rand.Read(mine) // never fails
	write := func(ctx context.Context) error {
		n, err := swap.Run(ctx, c.rdb, []string{key}, tag, mine, state, keepStates.Milliseconds()).Int()
		done = n == 1
		return err
	}
	if err = c.ask(ctx, write); errors.Is(err, ErrAway) {
		err = c.run(ctx, write)
	}
	return done, err
}

// Forget removes the state of an account. ErrAway.
func (c *Client) Forget(ctx context.Context, account string) error {
	err := c.ask(ctx, func(ctx context.Context) error { return c.rdb.Del(ctx, c.key(account, "state")).Err() })
	if err != nil {
		return fmt.Errorf("forget state: %w", err)
	}
	return nil
}
