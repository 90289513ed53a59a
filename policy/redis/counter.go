package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// counterMinutes is how far back a counter looks, as policy.Counter.
const counterMinutes = 61

// take adds to the minute's count and gives the sum of the hour before it.
var take = goredis.NewScript(`
local minute, sum = tonumber(ARGV[1]), 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	if tonumber(all[i]) <= minute - tonumber(ARGV[3]) then
		redis.call('HDEL', KEYS[1], all[i])
	else
		sum = sum + tonumber(all[i + 1])
	end
end
if tonumber(ARGV[2]) > 0 then
	redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
	redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return sum`)

// giveBack takes away from the minute in which it was taken; never below nothing.
var giveBack = goredis.NewScript(`
local there = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local left = there - tonumber(ARGV[2])
if left > 0 then
	redis.call('HSET', KEYS[1], ARGV[1], left)
elseif there > 0 then
	redis.call('HDEL', KEYS[1], ARGV[1])
end
return left`)

// Take adds n recipient copies to the counter of a domain or tenant at nowUS (µs since 1970), and gives how many the rolling
// hour had before. ErrAway.
func (c *Client) Take(ctx context.Context, counter string, nowUS, n int64) (before int64, err error) {
	err = c.ask(ctx, func(ctx context.Context) (err error) {
		before, err = take.Run(ctx, c.rdb, []string{c.key(counter, "hour")}, minute(nowUS), n, counterMinutes,
			(counterMinutes+1)*time.Minute.Milliseconds()).Int64()
		return err
	})
	return before, err
}

// GiveBack takes n away again that was taken at takenUS. ErrAway.
func (c *Client) GiveBack(ctx context.Context, counter string, takenUS, n int64) error {
	return c.ask(ctx, func(ctx context.Context) error {
		return giveBack.Run(ctx, c.rdb, []string{c.key(counter, "hour")}, minute(takenUS), n).Err()
	})
}

func minute(us int64) int64 { return us / time.Minute.Microseconds() }
