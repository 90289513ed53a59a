// Package blobtest is the suite that every backend of package blob passes: each promise of blob.Bucket, as
// its documentation makes it.
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

// Run tests the empty buckets that open makes; open closes them with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) blob.Bucket) {
	for name, test := range map[string]func(*testing.T, blob.Bucket){
		"WhatIsPutCanBeRead":                  testPutGet,
		"RangesAreCut":                        testRanges,
		"TakenKeyIsNotTouched":                testExists,
		"ContentOfAnotherLengthIsRefused":     testWrongSize,
		"FailingReaderStoresNothing":          testFailingReader,
		"ReaderIsReadFromItsBeginning":        testRewind,
		"MissingObjectsAreNotFound":           testNotFound,
		"CopySharesAndOutlivesItsSource":      testCopy,
		"DeleteMayBeRepeated":                 testDelete,
		"ReadersGoOnAfterDelete":              testDeleteWhileReading,
		"ListYieldsWhatStartsWithPrefix":      testList,
		"ListStopsWhenTold":                   testListStops,
		"MalformedKeysAreRefused":             testBadKeys,
		"LongestKeysAreTaken":                 testLongKeys,
		"EndedContextStopsEverything":         testContext,
		"CheckLeavesNothing":                  testCheck,
		"OneOfManyPutsToOneKeyWins":           testConcurrentSameKey,
		"PutsIntoNewDirectoriesRunAtOnce":     testConcurrentDirs,
		"ReadersNeverSeePartOfAnObject":       testNeverPartial,
		"ListWhileObjectsComeAndGoNeverFails": testListMeanwhile,
		"ReplaceTakesTheOldOnesPlace":         testReplace,
		"ReplaceIsSeenWholeOrNotAtAll":        testReplaceWhole,
		"ReaderGoesToAnyPlace":                testReader,
		"VerifierGivesNothingDamaged":         testVerifier,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func testPutGet(t *testing.T, b blob.Bucket) {
	for _, size := range []int64{0, 1, 4095, 4096, 256<<10 - 1, 256 << 10, 256<<10 + 1, 20<<20 + 3} {
		key := fmt.Sprintf("t-1/m_2/2026/size.%d", size)
		data := random(size)
		before := time.Now()
		require.NoError(t, b.Put(t.Context(), key, bytes.NewReader(data), size))
		got, info := read(t, b, key, 0, -1)
		require.Equal(t, sha256.Sum256(data), sha256.Sum256(got), "size %d", size)
		require.Equal(t, key, info.Key)
		require.Equal(t, size, info.SizeBytes)
		require.WithinRange(t, info.Modified, before.Add(-time.Hour), time.Now().Add(time.Hour))
		again, err := b.Stat(t.Context(), key)
		require.NoError(t, err)
		require.True(t, again.Modified.Equal(info.Modified))
		again.Modified = info.Modified
		require.Equal(t, info, again)
	}
}

func testRanges(t *testing.T, b blob.Bucket) {
	put(t, b, "a/b", "0123456789")
	for _, c := range []struct {
		offset, n int64
		want      string
	}{
		{0, -1, "0123456789"}, {0, 0, ""}, {0, 1, "0"}, {3, 4, "3456"}, {9, 1, "9"}, {9, 5, "9"}, {4, -7, "456789"},
		{10, 1, ""}, {10, -1, ""}, {11, 1, ""}, {1 << 62, 1 << 62, ""}, {1, 1<<63 - 1, "123456789"},
	} {
		got, info := read(t, b, "a/b", c.offset, c.n)
		require.Equal(t, c.want, string(got), "offset %d, n %d", c.offset, c.n)
		require.Equal(t, int64(10), info.SizeBytes, "the size is that of the object")
	}
	_, _, err := b.Get(t.Context(), "a/b", -1, 1)
	require.Error(t, err)
}

func testExists(t *testing.T, b blob.Bucket) {
	put(t, b, "a/b", "first")
	put(t, b, "a/c", "other")
	require.ErrorIs(t, b.Put(t.Context(), "a/b", strings.NewReader("second"), 6), blob.ErrExists)
	require.ErrorIs(t, b.Copy(t.Context(), "a/c", "a/b"), blob.ErrExists)
	require.ErrorIs(t, b.Copy(t.Context(), "a/b", "a/b"), blob.ErrExists)
	requireContent(t, b, "a/b", "first")
}

func testWrongSize(t *testing.T, b blob.Bucket) {
	for _, c := range []struct {
		length int
		size   int64
	}{{0, 1}, {4, 5}, {5, 4}, {1, 0}, {300 << 10, 300<<10 + 1}, {300 << 10, 300<<10 - 1}, {300 << 10, 256 << 10}, {3, -1}} {
		err := b.Put(t.Context(), "a/b", strings.NewReader(strings.Repeat("x", c.length)), c.size)
		require.Error(t, err, "%d bytes announced as %d", c.length, c.size)
		requireMissing(t, b, "a/b")
	}
	put(t, b, "a/b", "the key is still free")
}

var errRead = errors.New("read error of the test")

// failing breaks after some bytes.
type failing struct{ *strings.Reader }

func (f failing) Read(p []byte) (int, error) {
	if f.Len() <= 10 {
		return 0, errRead
	}
	return f.Reader.Read(p[:min(len(p), f.Len()-10)])
}

func testFailingReader(t *testing.T, b blob.Bucket) {
	content := strings.Repeat("x", 400<<10)
	require.ErrorIs(t, b.Put(t.Context(), "a/b", failing{strings.NewReader(content)}, int64(len(content))), errRead)
	requireMissing(t, b, "a/b")
	require.Empty(t, list(t, b, ""))
}

func testRewind(t *testing.T, b blob.Bucket) {
	r := strings.NewReader("whole")
	_, err := r.Seek(3, io.SeekStart)
	require.NoError(t, err)
	require.NoError(t, b.Put(t.Context(), "a", r, 5))
	requireContent(t, b, "a", "whole")
}

func testNotFound(t *testing.T, b blob.Bucket) {
	put(t, b, "dir/object", "x")
	for _, key := range []string{"nothing", "no/where/at/all", "dir", "dir/object/below", "dir/objec", "dir/object2"} {
		requireMissing(t, b, key)
		require.ErrorIs(t, b.Copy(t.Context(), key, "new"), blob.ErrNotFound, key)
		requireMissing(t, b, "new")
		require.NoError(t, b.Delete(t.Context(), key), key)
	}
	requireContent(t, b, "dir/object", "x")
}

func testCopy(t *testing.T, b blob.Bucket) {
	put(t, b, "t/m1/o", "shared")
	require.NoError(t, b.Copy(t.Context(), "t/m1/o", "t/m2/new/dir/o"))
	require.NoError(t, b.Copy(t.Context(), "t/m2/new/dir/o", "top"))
	require.NoError(t, b.Delete(t.Context(), "t/m1/o"))
	requireMissing(t, b, "t/m1/o")
	requireContent(t, b, "t/m2/new/dir/o", "shared")
	requireContent(t, b, "top", "shared")
	info, err := b.Stat(t.Context(), "top")
	require.NoError(t, err)
	require.Equal(t, int64(6), info.SizeBytes)
	require.Equal(t, "top", info.Key)
}

func testDelete(t *testing.T, b blob.Bucket) {
	put(t, b, "a/b", "x")
	put(t, b, "a/c", "y")
	for range 3 {
		require.NoError(t, b.Delete(t.Context(), "a/b"))
		requireMissing(t, b, "a/b")
	}
	requireContent(t, b, "a/c", "y")
	require.NoError(t, b.Delete(t.Context(), "a/c"))
	put(t, b, "a/b", "again")
	requireContent(t, b, "a/b", "again")
}

func testDeleteWhileReading(t *testing.T, b blob.Bucket) {
	data := random(1 << 20)
	require.NoError(t, b.Put(t.Context(), "a/b", bytes.NewReader(data), int64(len(data))))
	r, _, err := b.Get(t.Context(), "a/b", 0, -1)
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	_, err = io.ReadFull(r, make([]byte, 10))
	require.NoError(t, err)
	require.NoError(t, b.Delete(t.Context(), "a/b"))
	rest, err := io.ReadAll(r)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data[10:], rest))
}

