package move_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/move"
)

// bodiless answers the reading of one object with nothing, as a server whose answer is 200 without a body.
type bodiless struct {
	*blob.Memory
	key string
}

func (b *bodiless) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if key == b.key {
		return io.NopCloser(strings.NewReader("")), blob.Info{Key: key}, nil
	}
	return b.Memory.Get(ctx, key, offset, n)
}

func isJSON(key string) bool { return strings.HasSuffix(key, ".json") }

func isMail(key string) bool { return strings.HasSuffix(key, ".eml") }

func TestWhatIsReadInAnotherSizeThanItIsListedIsNotTakenOver(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/m/a.eml", "content")
	put(t, from, "t/m/mailbox.json", "a description may have been replaced meanwhile")
	report := run(t, to, &bodiless{from, "t/m/a.eml"}, move.Request{IsReplaced: isJSON, IsMessage: isMail})
	require.Len(t, report.Problems(), 1)
	require.ErrorIs(t, report.Problems()[0].Err, move.ErrSize)
	require.Equal(t, []string{"t/m/mailbox.json"}, keys(t, to))
	require.Empty(t, run(t, to, &bodiless{from, "t/m/mailbox.json"}, move.Request{IsReplaced: isJSON}).Problems())
	require.Equal(t, "content", content(t, to, "t/m/a.eml"))

	q := move.Request{VerifyAll: true}
	report = run(t, &bodiless{to, "t/m/a.eml"}, &bodiless{from, "t/m/a.eml"}, q)
	require.Len(t, report.Problems(), 1, "two empty answers are not alike")
	require.ErrorIs(t, report.Problems()[0].Err, move.ErrSize)
}

// unmounting loses a directory when it is listed, or read, the nth time.
type unmounting struct {
	*blob.FS
	dir         string
	lists, gets int
}

func (u *unmounting) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if u.lists--; u.lists == 0 {
		_ = os.RemoveAll(u.dir)
	}
	return u.FS.List(ctx, prefix)
}

func (u *unmounting) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if u.gets--; u.gets == 0 {
		_ = os.RemoveAll(u.dir)
	}
	return u.FS.Get(ctx, key, offset, n)
}

// The mount of a mailbox goes while its messages are copied.
func TestMessagesThatGoMeanwhileAreAProblem(t *testing.T) {
	for name, when := range map[string]unmounting{
		"before they are listed": {lists: 2}, "before one is read": {gets: 1}, "when some were read": {gets: 30},
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			from, err := blob.NewFS(base, blob.FSOptions{})
			require.NoError(t, err)
			defer func() { require.NoError(t, from.Close()) }()
			for i := range 200 {
				put(t, from, fmt.Sprintf("t/m/%d.eml", i), "message")
			}
			put(t, from, "t/m/1/attachments/1", "which the sweep may remove")
			put(t, from, "t/n/1.eml", "message")
			bucket := when
			bucket.FS, bucket.dir = from, filepath.Join(base, "t/m")
			to := blob.NewMemory()
			report := run(t, to, &bucket, move.Request{Workers: 1, IsMessage: isMail})
			problems := report.Problems()
			require.NotEmpty(t, problems)
			for _, p := range problems {
				require.ErrorIs(t, p.Err, move.ErrGone)
				require.NotContains(t, p.Key, "attachments")
			}
			if len(problems) == 1 {
				require.ErrorContains(t, problems[0].Err, "200 messages fewer")
			}
			require.Equal(t, "message", content(t, to, "t/n/1.eml"), "others are copied all the same")
		})
	}
}

func TestKeysThatDifferAreAProblemUntilTheyAreReplaced(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	isKey := func(key string) bool { return strings.HasSuffix(key, ".age") }
	q := move.Request{IsReplaced: func(string) bool { return true }, IsKey: isKey}
	put(t, from, "t/keys/k.age", "to the operator of now")
	put(t, to, "t/keys/k.age", "to the operator before")
	put(t, from, "t/keys/same.age", "same")
	put(t, to, "t/keys/same.age", "same")
	put(t, from, "t/tenant.json", "old")
	put(t, to, "t/tenant.json", "newer")
	report := run(t, to, from, q)
	require.Len(t, report.Problems(), 1)
	require.Equal(t, "t/keys/k.age", report.Problems()[0].Key)
	require.ErrorIs(t, report.Problems()[0].Err, move.ErrKeys)
	require.Equal(t, int64(2), report.Present.Load())
	require.Equal(t, "to the operator before", content(t, to, "t/keys/k.age"), "which of them is the right one is not known here")

	both := move.New(to, from)
	both.ReplaceInBoth(isKey)
	for _, key := range []string{"t/keys/k.age", "t/keys/new.age", "t/tenant.json"} {
		require.NoError(t, both.Replace(t.Context(), key, strings.NewReader("anew"), 4))
		require.Equal(t, "anew", content(t, to, key))
	}
	require.Equal(t, "anew", content(t, from, "t/keys/k.age"))
	require.Equal(t, "old", content(t, from, "t/tenant.json"))
	require.ElementsMatch(t, []string{"t/keys/k.age", "t/keys/same.age", "t/tenant.json"}, keys(t, from), "nothing new comes there")
	require.Empty(t, run(t, to, from, q).Problems())
}
