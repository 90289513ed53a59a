package redis_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/policy/redis"
)

func open(t testing.TB, o redis.Options) *redis.Client {
	t.Helper()
	if o.TimeoutMS == 0 {
		o.TimeoutMS = 5000 // the machine may be busy
	}
	c, err := redis.Open(o, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func add(n uint64) func([]byte) []byte {
	return func(old []byte) []byte {
		var was uint64
		if old != nil {
			was = binary.BigEndian.Uint64(old)
		}
		return binary.BigEndian.AppendUint64(nil, was+n)
	}
}

func TestNoUpdateIsLostOrMadeTwiceByTwoNodes(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	const perNode = 300
	var busy [2]uint64
	var nodes sync.WaitGroup
	for i := range busy {
		c := open(t, redis.Options{URL: server.URL()})
		nodes.Go(func() {
			for range perNode {
				err := c.Update(t.Context(), "tanaka@example.test", add(1))
				if err != nil {
					require.ErrorIs(t, err, redis.ErrBusy)
					busy[i]++
				}
			}
		})
	}
	nodes.Wait()
	var sum uint64
	require.NoError(t, open(t, redis.Options{URL: server.URL()}).Update(t.Context(), "tanaka@example.test", func(old []byte) []byte {
		sum = binary.BigEndian.Uint64(old)
		return old
	}))
	require.Equal(t, 2*perNode-busy[0]-busy[1], sum)
}

func TestStatesOfAccountsAreApartAndBinarySafe(t *testing.T) {
	t.Parallel()
	c := open(t, redis.Options{URL: labtest.Redis(t).URL(), Prefix: "site"})
	state := bytes.Repeat([]byte{0, 0xff, '\n', '}'}, 3<<10)
	for _, account := range []string{"a@x.test", "a}b{@x.test", "192.0.2.7", "日本@x.test"} {
		require.NoError(t, c.Update(t.Context(), account, func(old []byte) []byte {
			require.Nil(t, old)
			return append(state, account...)
		}))
	}
	require.NoError(t, c.Update(t.Context(), "a@x.test", func(old []byte) []byte {
		require.Equal(t, append(state, "a@x.test"...), old)
		return []byte{}
	}))
	require.NoError(t, c.Update(t.Context(), "a@x.test", func(old []byte) []byte {
		require.NotNil(t, old, "an empty state is a state")
		require.Empty(t, old)
		return old
	}))
	require.NoError(t, c.Forget(t.Context(), "a@x.test"))
	require.NoError(t, c.Update(t.Context(), "a@x.test", func(old []byte) []byte {
		require.Nil(t, old)
		return old
	}))
}

func TestThirdConflictInARowIsTold(t *testing.T) {
	t.Parallel()
	c := open(t, redis.Options{URL: labtest.Redis(t).URL()})
	calls := 0
	err := c.Update(t.Context(), "a", func([]byte) []byte {
		calls++
		require.NoError(t, c.Update(context.Background(), "a", add(1)))
		return []byte("mine")
	})
	require.ErrorIs(t, err, redis.ErrBusy)
	require.Equal(t, 3, calls)
}

// lossy passes commands on to Redis, and loses the answer of the first one that is a swap with this state.
func lossy(t *testing.T, addr, word string) (proxy string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	var lost sync.Once
	serve := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		defer server.Close()
		buf, answer := make([]byte, 64<<10), make([]byte, 64<<10)
		for {
			n, err := client.Read(buf)
			if err != nil {
				return
			}
			_, _ = server.Write(buf[:n])
			m, err := server.Read(answer)
			if err != nil {
				return
			}
			drop := false
			if bytes.Contains(buf[:n], []byte(word)) && bytes.Equal(answer[:m], []byte(":1\r\n")) {
				lost.Do(func() { drop = true })
			}
			if drop {
				return
			}
			_, _ = client.Write(answer[:m])
		}
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return ln.Addr().String()
}

func TestWriteWhoseAnswerWasLostIsNotMadeTwice(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	direct := open(t, redis.Options{URL: server.URL()})
	require.NoError(t, direct.Update(t.Context(), "a", func([]byte) []byte { return []byte("one") })) // loads the script
	c := open(t, redis.Options{URL: "redis://" + lossy(t, server.Addr, "two")})
	calls := 0
	err := c.Update(t.Context(), "a", func(old []byte) []byte {
		calls++
		require.Equal(t, "one", string(old))
		return []byte("two")
	})
	require.NoError(t, err)
	require.Equal(t, 1, calls)
	require.NoError(t, direct.Update(t.Context(), "a", func(old []byte) []byte {
		require.Equal(t, "two", string(old))
		return old
	}))
}

func TestCountersLookBackAnHourAndGiveBack(t *testing.T) {
	t.Parallel()
	c := open(t, redis.Options{URL: labtest.Redis(t).URL()})
	at := time.Date(2026, 11, 26, 10, 0, 30, 0, time.UTC)
	take := func(counter string, at time.Time, n int64) int64 {
		before, err := c.Take(t.Context(), at.UnixMicro(), n, counter)
		require.NoError(t, err)
		return before[0]
	}
	require.EqualValues(t, 0, take("example.test", at, 5))
	require.EqualValues(t, 5, take("example.test", at.Add(time.Minute), 2))
	require.EqualValues(t, 0, take("other.test", at, 1))
	require.EqualValues(t, 7, take("example.test", at.Add(59*time.Minute), 0))
	require.EqualValues(t, 2, take("example.test", at.Add(61*time.Minute), 0))
	require.NoError(t, c.GiveBack(t.Context(), "example.test", at.Add(time.Minute).UnixMicro(), 1))
	require.EqualValues(t, 1, take("example.test", at.Add(61*time.Minute), 0))
	require.NoError(t, c.GiveBack(t.Context(), "example.test", at.Add(time.Minute).UnixMicro(), 9))
	require.NoError(t, c.GiveBack(t.Context(), "example.test", at.UnixMicro(), 9))
	require.EqualValues(t, 0, take("example.test", at.Add(61*time.Minute), 0))
}

func TestCountersGoOnAfterAClockWasAhead(t *testing.T) {
	t.Parallel()
	c := open(t, redis.Options{URL: labtest.Redis(t).URL()})
	at := time.Date(2026, 11, 26, 10, 0, 30, 0, time.UTC)
	take := func(at time.Time, n int64) int64 {
		before, err := c.Take(t.Context(), at.UnixMicro(), n, "example.test")
		require.NoError(t, err)
		return before[0]
	}
	ahead := at.Add(9 * time.Hour)
	require.EqualValues(t, 0, take(ahead, 5))
	require.EqualValues(t, 5, take(ahead.Add(20*time.Minute), 2))
	require.EqualValues(t, 7, take(ahead.Add(10*time.Minute), 0), "the clocks of nodes differ a little")
	require.EqualValues(t, 7, take(at, 1), "what was taken meanwhile counts")
	require.EqualValues(t, 3, take(at.Add(41*time.Minute), 0), "and is as old as it was")
	require.EqualValues(t, 0, take(at.Add(61*time.Minute), 0))
}

func TestCounterOfManyNodesIsExact(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	now := time.Now().UnixMicro()
	var group sync.WaitGroup
	for range 4 {
		c := open(t, redis.Options{URL: server.URL()})
		group.Go(func() {
			for i := range 100 {
				before, err := c.Take(t.Context(), now, 2, "d", "t")
				require.NoError(t, err)
				require.Len(t, before, 2)
				if i%2 == 0 {
					require.NoError(t, c.GiveBack(t.Context(), "d", now, 1))
				}
			}
		})
	}
	group.Wait()
	before, err := open(t, redis.Options{URL: server.URL()}).Take(t.Context(), now, 0, "d", "t")
	require.NoError(t, err)
	require.Equal(t, []int64{4 * (200 - 50), 4 * 200}, before)
}

func TestRedisThatIsAwayIsToldAndComesBack(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	var log bytes.Buffer
	c, err := redis.Open(redis.Options{URL: server.URL(), TimeoutMS: 5000}, slog.New(slog.NewTextHandler(&log, nil)))
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.Update(t.Context(), "a", add(1)))
	server.Stop()
	require.ErrorIs(t, c.Update(t.Context(), "a", add(1)), redis.ErrAway)
	_, err = c.Take(t.Context(), 1, 1, "d")
	require.ErrorIs(t, err, redis.ErrAway)
	require.ErrorIs(t, c.GiveBack(t.Context(), "d", 1, 1), redis.ErrAway)
	require.ErrorIs(t, c.Forget(t.Context(), "a"), redis.ErrAway)
	require.NoError(t, server.Start(t.Context()))
	require.NoError(t, lab.Eventually(t.Context(), func(ctx context.Context) error { return c.Update(ctx, "a", add(1)) }))
	require.Contains(t, log.String(), "redis does not answer")
	require.Contains(t, log.String(), "redis answers again")
}

func TestBadURLsAreRefusedWithoutTheirPassword(t *testing.T) {
	for _, url := range []string{"", "http://x:secret@h", "redis://x:secret@h:port/0", "redis://:secret@h/zero"} {
		_, err := redis.Open(redis.Options{URL: url}, nil)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "secret")
	}
}

func BenchmarkUpdate(b *testing.B) {
	c := open(b, redis.Options{URL: labtest.Redis(b).URL()})
	state := bytes.Repeat([]byte{1}, 4<<10)
	for i := 0; b.Loop(); i++ {
		require.NoError(b, c.Update(b.Context(), fmt.Sprint(i%100), func([]byte) []byte { return state }))
	}
}