func testList(t *testing.T, b blob.Bucket) {
	keys := []string{"a/b/1", "a/b/10", "a/b/2", "a/bc/1", "a/c", "ab/1", "b", "A/b"}
	for _, key := range keys {
		put(t, b, key, key)
	}
	for prefix, want := range map[string][]string{
		"": keys, "a": {"a/b/1", "a/b/10", "a/b/2", "a/bc/1", "a/c", "ab/1"}, "a/": {"a/b/1", "a/b/10", "a/b/2", "a/bc/1", "a/c"},
		"a/b": {"a/b/1", "a/b/10", "a/b/2", "a/bc/1"}, "a/b/": {"a/b/1", "a/b/10", "a/b/2"}, "a/b/1": {"a/b/1", "a/b/10"},
		"a/b/10": {"a/b/10"}, "a/b/1/": nil, "a/c/": nil, "z": nil, "z/z/": nil, "b": {"b"}, "A": {"A/b"},
	} {
		require.ElementsMatch(t, want, list(t, b, prefix), "prefix %q", prefix)
	}
	for info, err := range b.List(t.Context(), "a/bc/") {
		require.NoError(t, err)
		require.Equal(t, int64(len("a/bc/1")), info.SizeBytes)
		require.False(t, info.Modified.IsZero())
	}
	for _, prefix := range []string{"/", "..", "a/../b", "a//", ".tmp", "a/.", "日本", "a b"} {
		var last error
		for _, err := range b.List(t.Context(), prefix) {
			last = err
		}
		require.ErrorIs(t, last, blob.ErrKey, "prefix %q", prefix)
	}
}

