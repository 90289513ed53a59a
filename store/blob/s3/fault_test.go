package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/s3"
)

// behindProxy is a bucket whose server has bad days, and the same bucket without.
func behindProxy(t *testing.T, change func(*s3.Options)) (faulty, direct *s3.Bucket, p *lab.FaultProxy) {
	t.Helper()
	o, direct, p := proxied(t)
	if change != nil {
		change(&o)
	}
	faulty = open(t, o)
	require.NoError(t, faulty.Check(t.Context()))
	return faulty, direct, p
}

// proxied are the options of a bucket that nobody has asked anything yet.
func proxied(t *testing.T) (o s3.Options, direct *s3.Bucket, p *lab.FaultProxy) {
	t.Helper()
	m := labtest.MinIO(t)
	p = labtest.FaultProxy(t, m.Addr)
	o = optionsOf(m)
	o.Prefix = "test-" + strings.ReplaceAll(t.Name(), "/", "-") + fmt.Sprint(rand.Uint64()) + "/"
	if len(o.Prefix) > 100 {
		o.Prefix = o.Prefix[:40] + o.Prefix[len(o.Prefix)-40:]
	}
	direct = open(t, o)
	o.Endpoint = p.URL()
	o.RequestTimeout = 10 * time.Second
	return o, direct, p
}

func isMethod(method string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method }
}

func content(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)}).Read(b) // never fails
	return b
}

func putBytes(t testing.TB, b blob.Bucket, key string, data []byte) {
	t.Helper()
	require.NoError(t, b.Put(t.Context(), key, bytes.NewReader(data), int64(len(data))))
}

func get(t testing.TB, b blob.Bucket, key string) ([]byte, error) {
	t.Helper()
	r, _, err := b.Get(t.Context(), key, 0, -1)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

func TestStoreThatIsDownIsAnErrorAndComesBackByItself(t *testing.T) {
	faulty, _, p := behindProxy(t, nil)
	putBytes(t, faulty, "a", content(1000))
	p.Set(lab.Fault{Down: true})
	require.Error(t, faulty.Put(t.Context(), "b", strings.NewReader("x"), 1))
	_, err := get(t, faulty, "a")
	require.Error(t, err)
	require.NotErrorIs(t, err, blob.ErrNotFound)
	_, err = faulty.Stat(t.Context(), "a")
	require.Error(t, err)
	require.NotErrorIs(t, err, blob.ErrNotFound)
	require.Error(t, faulty.Check(t.Context()))
	require.Error(t, faulty.Delete(t.Context(), "a"))
	for _, err := range faulty.List(t.Context(), "") {
		require.Error(t, err)
	}
	p.Set(lab.Fault{})
	putBytes(t, faulty, "b", content(1000))
	got, err := get(t, faulty, "a")
	require.NoError(t, err)
	require.Equal(t, content(1000), got)
}

func TestOneFaultIsMadeGood(t *testing.T) {
	for name, f := range map[string]lab.Fault{
		"down": {Down: true}, "lost answer": {Lose: true}, "broken answer": {Break: true}, "truncated answer": {Truncate: true}, "altered answer": {Alter: true},
	} {
		t.Run(name, func(t *testing.T) {
			faulty, direct, p := behindProxy(t, func(o *s3.Options) { o.MultipartThresholdMB, o.MultipartChunkMB = 5, 5 })
			f.Times = 1
			for _, size := range []int{0, 1, 9000, 3<<20 + 1, 11 << 20} {
				key := fmt.Sprintf("size.%d", size)
				data := content(size)
				f.Only = isMethod(http.MethodPut)
				p.Set(f)
				putBytes(t, faulty, key, data)
				require.Equal(t, 1, p.Hits())
				got, err := get(t, direct, key)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got))

				f.Only = isMethod(http.MethodGet)
				p.Set(f)
				got, err = get(t, faulty, key)
				require.NoError(t, err)
				require.True(t, bytes.Equal(data, got), "size %d", size)
				require.ErrorIs(t, faulty.Put(t.Context(), key, bytes.NewReader(data), int64(size)), blob.ErrExists, "not ours")
			}
			require.Empty(t, unfinished(t, direct))
		})
	}
}

