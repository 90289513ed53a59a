package move_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
	"github.com/mairust/mairust/store/blob/move"
)

func TestBothAsOne(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Bucket { return move.New(blob.NewMemory(), blob.NewMemory()) })
}

func put(t *testing.T, b blob.Bucket, key, content string) {
	t.Helper()
	require.NoError(t, b.Put(t.Context(), key, strings.NewReader(content), int64(len(content))))
}

func content(t *testing.T, b blob.Bucket, key string) string {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, 0, -1)
	require.NoError(t, err)
	raw, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(raw)
}

func keys(t *testing.T, b blob.Bucket) (list []string) {
	t.Helper()
	for info, err := range b.List(t.Context(), "") {
		require.NoError(t, err)
		list = append(list, info.Key)
	}
	return list
}

func TestOldObjectsAreReadAndNewOnesAreWrittenToTheNewStore(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/old", "old")
	put(t, from, "t/both", "both")
	put(t, to, "t/both", "both")
	b := move.New(to, from)
	require.Equal(t, "old", content(t, b, "t/old"))
	require.ErrorIs(t, b.Put(t.Context(), "t/old", strings.NewReader("x"), 1), blob.ErrExists)
	require.ErrorIs(t, b.Copy(t.Context(), "t/both", "t/old"), blob.ErrExists)
	put(t, b, "t/new", "new")
	require.NoError(t, b.Copy(t.Context(), "t/old", "t/copy"))
	require.ElementsMatch(t, []string{"t/old", "t/both"}, keys(t, from))
	require.ElementsMatch(t, []string{"t/both", "t/new", "t/copy"}, keys(t, to))
	require.ElementsMatch(t, []string{"t/old", "t/both", "t/new", "t/copy"}, keys(t, b), "each once")
	require.NoError(t, b.Replace(t.Context(), "t/old", strings.NewReader("newer"), 5))
	require.Equal(t, "newer", content(t, b, "t/old"))
	require.NoError(t, b.Delete(t.Context(), "t/old"))
	_, err := b.Stat(t.Context(), "t/old")
	require.ErrorIs(t, err, blob.ErrNotFound, "it is in neither")
}

func TestWhatWasWrittenLaterIsReadOfWhatBothHave(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	b := move.New(to, from)
	b.ReadNewest("installation/n", func(a, b []byte) bool { return string(a) > string(b) })
	put(t, from, "installation/n", "2")
	require.Equal(t, "2", content(t, b, "installation/n"), "one has it")
	put(t, to, "installation/n", "1")
	require.Equal(t, "2", content(t, b, "installation/n"))
	put(t, from, "installation/other", "2")
	put(t, to, "installation/other", "1")
	require.Equal(t, "1", content(t, b, "installation/other"), "that of the new one, as any other")
	require.NoError(t, b.Replace(t.Context(), "installation/n", strings.NewReader("3"), 1))
	require.Equal(t, "3", content(t, b, "installation/n"))
	require.NoError(t, from.Replace(t.Context(), "installation/n", strings.NewReader("3"), 1))
	require.NoError(t, to.Delete(t.Context(), "installation/n"))
	require.Equal(t, "3", content(t, b, "installation/n"))
}

// run copies until it succeeds.
func run(t *testing.T, to, from move.Store, q move.Request) *move.Report {
	t.Helper()
	report := &move.Report{}
	require.NoError(t, move.Run(t.Context(), to, from, q, report))
	return report
}

func TestRunCopiesAllAndBeginsWhereItEnded(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	for i := range 50 {
		put(t, from, fmt.Sprintf("t/m%d/%d.eml", i%5, i), strings.Repeat("x", i*100))
	}
	dry := run(t, to, from, move.Request{DryRun: true})
	require.Equal(t, int64(50), dry.Copied.Load())
	require.Empty(t, keys(t, to))

	ctx, cancel := context.WithCancel(t.Context())
	broken := &counting{Memory: to, after: 20, do: cancel}
	report := &move.Report{}
	require.ErrorIs(t, move.Run(ctx, broken, from, move.Request{}, report), context.Canceled)
	has := len(keys(t, to))
	require.GreaterOrEqual(t, has, 20-8, "each of the 8 workers takes back what it has not read again")
	require.Less(t, has, 50)

	again := run(t, to, from, move.Request{VerifyAll: true})
	require.Equal(t, int64(50), again.Copied.Load()+again.Present.Load())
	require.Equal(t, int64(has), again.Present.Load())
	require.Empty(t, again.Problems())
	require.ElementsMatch(t, keys(t, from), keys(t, to))
	for _, key := range keys(t, to) {
		require.Equal(t, content(t, from, key), content(t, to, key))
	}
	last := run(t, to, from, move.Request{})
	require.Zero(t, last.Copied.Load())
}

// counting does something after so many puts. Those behind wait for the end of their context, as slow ones would.
type counting struct {
	*blob.Memory
	puts  atomic.Int64
	after int64
	do    func()
}

