package blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

// BenchmarkFSPut puts objects of 4 KB into 50 directories; "bare" is the peer: create, write, fsync, close, with
// no word about the name surviving.
func BenchmarkFSPut(b *testing.B) {
	data := bytes.Repeat([]byte("mail\r\n"), 4096/6)
	for _, writers := range []int{1, 16, 32} {
		base := b.TempDir()
		b.Run(fmt.Sprintf("bare/writers=%d", writers), func(b *testing.B) {
			dir := filepath.Join(base, "bare", fmt.Sprint(b.N))
			for d := range 50 {
				require.NoError(b, os.MkdirAll(filepath.Join(dir, fmt.Sprint(d)), 0o700))
			}
			inParallel(b, writers, func(i int64) error {
				return bare(filepath.Join(dir, fmt.Sprint(i%50), fmt.Sprint(i)), data)
			})
		})
		b.Run(fmt.Sprintf("fs/writers=%d", writers), func(b *testing.B) {
			f := openFS(b, filepath.Join(base, "fs", fmt.Sprint(b.N)), blob.FSOptions{})
			inParallel(b, writers, func(i int64) error {
				return f.Put(b.Context(), fmt.Sprintf("t/d%d/%d", i%50, i), bytes.NewReader(data), int64(len(data)))
			})
		})
	}
}

func bare(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// inParallel calls f for 0 … b.N-1 from the given number of goroutines.
func inParallel(b *testing.B, writers int, f func(i int64) error) {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, writers)
	b.ResetTimer()
	for w := range writers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N) && errs[w] == nil; i = next.Add(1) - 1 {
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	require.NoError(b, errors.Join(errs...))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}