// unfinished removes the uploads that were never finished, and gives how many there were.
func unfinished(t testing.TB, b *s3.Bucket) (names []string) {
	t.Helper()
	n, err := b.Tidy(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	for range n {
		names = append(names, "unfinished")
	}
	return names
}

func TestPutWhoseEveryAnswerIsLostIsFoundToBeDone(t *testing.T) {
	faulty, direct, p := behindProxy(t, nil)
	p.Set(lab.Fault{Lose: true, Only: isMethod(http.MethodPut)})
	data := content(5000)
	putBytes(t, faulty, "a", data)
	require.Equal(t, 3, p.Hits())
	got, err := get(t, direct, "a")
	require.NoError(t, err)
	require.Equal(t, data, got)
	require.ErrorIs(t, faulty.Put(t.Context(), "a", bytes.NewReader(data), 5000), blob.ErrExists, "the same bytes, but of another put")
}

func TestUploadWhoseEndIsLostIsFoundToBeDone(t *testing.T) {
	faulty, direct, p := behindProxy(t, nil)
	p.Set(lab.Fault{Lose: true, Only: func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }})
	data := content(9 << 20)
	putBytes(t, faulty, "a", data)
	got, err := get(t, direct, "a")
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	require.Empty(t, unfinished(t, direct))
}

func TestAnswerAfterTheTimeoutLosesAndDoublesNothing(t *testing.T) {
	faulty, direct, p := behindProxy(t, func(o *s3.Options) { o.RequestTimeout, o.Attempts = time.Second, 2 })
	p.Set(lab.Fault{Hold: true, Only: isMethod(http.MethodPut)})
	data := content(5000)
	putBytes(t, faulty, "a", data) // the server has done it, and HEAD says so
	got, err := get(t, direct, "a")
	require.NoError(t, err)
	require.Equal(t, data, got)

	p.Set(lab.Fault{Hold: true})
	require.Error(t, faulty.Put(t.Context(), "b", bytes.NewReader(data), 5000))
	got, err = get(t, direct, "b")
	require.NoError(t, err, "it is there whole, or not at all")
	require.Equal(t, data, got)
}

func TestSlowStoreIsGivenUp(t *testing.T) {
	for name, f := range map[string]lab.Fault{"5 s delay": {Delay: 5 * time.Second}, "1 KB/s": {BytesPerSecond: 1000}} {
		t.Run(name, func(t *testing.T) {
			faulty, direct, p := behindProxy(t, func(o *s3.Options) { o.RequestTimeout, o.Attempts = 300*time.Millisecond, 2 })
			data := content(40_000)
			putBytes(t, direct, "there", data)
			p.Set(f)
			require.ErrorIs(t, faulty.Put(t.Context(), "new", bytes.NewReader(data), int64(len(data))), context.DeadlineExceeded)
			_, err := get(t, faulty, "there")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			p.Set(lab.Fault{})
			got, err := get(t, faulty, "there")
			require.NoError(t, err)
			require.Equal(t, data, got)
			got, err = get(t, direct, "new")
			if err == nil {
				require.Equal(t, data, got)
			} else {
				require.ErrorIs(t, err, blob.ErrNotFound)
			}
		})
	}
}

func TestSlowStoreIsWaitedForAsLongAsItMay(t *testing.T) {
	faulty, _, p := behindProxy(t, nil)
	p.Set(lab.Fault{Delay: time.Second, BytesPerSecond: 20_000})
	data := content(20_000)
	putBytes(t, faulty, "a", data)
	got, err := get(t, faulty, "a")
	require.NoError(t, err)
	require.Equal(t, data, got)
}