func (c *counting) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	n := c.puts.Add(1)
	if n > c.after && ctx.Done() != nil {
		<-ctx.Done()
		return ctx.Err()
	}
	err := c.Memory.Put(ctx, key, r, size)
	if n == c.after {
		c.do()
	}
	return err
}

func TestWhatIsRemovedWhileItIsCopiedStaysRemoved(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/gone", "gone")
	both := move.New(to, from)
	// The removal comes between the reading of the old one and the writing of the new one.
	racing := &before{Memory: to, do: func() { require.NoError(t, both.Delete(t.Context(), "t/gone")) }}
	report := run(t, racing, from, move.Request{})
	require.Equal(t, int64(1), report.Gone.Load())
	require.Empty(t, keys(t, both))
}

func TestKeyThatIsDestroyedWhileItIsCopiedStaysDestroyed(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/keys/k.age", "wrapped")
	both := move.New(to, from)
	racing := &before{Memory: to, do: func() { require.NoError(t, both.Delete(t.Context(), "t/keys/k.age")) }}
	report := run(t, racing, from, move.Request{IsReplaced: func(string) bool { return true }})
	require.Equal(t, int64(1), report.Gone.Load())
	require.Empty(t, keys(t, both))
}

func TestWhatIsWrittenAnewWhileItIsCopiedStaysNew(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/m/mailbox.json", "old")
	both := move.New(to, from)
	racing := &before{Memory: to, do: func() {
		require.NoError(t, both.Replace(t.Context(), "t/m/mailbox.json", strings.NewReader("newer"), 5))
	}}
	require.Empty(t, run(t, racing, from, move.Request{IsReplaced: func(string) bool { return true }}).Problems())
	require.Equal(t, "newer", content(t, both, "t/m/mailbox.json"))
}

// before does something before each put.
type before struct {
	*blob.Memory
	do func()
}

func (b *before) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	b.do()
	return b.Memory.Put(ctx, key, r, size)
}

func (b *before) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	b.do()
	return b.Memory.Replace(ctx, key, r, size)
}

func TestDifferencesAreProblemsAndNothingIsOverwritten(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/size", "the old one")
	put(t, to, "t/size", "another")
	put(t, from, "t/bytes", "old")
	put(t, to, "t/bytes", "new")
	put(t, from, "t/m/mailbox.json", "old description")
	put(t, to, "t/m/mailbox.json", "new")
	q := move.Request{VerifyAll: true, IsReplaced: func(key string) bool { return strings.HasSuffix(key, ".json") }}
	report := run(t, to, from, q)
	problems := report.Problems()
	require.Len(t, problems, 2)
	for _, p := range problems {
		require.ErrorIs(t, p.Err, move.ErrDiffers)
		require.NotEqual(t, "t/m/mailbox.json", p.Key)
		require.NotContains(t, p.Err.Error(), "instead of", "nobody knows here which is the right one")
	}
	require.Equal(t, "another", content(t, to, "t/size"))
	require.Equal(t, "new", content(t, to, "t/m/mailbox.json"))
}

// The old store's object is cut, and the daemon has mended it in the new one.
func TestMendedObjectStaysAndTheCopyingEndsWhenTheDamagedOneWasRemoved(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/whole", "content")
	put(t, from, "t/cut", "con")
	both := move.New(to, from)
	require.NoError(t, both.Replace(t.Context(), "t/cut", strings.NewReader("content"), 7))
	require.Equal(t, "con", content(t, from, "t/cut"))
	for range 2 {
		problems := run(t, to, from, move.Request{}).Problems()
		require.Len(t, problems, 1)
		require.ErrorIs(t, problems[0].Err, move.ErrDiffers)
		require.ErrorContains(t, problems[0].Err, "7 bytes in the new one, 3 in the old one")
		require.Equal(t, "content", content(t, both, "t/cut"))
	}
	require.NoError(t, from.Delete(t.Context(), "t/cut"))
	require.Empty(t, run(t, to, from, move.Request{VerifyAll: true}).Problems())
	require.Equal(t, "content", content(t, both, "t/cut"))
}

// altering stores other bytes than it is given.
type altering struct{ *blob.Memory }

func (a altering) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	raw[0] ^= 1
	return a.Memory.Put(ctx, key, bytes.NewReader(raw), size)
}

func TestCopyThatCameOverAlteredIsAProblem(t *testing.T) {
	from := blob.NewMemory()
	put(t, from, "t/a", "content")
	to := altering{blob.NewMemory()}
	report := run(t, to, from, move.Request{})
	require.Len(t, report.Problems(), 1)
	require.ErrorIs(t, report.Problems()[0].Err, move.ErrAltered)
	require.Empty(t, keys(t, to), "the next run would take it for good")
	require.Empty(t, run(t, to.Memory, from, move.Request{}).Problems())
	require.Equal(t, "content", content(t, to, "t/a"))
}

// unreadable stores, and cannot be read.
type unreadable struct{ *blob.Memory }

func (unreadable) Get(context.Context, string, int64, int64) (io.ReadCloser, blob.Info, error) {
	return nil, blob.Info{}, errDown
}

