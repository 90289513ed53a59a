package redis

import (
	"context"
	"time"

	goredis "github.com/redis/go-redis/v9"
)

// counterMinutes is how far back a counter looks, as policy.Counter.
const counterMinutes = 61

// counterSkew is how many minutes the clocks of nodes may differ, as for policy.Counter.
const counterSkew = 10

// take adds to the minute's count and gives the sum of the hour before it. Counts of a clock that was ahead go back with it, as
// old as they were: else they would count until that time has come.
var take = goredis.NewScript(`
local minute, sum, newest = tonumber(ARGV[1]), 0, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	newest = math.max(newest, tonumber(all[i]))
end
if newest > minute + tonumber(ARGV[5]) then
	redis.call('DEL', KEYS[1])
	for i = 1, #all, 2 do
		all[i] = tonumber(all[i]) - newest + minute
		redis.call('HSET', KEYS[1], all[i], all[i + 1])
	end
	redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
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

// Take adds n recipient copies to the counters of a domain and a tenant at nowUS (µs since 1970), in one round trip, and gives how
// many the rolling hour of each had before. After an error none is counted, as far as Redis can be told. ErrAway.
func (c *Client) Take(ctx context.Context, nowUS, n int64, counters ...string) (before []int64, err error) {
	if before, err = c.takeAll(ctx, nowUS, n, counters); goredis.HasErrorPrefix(err, "NOSCRIPT") {
		if err = c.ask(ctx, func(ctx context.Context) error { return take.Load(ctx, c.rdb).Err() }); err == nil {
			before, err = c.takeAll(ctx, nowUS, n, counters)
		}
	}
	return before, err
}

func (c *Client) takeAll(ctx context.Context, nowUS, n int64, counters []string) ([]int64, error) {
	cmds := make([]*goredis.Cmd, len(counters))
	err := c.ask(ctx, func(ctx context.Context) error {
		_, err := c.rdb.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for i, counter := range counters {
				cmds[i] = take.EvalSha(ctx, p, []string{c.key(counter, "hour")}, minute(nowUS), n, counterMinutes,
					(counterMinutes+1)*time.Minute.Milliseconds(), counterSkew)
			}
			return nil
		})
		return err
	})
	before := make([]int64, len(counters))
	for i := range cmds {
		if cmds[i] == nil || cmds[i].Err() != nil {
			continue
		}
		if before[i], _ = cmds[i].Int64(); err != nil {
			_ = c.GiveBack(ctx, counters[i], nowUS, n) // if it is away, the hour ends it
		}
	}
	return before, err
}

// GiveBack takes n away again that was taken at takenUS. ErrAway.
func (c *Client) GiveBack(ctx context.Context, counter string, takenUS, n int64) error {
	return c.ask(ctx, func(ctx context.Context) error {
		return giveBack.Run(ctx, c.rdb, []string{c.key(counter, "hour")}, minute(takenUS), n).Err()
	})
}

func minute(us int64) int64 { return us / time.Minute.Microseconds() }