// TestNothingAlteredOrShortIsEverGiven looks at every byte that comes before the error.
func TestNothingAlteredOrShortIsEverGiven(t *testing.T) {
	for name, f := range map[string]lab.Fault{"altered": {Alter: true}, "truncated": {Truncate: true}, "broken": {Break: true}} {
		t.Run(name, func(t *testing.T) {
			faulty, direct, p := behindProxy(t, func(o *s3.Options) { o.Attempts = 2 })
			for _, size := range []int{1, 5000, 1 << 20, 1<<20 + 1, 5<<20 + 7} {
				data := content(size)
				key := fmt.Sprintf("size.%d", size)
				putBytes(t, direct, key, data)
				for _, r := range [][2]int64{{0, -1}, {0, 10}, {int64(size) / 2, 100}, {int64(size) - 1, 1}} {
					f.Only = isMethod(http.MethodGet)
					p.Set(f)
					rc, info, err := faulty.Get(t.Context(), key, r[0], r[1])
					if err != nil {
						continue
					}
					require.Equal(t, int64(size), info.SizeBytes)
					got, err := io.ReadAll(rc)
					require.NoError(t, rc.Close())
					start, n := blob.CutRange(int64(size), r[0], r[1])
					require.LessOrEqual(t, int64(len(got)), n)
					require.True(t, bytes.Equal(data[start:start+int64(len(got))], got), "size %d, range %v", size, r)
					require.True(t, err != nil || int64(len(got)) == n, "short without an error: size %d, range %v", size, r)
				}
				if f.Alter {
					p.Set(f)
					_, err := get(t, faulty, key)
					require.ErrorIs(t, err, blob.ErrDamaged)
				}
			}
		})
	}
}

func TestAlteredUploadIsRefused(t *testing.T) {
	faulty, direct, p := behindProxy(t, nil)
	p.Set(lab.Fault{Before: func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("X"), &skipping{r.Body, 1}))
		}
		return false
	}})
	data := bytes.Repeat([]byte("mail"), 1000)
	require.Error(t, faulty.Put(t.Context(), "a", bytes.NewReader(data), int64(len(data))))
	_, err := direct.Stat(t.Context(), "a")
	require.ErrorIs(t, err, blob.ErrNotFound)
}

// TestObjectThatIsNotWhatWasSentIsNoSuccess has the server show once that it stored something else: that the object is
// ours and the next answer is a good one makes it none.
func TestObjectThatIsNotWhatWasSentIsNoSuccess(t *testing.T) {
	for name, tt := range map[string]struct {
		size  int
		fault lab.Fault
	}{
		"checksum": {5000, lab.Fault{Only: isMethod(http.MethodPut), Times: 1, After: func(r *http.Response) {
			r.Header.Set("X-Amz-Checksum-Crc32", "AAAAAA==")
		}}},
		"size of the assembled object": {20 << 20, lab.Fault{Only: isMethod(http.MethodHead), Times: 1, After: func(r *http.Response) {
			r.Header.Set("Content-Length", "1000")
		}}},
		"size after a lost answer": {5000, lab.Fault{Only: func(r *http.Request) bool { return r.Method != http.MethodDelete }, After: func(r *http.Response) {
			if r.Request.Method == http.MethodHead {
				r.Header.Set("Content-Length", "1000")
			} else {
				r.StatusCode = http.StatusServiceUnavailable
			}
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			faulty, direct, p := behindProxy(t, func(o *s3.Options) { o.MultipartThresholdMB, o.MultipartChunkMB = 5, 5 })
			p.Set(tt.fault)
			data := content(tt.size)
			err := faulty.Put(t.Context(), "a", bytes.NewReader(data), int64(len(data)))
			require.Error(t, err)
			require.NotErrorIs(t, err, blob.ErrExists)
			_, err = direct.Stat(t.Context(), "a")
			require.ErrorIs(t, err, blob.ErrNotFound, "nobody reads it")
		})
	}
}

// skipping leaves out the first n bytes.
type skipping struct {
	io.Reader
	n int64
}

func (s *skipping) Read(p []byte) (int, error) {
	if s.n > 0 {
		if _, err := io.CopyN(io.Discard, s.Reader, s.n); err != nil {
			return 0, err
		}
		s.n = 0
	}
	return s.Reader.Read(p)
}

func TestFailedUploadIsGivenUp(t *testing.T) {
	faulty, direct, p := behindProxy(t, nil)
	p.Set(lab.Fault{Down: true, Only: func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == "2" }})
	data := content(20 << 20)
	require.Error(t, faulty.Put(t.Context(), "a", bytes.NewReader(data), int64(len(data))))
	_, err := direct.Stat(t.Context(), "a")
	require.ErrorIs(t, err, blob.ErrNotFound)
	require.Empty(t, unfinished(t, direct), "nothing is left to tidy")
}