func TestCopyThatCouldNotBeReadAgainIsTakenBack(t *testing.T) {
	from, to := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/a", "content")
	report := run(t, unreadable{to}, from, move.Request{})
	require.Len(t, report.Problems(), 1)
	require.ErrorIs(t, report.Problems()[0].Err, errDown)
	require.Empty(t, keys(t, to))
}

// failing is a store that is down.
type failing struct{ *blob.Memory }

var errDown = errors.New("down")

func (failing) Put(context.Context, string, io.ReadSeeker, int64) error { return errDown }

func TestStoreThatIsDownEndsTheCopying(t *testing.T) {
	from := blob.NewMemory()
	for i := range 500 {
		put(t, from, fmt.Sprintf("t/%d", i), "x")
	}
	report := &move.Report{}
	require.ErrorIs(t, move.Run(t.Context(), failing{blob.NewMemory()}, from, move.Request{}, report), errDown)
	require.Less(t, len(report.Problems()), 100)
}

// hiding lists an object that it does not find, as a store that is not consistent, or whose backend has lost it.
type hiding struct {
	*blob.Memory
	key string
}

func (h *hiding) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if key == h.key {
		return nil, blob.Info{}, blob.ErrNotFound
	}
	return h.Memory.Get(ctx, key, offset, n)
}

func TestWhatIsListedAndNotFoundIsNotTakenForRemoved(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/here", "here")
	put(t, from, "t/lost", "lost")
	report := run(t, to, &hiding{from, "t/lost"}, move.Request{})
	require.Zero(t, report.Gone.Load())
	require.Equal(t, int64(1), report.Copied.Load())
	require.Len(t, report.Problems(), 1)
	require.ErrorIs(t, report.Problems()[0].Err, move.ErrListed)
}

// cancelling ends its command when it has stored something, and reads for nobody who has ended.
type cancelling struct {
	*blob.Memory
	cancel func()
}

func (c *cancelling) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	defer c.cancel()
	return c.Memory.Put(ctx, key, r, size)
}

func (c *cancelling) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, blob.Info{}, err
	}
	return c.Memory.Get(ctx, key, offset, n)
}

// Another run may have found it there, and counted it.
func TestAnInterruptedRunTakesNothingBackThatIsWhole(t *testing.T) {
	to, from := blob.NewMemory(), blob.NewMemory()
	put(t, from, "t/a", "content")
	ctx, cancel := context.WithCancel(t.Context())
	report := &move.Report{}
	require.ErrorIs(t, move.Run(ctx, &cancelling{to, cancel}, from, move.Request{}, report), context.Canceled)
	require.Equal(t, "content", content(t, to, "t/a"))
	require.Equal(t, int64(1), report.Copied.Load())
}

func TestAnEmptyOldStoreIsNoneToCopyFrom(t *testing.T) {
	require.ErrorIs(t, move.Run(t.Context(), blob.NewMemory(), blob.NewMemory(), move.Request{}, &move.Report{}), move.ErrEmpty)
}

// An old disk that fails is what is left for another one.
func TestADirectoryThatCannotBeReadKeepsNothingElseFromBeingCopied(t *testing.T) {
	base := t.TempDir()
	from, err := blob.NewFS(base, blob.FSOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, from.Close()) }()
	for _, key := range []string{"t/a/1", "t/b/1", "t/c/1"} {
		put(t, from, key, "content")
	}
	mend := blobtest.Unreadable(t, filepath.Join(base, "t/b"))
	to := blob.NewMemory()
	report := run(t, to, from, move.Request{})
	require.ElementsMatch(t, []string{"t/a/1", "t/c/1"}, keys(t, to))
	require.Equal(t, int64(2), report.Copied.Load())
	problems := report.Problems()
	require.Len(t, problems, 1)
	require.Equal(t, "t/b", problems[0].Key)
	require.ErrorIs(t, problems[0].Err, unix.ENOTCONN)

	mend()
	require.Empty(t, run(t, to, from, move.Request{}).Problems())
	require.Len(t, keys(t, to), 3)
}

func TestBothAreListedAlsoWhenOneCannotBeReadWhole(t *testing.T) {
	base := t.TempDir()
	files, err := blob.NewFS(base, blob.FSOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, files.Close()) }()
	put(t, files, "t/a/1", "x")
	put(t, files, "t/b/1", "x")
	memory := blob.NewMemory()
	put(t, memory, "t/b/1", "x")
	put(t, memory, "t/c/1", "x")
	blobtest.Unreadable(t, filepath.Join(base, "t/b"))
	for _, both := range []*move.Bucket{move.New(files, memory), move.New(memory, files)} {
		var listed []string
		var last error
		for info, err := range both.List(t.Context(), "") {
			if last = err; err == nil {
				listed = append(listed, info.Key)
			}
		}
		require.ElementsMatch(t, []string{"t/a/1", "t/b/1", "t/c/1"}, listed)
		unlisted, is := errors.AsType[*blob.UnlistedError](last)
		require.True(t, is, "%v", last)
		require.Equal(t, "t/b", unlisted.Parts[0].Key)
	}
}