func testListStops(t *testing.T, b blob.Bucket) {
	for i := range 5 {
		put(t, b, fmt.Sprintf("d%d/o", i), "x")
	}
	n := 0
	for _, err := range b.List(t.Context(), "") {
		require.NoError(t, err)
		if n++; n == 2 {
			break
		}
	}
	require.Equal(t, 2, n)
}

func testBadKeys(t *testing.T, b blob.Bucket) {
	put(t, b, "good", "x")
	for _, key := range badKeys {
		require.ErrorIs(t, b.Put(t.Context(), key, strings.NewReader("x"), 1), blob.ErrKey, "%q", key)
		require.ErrorIs(t, b.Copy(t.Context(), "good", key), blob.ErrKey, "%q", key)
		require.ErrorIs(t, b.Copy(t.Context(), key, "new"), blob.ErrKey, "%q", key)
		require.ErrorIs(t, b.Delete(t.Context(), key), blob.ErrKey, "%q", key)
		_, err := b.Stat(t.Context(), key)
		require.ErrorIs(t, err, blob.ErrKey, "%q", key)
		_, _, err = b.Get(t.Context(), key, 0, -1)
		require.ErrorIs(t, err, blob.ErrKey, "%q", key)
	}
	require.Equal(t, []string{"good"}, list(t, b, ""))
}

var badKeys = []string{
	"", ".", "..", "/", "/a", "a/", "a//b", "a/./b", "a/../b", "../a", "a/..", ".hidden", "a/.hidden", ".tmp/x", "...",
	"a\x00b", "a\nb", "a b", "a\\b", "a:b", "a%2fb", "a?b", "a*b", "~", "$HOME", "a\u202eb", "会議", "メール/1", "ａ", "é", "\xff\xfe",
	strings.Repeat("x", 201), "a/" + strings.Repeat("x", 201), strings.Repeat("abcdefghi/", 90) + "x",
}

func testLongKeys(t *testing.T, b blob.Bucket) {
	deep := strings.Repeat("d/", 449) + "xy"
	wide := strings.Repeat("w", 200) + "/" + strings.Repeat("x", 200)
	require.Len(t, deep, 900)
	for _, key := range []string{deep, wide, "-", "_", "-.-", "a..b", "a."} {
		put(t, b, key, "long")
		requireContent(t, b, key, "long")
	}
	require.Len(t, list(t, b, ""), 7)
}

func testContext(t *testing.T, b blob.Bucket) {
	put(t, b, "a", "x")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, b.Put(ctx, "b", strings.NewReader("x"), 1), context.Canceled)
	require.ErrorIs(t, b.Copy(ctx, "a", "b"), context.Canceled)
	require.ErrorIs(t, b.Delete(ctx, "a"), context.Canceled)
	require.ErrorIs(t, b.Check(ctx), context.Canceled)
	_, err := b.Stat(ctx, "a")
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = b.Get(ctx, "a", 0, -1)
	require.ErrorIs(t, err, context.Canceled)
	for _, err := range b.List(ctx, "") {
		require.ErrorIs(t, err, context.Canceled)
	}
	requireMissing(t, b, "b")
	requireContent(t, b, "a", "x")

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	content := strings.Repeat("x", 2<<20)
	err = b.Put(ctx, "b", &cancelling{strings.NewReader(content), cancel}, int64(len(content)))
	require.ErrorIs(t, err, context.Canceled)
	requireMissing(t, b, "b")
}