func TestUploadThatACrashBrokeOffIsTidiedAway(t *testing.T) {
	faulty, direct, p := behindProxy(t, nil)
	p.Set(lab.Fault{Down: true, Only: func(r *http.Request) bool {
		return r.URL.Query().Get("partNumber") == "2" || r.Method == http.MethodDelete
	}})
	data := content(20 << 20)
	require.Error(t, faulty.Put(t.Context(), "a", bytes.NewReader(data), int64(len(data))))
	n, err := direct.Tidy(t.Context(), time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Zero(t, n, "it may be under way still")
	require.Len(t, unfinished(t, direct), 1)
	require.Empty(t, unfinished(t, direct))
}

func TestCopyFallsBackToSendingTheBytes(t *testing.T) {
	faulty, direct, p := behindProxy(t, nil)
	isCopy := func(r *http.Request) bool { return r.Header.Get("X-Amz-Copy-Source") != "" }
	p.Set(lab.Fault{Only: isCopy, Before: func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusNotImplemented)
		_, _ = io.WriteString(w, `<Error><Code>NotImplemented</Code><Message>no copies here</Message></Error>`)
		return true
	}})
	data := content(2 << 20)
	require.NoError(t, faulty.PutAll(t.Context(), []string{"a", "b", "c"}, bytes.NewReader(data), int64(len(data))))
	require.Equal(t, 2, p.Hits())
	for _, key := range []string{"a", "b", "c"} {
		got, err := get(t, direct, key)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
	}
}

func TestKeyOfACopyThatIsTakenBackIsNotPutAgain(t *testing.T) {
	faulty, direct, p := behindProxy(t, nil)
	data := content(2 << 20)
	putBytes(t, faulty, "a", data)
	p.Set(lab.Fault{Only: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/b") }, After: func(r *http.Response) {
		if r.Request.Method == http.MethodHead && r.StatusCode == http.StatusOK {
			r.Header.Set("X-Amz-Meta-Mairust-Sha256", "another")
		}
	}})
	require.ErrorContains(t, faulty.Copy(t.Context(), "a", "b"), "the copy is another object")
	_, err := direct.Stat(t.Context(), "b")
	require.ErrorIs(t, err, blob.ErrNotFound)
}

func TestPutAllTakesBackWhatItStored(t *testing.T) {
	for _, size := range []int{1000, 1 << 20} {
		b := open(t, endpoint(t))
		put(t, b, "t/c", "somebody else's")
		data := content(size)
		err := b.PutAll(t.Context(), []string{"t/a", "t/b", "t/c", "t/d"}, bytes.NewReader(data), int64(size))
		require.ErrorIs(t, err, blob.ErrExists)
		got, err := get(t, b, "t/c")
		require.NoError(t, err)
		require.Equal(t, "somebody else's", string(got))
		for _, key := range []string{"t/a", "t/b", "t/d"} {
			_, err := b.Stat(t.Context(), key)
			require.ErrorIs(t, err, blob.ErrNotFound)
		}
	}
}

func TestMissingBucketIsNoMissingObject(t *testing.T) {
	o := endpoint(t)
	o.Bucket += "-is-not-there"
	b := open(t, o)
	_, err := b.Stat(t.Context(), "a")
	require.Error(t, err)
	require.NotErrorIs(t, err, blob.ErrNotFound)
	_, _, err = b.Get(t.Context(), "a", 0, -1)
	require.Error(t, err)
	require.NotErrorIs(t, err, blob.ErrNotFound)
	require.Error(t, b.Check(t.Context()))
}
