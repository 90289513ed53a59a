package blob_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

// held is an object whose reading waits for a gate; inMemory counts those that have been begun.
type held struct {
	*bytes.Reader
	inMemory *atomic.Int64
	gate     <-chan struct{}
	begun    bool
}

func (h *held) Read(p []byte) (int, error) {
	if !h.begun {
		h.begun = true
		h.inMemory.Add(1)
		<-h.gate
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
	var inMemory atomic.Int64
	gate := make(chan struct{})
	var group sync.WaitGroup
	for i := range most + 40 {
		group.Go(func() {
			r := &held{Reader: bytes.NewReader(content), inMemory: &inMemory, gate: gate}
			if err := f.Put(context.Background(), fmt.Sprint("t/", i), r, size); err != nil {
				t.Error(err)
			}
		})
	}
	require.Eventually(t, func() bool { return inMemory.Load() == most }, time.Minute, time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	require.Equal(t, int64(most), inMemory.Load())
	close(gate)
	group.Wait()
}