// cancelling ends the context in the middle of the content.
type cancelling struct {
	*strings.Reader
	cancel func()
}

func (c *cancelling) Read(p []byte) (int, error) {
	if c.Len() < 1<<20 {
		c.cancel()
	}
	return c.Reader.Read(p)
}

func testCheck(t *testing.T, b blob.Bucket) {
	for range 3 {
		require.NoError(t, b.Check(t.Context()))
	}
	require.Empty(t, list(t, b, ""))
}

func testConcurrentSameKey(t *testing.T, b blob.Bucket) {
	const writers = 16
	errs := make([]error, writers)
	atOnce(writers, func(i int) {
		content := fmt.Sprintf("writer %02d", i)
		errs[i] = b.Put(t.Context(), "a/b/c", strings.NewReader(content), int64(len(content)))
	})
	var winner string
	for i, err := range errs {
		if err == nil {
			require.Empty(t, winner, "two winners")
			winner = fmt.Sprintf("writer %02d", i)
			continue
		}
		require.ErrorIs(t, err, blob.ErrExists)
	}
	requireContent(t, b, "a/b/c", winner)
}

func testConcurrentDirs(t *testing.T, b blob.Bucket) {
	const writers, objects = 16, 8
	errs := make([]error, writers)
	atOnce(writers, func(i int) {
		for o := range objects {
			key := fmt.Sprintf("t/m%d/d%d/o%d", o%3, o, i)
			errs[i] = errors.Join(errs[i], b.Put(t.Context(), key, strings.NewReader(key), int64(len(key))),
				b.Copy(t.Context(), key, key+".copy"))
		}
	})
	require.NoError(t, errors.Join(errs...))
	keys := list(t, b, "t/")
	require.Len(t, keys, 2*writers*objects)
	for _, key := range keys {
		requireContent(t, b, key, strings.TrimSuffix(key, ".copy"))
	}
}

func testNeverPartial(t *testing.T, b blob.Bucket) {
	data := random(3 << 20)
	done := make(chan error, 1)
	go func() { done <- b.Put(t.Context(), "a/b", bytes.NewReader(data), int64(len(data))) }()
	for {
		r, _, err := b.Get(t.Context(), "a/b", 0, -1)
		if errors.Is(err, blob.ErrNotFound) {
			continue
		}
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.True(t, bytes.Equal(data, got), "%d of %d bytes", len(got), len(data))
		break
	}
	require.NoError(t, <-done)
}

func testListMeanwhile(t *testing.T, b blob.Bucket) {
	put(t, b, "t/stays", "x")
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			key := fmt.Sprintf("t/m%d/o", i%7)
			err := errors.Join(b.Put(t.Context(), key, strings.NewReader("x"), 1), b.Delete(t.Context(), key))
			select {
			case <-stop:
				done <- err
				return
			default:
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for range 50 {
		require.Contains(t, list(t, b, "t/"), "t/stays")
	}
	close(stop)
	require.NoError(t, <-done)
}

// atOnce runs n calls of f together and waits for them.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

func put(t *testing.T, b blob.Bucket, key, content string) {
	t.Helper()
	require.NoError(t, b.Put(t.Context(), key, strings.NewReader(content), int64(len(content))))
}

func read(t *testing.T, b blob.Bucket, key string, offset, n int64) ([]byte, blob.Info) {
	t.Helper()
	r, info, err := b.Get(t.Context(), key, offset, n)
	require.NoError(t, err)
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return data, info
}

func requireContent(t *testing.T, b blob.Bucket, key, want string) {
	t.Helper()
	got, _ := read(t, b, key, 0, -1)
	require.Equal(t, want, string(got), key)
}

func requireMissing(t *testing.T, b blob.Bucket, key string) {
	t.Helper()
	_, err := b.Stat(t.Context(), key)
	require.ErrorIs(t, err, blob.ErrNotFound, key)
	_, _, err = b.Get(t.Context(), key, 0, -1)
	require.ErrorIs(t, err, blob.ErrNotFound, key)
}

func list(t *testing.T, b blob.Bucket, prefix string) []string {
	t.Helper()
	var keys []string
	for info, err := range b.List(t.Context(), prefix) {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	return keys
}

// random gives the same bytes for the same size, on every machine.
func random(size int64) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(b) // never fails
	return b
}
