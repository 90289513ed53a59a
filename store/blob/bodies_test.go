package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

// held is an object whose reading waits until enough of them have begun.
type held struct {
	*bytes.Reader
	begin func()
	begun bool
}

func (h *held) Read(p []byte) (int, error) {
	if !h.begun {
		h.begun = true
		h.begin()
	}
	return h.Reader.Read(p)
}

// However many sessions store at once, what is in memory on the way through the journal is bounded.
func TestMemoryOfObjectsOnTheirWayIsBounded(t *testing.T) {
	f, err := blob.NewFS(t.TempDir(), blob.FSOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	if !blob.HasJournal(f) {
		t.Skip("SKIPPED: the file system of temporary files is none that has a journal")
	}
	const size, most = 256 << 10, blob.MaxBodies / (256 << 10)
	content := make([]byte, size)
	var begun atomic.Int64
	gate := make(chan struct{})
	begin := func() {
		begun.Add(1)
		<-gate
	}
	var group sync.WaitGroup
	put := func(ctx context.Context, i int) error {
		return f.Put(ctx, fmt.Sprint("t/", i), &held{Reader: bytes.NewReader(content), begin: begin}, size)
	}
	for i := range most {
		group.Go(func() {
			if err := put(context.Background(), i); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return begun.Load() == most }, time.Minute, time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for i := range 40 {
		group.Go(func() {
			if err := put(ctx, most+i); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("there is no memory for it, and it was not kept waiting: %v", err)
			}
		})
	}
	<-ctx.Done()
	if n := begun.Load(); n != most {
		t.Errorf("%d objects are in memory", n)
	}
	close(gate)
	group.Wait()
}
